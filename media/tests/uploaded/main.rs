//! Uploads of clients to the bucket: whatever the bucket says, however often, a medium is checked once, what is shown
//! never changes, and nothing is left over.

mod purged;
mod turns;
mod world;

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use soundoff_common::guard::Weather;
use soundoff_common::model::media::State;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Verdict, consume};
use soundoff_common::ports::queues::{QueueName, Queues as _};
use soundoff_media::{MAX_UPLOAD_BYTES, UPLOADED};
use tokio_util::sync::CancellationToken;
use world::{CHECK, CHECKED, World, created};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SHOWN: [&str; 3] = ["full", "feed", "thumb"];

#[tokio::test]
async fn an_upload_is_checked_once_however_often_it_is_notified() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    world.say(&created(id)).await;
    assert_eq!(world.step(UPLOADED).await, Some(Verdict::Done));
    assert_eq!(world.stored(id).await.unwrap().state, State::Checking);
    // Notified again before the check, during it, and after it.
    assert_eq!(world.step(UPLOADED).await, Some(Verdict::Done));
    let first = world.next(CHECK).await.unwrap();
    world.work(CHECK, first).await;
    world.say(&created(id)).await;
    assert_eq!(world.step(UPLOADED).await, Some(Verdict::Done));
    world.settle().await;
    world.say(&created(id)).await;
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"]);
    assert_eq!((world.existing(id).await, world.shown(id).await), (SHOWN.to_vec(), 20));
    assert_eq!(world.stored(id).await.unwrap().state, State::Ready);
}

#[tokio::test]
async fn a_claim_whose_check_was_not_asked_for_is_made_good() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    let message = world.next(UPLOADED).await.unwrap();
    assert_eq!(world.job(UPLOADED).run(std::slice::from_ref(&message)).await, [Verdict::Done]);
    // The process died before it queued the check: it is as if there were none.
    let lost = world.next(CHECK).await.unwrap();
    world.queues.ack(&QueueName::of_type(CHECK), vec![lost.receipt]).await.unwrap();
    assert_eq!(world.work(UPLOADED, message).await, Verdict::Done);
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"]);
}

#[tokio::test]
async fn what_is_no_picture_fails_and_a_late_put_leaves_nothing() {
    let world = World::new(Duration::from_millis(200));
    let bad = world.begun().await;
    world.put_bytes(bad, b"<!doctype html>".to_vec()).await;
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.failed"]);
    assert!(world.stored(bad).await.is_none() && world.existing(bad).await.is_empty());
    let ready = world.begun().await;
    world.put(ready, 20).await;
    world.settle().await;
    // After it was refused, and after it was shown.
    for id in [bad, ready] {
        world.put(id, 30).await;
        assert!(world.existing(id).await.contains(&"raw"));
        world.settle().await;
        assert!(!world.existing(id).await.contains(&"raw"));
    }
    assert_eq!(world.shown(ready).await, 20);
    // And after it was collected.
    let stop = CancellationToken::new();
    let (collector, stopping) = (world.clone(), stop.clone());
    let collecting = tokio::spawn(async move { collector.collect(stopping).await });
    until(async || world.stored(ready).await.is_none()).await;
    stop.cancel();
    collecting.await.unwrap();
    world.put(ready, 30).await;
    world.settle().await;
    assert!(world.existing(ready).await.is_empty());
    assert_eq!(world.pushes().await, ["media.failed", "media.ready"]);
}

