//! The share of a user in the check: nobody's pictures stand before others', however they come, and whatever dies.

use std::time::Duration;

use serde_json::json;
use soundoff_common::model::media::{self, State};
use soundoff_common::model::media_checks::{
    AT_ONCE, PIXELS_PER_HOUR, count_pixels, pixels, pixels_key, turn_key, turns,
};
use soundoff_common::pipeline::consumer::Verdict;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::raw;
use soundoff_common::ports::queues::{Message, QueueName, Queues as _, Receipt};
use soundoff_common::ports::tables::{Item, Table, Tables as _, Write};
use soundoff_common::protocol::{ErrorCode, now_ms};
use soundoff_media::UPLOADED;
use ulid::Ulid;

use crate::DAY;
use crate::world::{CHECK, CHECKED, World, alice};

/// How many of these a message has begun to check, or has checked.
async fn begun_checks(world: &World, media: &[Ulid]) -> usize {
    let mut begun = 0;
    for id in media {
        begun += usize::from(world.stored(*id).await.is_some_and(|stored| stored.check.is_some()));
    }
    begun
}

async fn uploads(world: &World, count: usize) -> Vec<Ulid> {
    let mut media = Vec::new();
    for _ in 0..count {
        media.push(world.begun().await);
    }
    media
}

/// Uploads pictures, in this order, each at a time of its own.
async fn put_all(world: &World, media: &[Ulid]) {
    for id in media {
        world.put(*id, 20).await;
        assert_eq!(world.step(UPLOADED).await, Some(Verdict::Done));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn turns_left(world: &World) -> usize {
    world.tables.query(turns(&alice())).await.unwrap().items.len()
}

#[tokio::test]
async fn the_next_user_waits_for_four_pictures_of_another_at_most_and_all_have_their_turn() {
    let world = World::new(DAY);
    let media = uploads(&world, 12).await;
    put_all(&world, &media).await;
    let bobs = world.begun_by(&"bob".parse().unwrap()).await;
    world.put(bobs, 20).await;
    world.step(UPLOADED).await;
    while world.stored(bobs).await.unwrap().check.is_none() {
        // Results are stored at once, so turns end while others wait.
        assert_eq!(world.step(CHECK).await, Some(Verdict::Done));
        world.step(CHECKED).await;
    }
    assert!(begun_checks(&world, &media).await <= AT_ONCE, "queues serve users in turn as well");
    world.settle().await;
    for id in &media {
        assert_eq!(world.stored(*id).await.unwrap().state, State::Ready);
    }
    assert_eq!(world.pushes().await, ["media.ready"; 12]);
    assert_eq!(turns_left(&world).await, 0);
}

/// The id of a medium is made when its upload begins, and the client says when that ends.
#[tokio::test]
async fn nobody_gets_ahead_by_the_order_of_uploads() {
    let world = World::new(DAY);
    let mut media = uploads(&world, 10).await;
    media.reverse();
    for id in &media {
        put_all(&world, &[*id]).await;
        while world.step(CHECK).await.is_some() {}
    }
    assert!(begun_checks(&world, &media).await <= AT_ONCE, "queues serve users in turn as well");
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"; 10]);
}

/// What is refused, or collected during its check, keeps no turn.
#[tokio::test]
async fn a_turn_ends_with_its_medium_however_that_ends() {
    let world = World::new(DAY);
    let media = uploads(&world, 6).await;
    for id in &media[..5] {
        world.put_bytes(*id, b"<!doctype html>".to_vec()).await;
        world.step(UPLOADED).await;
    }
    put_all(&world, &media[5..]).await;
    world.settle().await;
    assert_eq!(world.pushes().await.iter().filter(|push| *push == "media.ready").count(), 1);
    assert_eq!(turns_left(&world).await, 0);
}

#[tokio::test]
async fn processes_that_died_keep_no_turn() {
    let world = World::new(DAY);
    let minutes_ago = now_ms() - 120_000;
    let lost = uploads(&world, 8).await;
    for id in &lost[..4] {
        // Claimed; the bytes never became the blob, and no check was asked for.
        let stored = world.stored(*id).await.unwrap();
        world.tables.write(media::claim(*id, &stored, minutes_ago)).await.unwrap();
    }
    for id in &lost[4..] {
        // A row that was left over.
        let row = turn_key(&alice(), minutes_ago, *id);
        world.tables.write(vec![Write::put(Table::Entities, row, Item::new())]).await.unwrap();
    }
    let next = uploads(&world, 2).await;
    put_all(&world, &next).await;
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"; 2]);
}

/// Whose message was lost, of those who have their turn, is asked for again.
#[tokio::test]
async fn a_lost_message_of_a_turn_is_made_good_by_the_next_upload() {
    let world = World::new(DAY);
    let media = uploads(&world, 5).await;
    let minutes_ago = now_ms() - 120_000;
    for id in &media[..4] {
        world.put(*id, 20).await;
        let stored = world.stored(*id).await.unwrap();
        world.tables.write(media::claim(*id, &stored, minutes_ago)).await.unwrap();
        let said = world.next(UPLOADED).await.unwrap();
        world.queues.ack(&QueueName::of_type(UPLOADED), vec![said.receipt]).await.unwrap();
    }
    put_all(&world, &media[4..]).await;
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.ready"; 5]);
}

async fn pixels_until(world: &World) -> u64 {
    let counted = world.tables.get(Table::Entities, pixels_key(&alice())).await.unwrap();
    counted.and_then(|item| item.number(pixels::UNTIL)).unwrap_or(0)
}

#[tokio::test]
async fn pixels_are_counted_once_though_messages_come_twice() {
    let world = World::new(DAY);
    let id = world.begun().await;
    world.put(id, 20).await;
    world.step(UPLOADED).await;
    let check = world.next(CHECK).await.unwrap();
    let before = now_ms();
    let job = world.job(CHECK);
    // Its process died before it was acked: the bytes are still there for the next run.
    assert_eq!(job.run(std::slice::from_ref(&check)).await, [Verdict::Done]);
    let counted = pixels_until(&world).await;
    assert!(counted > before, "twenty times ten pixels");
    world.put(id, 20).await;
    assert_eq!(job.run(std::slice::from_ref(&check)).await, [Verdict::Done]);
    assert_eq!(pixels_until(&world).await, counted);
    world.settle().await;
    assert_eq!(pixels_until(&world).await, counted);
    assert_eq!(world.pushes().await, ["media.ready"]);
}

#[tokio::test]
async fn whose_pixels_are_used_up_is_refused_and_hears_for_how_long() {
    let world = World::new(DAY);
    let [id, bobs] = [world.begun().await, world.begun_by(&"bob".parse().unwrap()).await];
    let used = count_pixels(&alice(), PIXELS_PER_HOUR, now_ms() + 1000, None);
    world.tables.write(vec![used]).await.unwrap();
    let counted = pixels_until(&world).await;
    for id in [id, bobs] {
        world.put(id, 20).await;
    }
    world.settle().await;
    assert_eq!(world.pushes().await, ["media.failed"]);
    assert_eq!(world.stored(bobs).await.unwrap().state, State::Ready, "others have theirs");
    assert_eq!(pixels_until(&world).await, counted, "what is refused costs nothing");
    assert!(world.next(CHECKED).await.is_none() && world.stored(id).await.is_none());
    // The next upload is refused before it begins.
    let begin = Envelope {
        mid: Ulid(9),
        id: "begin".to_owned(),
        message_type: "media.begin".to_owned(),
        from: alice(),
        origin: None,
        at: now_ms(),
        body: raw(&json!({ "bytes": 10 })),
    };
    let message =
        Message { receipt: Receipt(Vec::new().into()), body: begin.bytes(), attempt: 1, sent_at: 1 };
    let verdicts = world.job("media.begin").run(&[message]).await;
    let [Verdict::Refused(error)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((error.code, error.retry), (ErrorCode::RateLimited, true));
    assert!(error.retry_after_ms.is_some_and(|wait| wait > 60_000 && wait < 3_600_000), "{error:?}");
}