#[tokio::test]
async fn bytes_that_are_put_while_others_are_checked_are_never_shown() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    world.say(&created(id)).await;
    for _ in 0..2 {
        world.step(UPLOADED).await;
    }
    let [first, second] = [world.next(CHECK).await.unwrap(), world.next(CHECK).await.unwrap()];
    assert_eq!(world.work(CHECK, first).await, Verdict::Done);
    // The result is not stored yet, and the client uploads another picture.
    world.put(id, 30).await;
    assert_eq!(world.work(CHECK, second.clone()).await, Verdict::Done);
    assert_eq!(world.step(UPLOADED).await, Some(Verdict::Done));
    assert_eq!(world.shown(id).await, 20);
    // A second check that is given up says nothing about a medium that another message checks.
    world.job(CHECK).give_up(&second, "tried too often").await;
    assert_eq!(world.step(CHECKED).await, Some(Verdict::Done));
    assert!(world.next(CHECKED).await.is_none());
    assert_eq!(world.existing(id).await, ["raw", "full", "feed", "thumb"], "until they are deleted");
    world.settle().await;
    assert_eq!((world.existing(id).await, world.shown(id).await), (SHOWN.to_vec(), 20));
    assert_eq!(world.pushes().await, ["media.ready"]);
}

#[tokio::test]
async fn one_check_that_runs_twice_at_once_deletes_nothing_that_is_shown() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    world.step(UPLOADED).await;
    let check = world.next(CHECK).await.unwrap();
    let (other, same) = (world.clone(), check.clone());
    let meanwhile = async move {
        assert_eq!(other.work(CHECK, same).await, Verdict::Done);
        assert_eq!(other.step(CHECKED).await, Some(Verdict::Done));
    };
    *world.blobs.once_read.lock().unwrap() = Some(Box::new(|| meanwhile.boxed()));
    assert_eq!(world.work(CHECK, check).await, Verdict::Done);
    world.settle().await;
    assert_eq!((world.existing(id).await, world.shown(id).await), (SHOWN.to_vec(), 20));
    assert_eq!(world.pushes().await, ["media.ready"]);
}

#[tokio::test]
async fn a_notification_without_its_bytes_leaves_the_upload_open() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.say(&created(id)).await;
    world.settle().await;
    assert_eq!(world.stored(id).await.unwrap().state, State::Uploading);
    world.put(id, 20).await;
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"]);
}

#[tokio::test]
async fn what_is_larger_than_an_upload_may_be_is_never_read() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    *world.blobs.seems.lock().unwrap() = Some(MAX_UPLOAD_BYTES + 1);
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.failed"]);
    assert!(world.existing(id).await.is_empty());
}

#[tokio::test]
async fn what_is_no_notification_becomes_a_dead_letter_and_the_buckets_test_does_not() {
    let world = World::new(DAY);
    let queue = QueueName::of_type(UPLOADED);
    let id = world.begun().await;
    let junk = [
        "not JSON".to_owned(),
        "{}".to_owned(),
        r#"{"Records":[{"s3":{}}]}"#.to_owned(),
        r#"{"Service":"Amazon S3","Event":"s3:Another"}"#.to_owned(),
        created(id).replace(".raw", ".full"),
        created(id).replace(&id.to_string(), "..%2F..%2Fetc"),
    ];
    for body in &junk {
        world.say(body).await;
    }
    world.say(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-25T00:00:00.000Z","Bucket":"b","RequestId":"R","HostId":"H"}"#).await;
    let stop = CancellationToken::new();
    let consuming = consume(
        world.queues.clone(),
        queue.clone(),
        ConsumerConfig::default(),
        world.job(UPLOADED),
        Weather::new(world.metrics.clone()),
        stop.clone(),
    );
    let consuming = tokio::spawn(consuming);
    until(async || {
        let depth = world.queues.depth(&queue).await.unwrap();
        (depth.visible, depth.in_flight) == (0, 0)
    })
    .await;
    stop.cancel();
    consuming.await.unwrap();
    let letters = world.queues.dead_letters(&queue, 100).await.unwrap();
    let mut bodies: Vec<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    let mut wanted = junk.to_vec();
    bodies.sort();
    wanted.sort();
    assert_eq!(bodies, wanted);
    assert!(letters.iter().all(|letter| !letter.reason.is_empty()));
    assert_eq!(world.stored(id).await.unwrap().state, State::Uploading, "and nothing has happened");
}

/// Waits until something is true.
async fn until(is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not become true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
