//! Faults that only a log can have: torn ends, damage, full disks, segments that are added and removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use soundoff_common::ports::queues::{Message, Outgoing, QueueError, QueueName, Queues};

use super::{EmbeddedQueues, Options, segment};

pub(super) const HIDDEN: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn queue() -> QueueName {
    QueueName::new("alpha_q")
}

pub(super) fn open(dir: &Path, options: Options) -> Arc<EmbeddedQueues> {
    EmbeddedQueues::open(dir, &[queue()], options).expect("the log opens")
}

pub(super) fn reopen(queues: Arc<EmbeddedQueues>, dir: &Path, options: Options) -> Arc<EmbeddedQueues> {
    drop(Arc::into_inner(queues).expect("the last handle"));
    open(dir, options)
}

fn small() -> Options {
    Options { memory_bytes: 1024, segment_bytes: 4096, ..Options::default() }
}

async fn send(queues: &EmbeddedQueues, body: impl Into<Bytes>) -> Result<(), QueueError> {
    queues.send(vec![Outgoing { queue: queue(), body: body.into(), user: None }]).await.remove(0)
}

pub(super) async fn receive(queues: &EmbeddedQueues, max: usize) -> Vec<Message> {
    queues.receive(&queue(), max, Duration::ZERO, HIDDEN).await.expect("a receive")
}

async fn bodies(queues: &EmbeddedQueues) -> Vec<Bytes> {
    receive(queues, usize::MAX).await.into_iter().map(|message| message.body).collect()
}

pub(super) async fn ack(queues: &EmbeddedQueues, messages: &[Message]) {
    let receipts = messages.iter().map(|message| message.receipt.clone()).collect();
    queues.ack(&queue(), receipts).await.expect("an ack");
}

/// Copies the log as a killed process would leave it.
fn snapshot(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for number in segment::list(dir).expect("a listing") {
        std::fs::copy(segment::path(dir, number), segment::path(copy.path(), number)).expect("a copy");
    }
    copy
}

fn length(path: &Path) -> usize {
    let bytes = std::fs::read(path).expect("the segment");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir).expect("a listing").into_iter().map(|number| segment::path(dir, number)).collect()
}

/// The log of three messages, each in a frame of its own; where the frames of the last two begin and end.
async fn three(dir: &Path) -> (Arc<EmbeddedQueues>, [usize; 3]) {
    let queues = open(dir, Options::default());
    let file = segment::path(dir, 1);
    send(&queues, "first").await.expect("a send");
    let second = length(&file);
    send(&queues, "second").await.expect("a send");
    let third = length(&file);
    send(&queues, "third").await.expect("a send");
    (queues, [second, third, length(&file)])
}

#[tokio::test]
async fn a_torn_end_is_cut_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let (_queues, [_, third, end]) = three(dir.path()).await;
    for cut in third..end {
        for fill in [false, true] {
            let copy = snapshot(dir.path());
            let path = segment::path(copy.path(), 1);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.truncate(cut);
            // A file that had grown before its content came, as power loss leaves it.
            bytes.resize(if fill { end } else { cut }, 0);
            std::fs::write(&path, bytes).unwrap();
            let queues = open(copy.path(), Options::default());
            assert_eq!(bodies(&queues).await, ["first", "second"], "cut at byte {cut}");
            send(&queues, "fourth").await.expect("a send");
            let queues = reopen(queues, copy.path(), Options::default());
            assert_eq!(bodies(&queues).await, ["first", "second", "fourth"], "cut at byte {cut}");
        }
    }
}

#[tokio::test]
async fn damage_before_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_queues, [second, third, _]) = three(dir.path()).await;
    for at in second..third {
        let copy = snapshot(dir.path());
        let path = segment::path(copy.path(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let error = EmbeddedQueues::open(copy.path(), &[queue()], Options::default()).expect_err("damage");
        let error = format!("{error:#}");
        assert!(error.contains("0000000001.log") && error.contains(&format!("at byte {second}:")), "{error}");
    }
}

#[tokio::test]
async fn what_was_never_synced_may_be_lost_out_of_order() {
    let dir = tempfile::tempdir().unwrap();
    let (queues, [_, _, end]) = three(dir.path()).await;
    for message in receive(&queues, 3).await {
        ack(&queues, &[message]).await;
    }
    // Power loss may keep the last of several unsynced acks and lose the first: that is no damage.
    let copy = snapshot(dir.path());
    let path = segment::path(copy.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[end] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(bodies(&open(copy.path(), Options::default())).await.len(), 3);
}

/// Two queues, a message that was accepted in the first and passed on to the second, and where in the log that began.
async fn passed_on(dir: &Path) -> (Arc<EmbeddedQueues>, usize) {
    let queues = EmbeddedQueues::open(dir, &[QueueName::main(), queue()], Options::default()).unwrap();
    let main = Outgoing { queue: QueueName::main(), body: "accepted".into(), user: None };
    assert!(queues.send(vec![main.clone()]).await[0].is_ok());
    let accepted = length(&segment::path(dir, 1));
    let got = queues.receive(&main.queue, 1, Duration::ZERO, HIDDEN).await.unwrap().remove(0);
    assert!(queues.forward(vec![Outgoing { queue: queue(), ..main.clone() }]).await[0].is_ok());
    queues.ack(&main.queue, vec![got.receipt]).await.unwrap();
    (queues, accepted)
}

#[tokio::test]
async fn power_loss_leaves_what_was_passed_on_or_what_it_came_of() {
    let dir = tempfile::tempdir().unwrap();
    let (_queues, accepted) = passed_on(dir.path()).await;
    let end = length(&segment::path(dir.path(), 1));
    let mut found = [0; 3];
    for lost in accepted..=end {
        // What was not synced may be lost from anywhere on, or in its midst.
        for whole in [false, true] {
            let copy = snapshot(dir.path());
            let path = segment::path(copy.path(), 1);
            let mut bytes = std::fs::read(&path).unwrap();
            let until = if whole { bytes.len() } else { end.min(lost + 1) };
            bytes[lost..until].fill(0);
            std::fs::write(&path, bytes).unwrap();
            let queues =
                EmbeddedQueues::open(copy.path(), &[QueueName::main(), queue()], Options::default()).unwrap();
            let main = queues.receive(&QueueName::main(), 9, Duration::ZERO, HIDDEN).await.unwrap().len();
            let next = bodies(&queues).await.len();
            assert!(main + next > 0, "byte {lost} of {accepted}..{end} is lost, and the message with it");
            found[main + 2 * next - 1] += 1;
        }
    }
    assert!(found.iter().all(|times| *times > 0), "at first, both, and at last: {found:?}");
}

#[tokio::test]
async fn what_is_passed_on_waits_for_no_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (queues, _) = passed_on(dir.path()).await;
    let (synced, offset) = {
        let tail = queues.log.tail();
        (tail.synced, tail.offset)
    };
    assert!(0 < synced && synced < offset, "{synced} of {offset} bytes are synced");
    let copy = snapshot(dir.path());
    assert_eq!(bodies(&open(copy.path(), Options::default())).await, ["accepted"], "and survives a kill");
}

#[tokio::test]
async fn forwarding_goes_by_the_writer_when_a_segment_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    let batch: Vec<_> =
        (0..200).map(|n| Outgoing { queue: queue(), body: format!("{n:0500}").into(), user: None }).collect();
    for part in batch.chunks(3) {
        assert!(queues.forward(part.to_vec()).await.iter().all(Result::is_ok));
        let long = segments(dir.path()).iter().map(|path| length(path)).max().unwrap_or(0);
        assert!(long < 4096 + 3 * 600, "a segment of {long} bytes");
    }
    let queues = reopen(queues, dir.path(), small());
    let all = receive(&queues, 200).await;
    assert_eq!(
        all.iter().map(|message| &message.body).collect::<Vec<_>>(),
        batch.iter().map(|out| &out.body).collect::<Vec<_>>()
    );
    ack(&queues, &all).await;
    until("one segment is left", || segments(dir.path()).len() == 1).await;
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    for _ in 0..20 {
        send(&queues, vec![b'x'; 1000]).await.expect("a send");
    }
    for number in [1, 3] {
        let copy = snapshot(dir.path());
        std::fs::remove_file(segment::path(copy.path(), number)).unwrap();
        let error = EmbeddedQueues::open(copy.path(), &[queue()], small()).expect_err("a missing segment");
        assert!(format!("{error:#}").contains(&format!("000000000{number}.log is missing")), "{error:#}");
    }
}

#[tokio::test]
async fn spent_segments_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    for n in 0..100 {
        send(&queues, format!("{n:0500}")).await.expect("a send");
    }
    assert!(segments(dir.path()).len() > 10, "the log is in many segments");
    let all = receive(&queues, 100).await;
    ack(&queues, &all).await;
    until("one segment is left", || segments(dir.path()).len() == 1).await;
    let queues = reopen(queues, dir.path(), small());
    assert!(bodies(&queues).await.is_empty(), "nothing acked is back");
}

#[tokio::test]
async fn stragglers_do_not_pin_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    for body in ["dead", "flying", "resting"] {
        send(&queues, body).await.expect("a send");
    }
    let mut old = receive(&queues, 2).await;
    queues.bury(&queue(), old.remove(0).receipt, "poison").await.expect("a burial");
    let resting = receive(&queues, 1).await.remove(0);
    let first = segments(dir.path())[0].clone();
    for n in 0..200 {
        send(&queues, format!("{n:0500}")).await.expect("a send");
        let passing = receive(&queues, 1).await;
        ack(&queues, &passing).await;
    }
    until("the log is small", || segments(dir.path()).len() < 10).await;
    assert!(!first.exists(), "the segment with the stragglers is gone");
    // The copies answer to the old receipts.
    queues.extend(&queue(), vec![resting.receipt], Duration::ZERO).await.expect("an extension");
    ack(&queues, &old).await;
    let queues = reopen(queues, dir.path(), small());
    let left = receive(&queues, 10).await;
    assert_eq!(left.len(), 1, "what was acked after it was copied stays away");
    assert_eq!((&left[0].body[..], left[0].attempt), (&b"resting"[..], 2), "the count is copied too");
    let letters = queues.dead_letters(&queue(), 10).await.expect("dead letters");
    assert_eq!((letters.len(), &*letters[0].body, &*letters[0].reason), (1, "dead", "poison"));
}

#[tokio::test]
async fn a_backlog_beyond_the_memory_reads_back_identical() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memory_bytes: 10_000, segment_bytes: 100_000, ..Options::default() };
    let queues = open(dir.path(), options.clone());
    let sent: Vec<Bytes> = (0..1000).map(|n| format!("{n:0600}").into()).collect();
    let batch = sent.iter().map(|body| Outgoing { queue: queue(), body: body.clone(), user: None }).collect();
    assert!(queues.send(batch).await.iter().all(Result::is_ok));
    assert!(queues.log.state().bodies_len() <= 10_000, "the budget holds");
    assert_eq!(bodies(&queues).await, sent);
    let queues = reopen(queues, dir.path(), options);
    assert_eq!(bodies(&queues).await, sent, "and after a restart");
}

#[tokio::test]
async fn a_full_log_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { live_bytes: 10_000, ..small() };
    let queues = open(dir.path(), options.clone());
    let batch =
        (0..20).map(|_| Outgoing { queue: queue(), body: vec![b'x'; 1000].into(), user: None }).collect();
    let answers = queues.send(batch).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 9, "the log has room for nine");
    assert!(answers[9..].iter().all(|answer| matches!(answer, Err(QueueError::Full))));
    let queues = reopen(queues, dir.path(), options);
    assert!(
        matches!(send(&queues, vec![b'x'; 1000]).await, Err(QueueError::Full)),
        "full after a restart too"
    );
    let some = receive(&queues, 3).await;
    ack(&queues, &some).await;
    send(&queues, vec![b'x'; 1000]).await.expect("acks make room");
}

#[tokio::test]
async fn what_was_accepted_passes_a_full_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { live_bytes: 10_000, ..small() };
    let main = QueueName::main();
    let queues = EmbeddedQueues::open(dir.path(), &[main.clone(), queue()], options).unwrap();
    let to = |queue: &QueueName| {
        vec![Outgoing { queue: queue.clone(), body: vec![b'x'; 1000].into(), user: None }; 10]
    };
    let answers = queues.send(to(&main)).await;
    assert!(matches!(answers[9], Err(QueueError::Full)));
    assert!(queues.send(to(&queue())).await.iter().all(Result::is_ok), "main_q empties by being passed on");
    assert!(queues.send(to(&main)).await.iter().all(Result::is_err));
}

#[tokio::test]
async fn the_first_receive_is_on_file_before_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "poison").await.expect("a send");
    receive(&queues, 1).await;
    let copy = snapshot(dir.path());
    assert_eq!(receive(&open(copy.path(), Options::default()), 1).await[0].attempt, 2);
}

#[tokio::test]
async fn an_ack_is_on_file_before_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "done").await.expect("a send");
    let done = receive(&queues, 1).await;
    ack(&queues, &done).await;
    let copy = snapshot(dir.path());
    assert!(bodies(&open(copy.path(), Options::default())).await.is_empty());
}

#[tokio::test]
async fn a_failed_sync_stops_everything() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "before").await.expect("a send");
    let message = receive(&queues, 1).await.remove(0);
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move { queues.receive(&queue(), 1, PATIENCE, HIDDEN).await }
    });
    tokio::task::yield_now().await;
    let switch = queues.log.tail().fail_sync.clone();
    switch.store(true, Ordering::Relaxed);
    assert!(
        matches!(send(&queues, "lost").await, Err(QueueError::Unavailable(_))),
        "never Ok without the sync"
    );
    let waited = tokio::time::timeout(PATIENCE / 2, waiting).await.expect("a waiting receive fails at once");
    assert!(matches!(waited.unwrap(), Err(QueueError::Unavailable(_))), "nothing unsynced is seen");
    // The next sync would succeed, but what the failed one lost is lost.
    switch.store(false, Ordering::Relaxed);
    assert!(matches!(send(&queues, "later").await, Err(QueueError::Unavailable(_))));
    unavailable(&queues, message).await;
}

#[tokio::test]
async fn a_failed_write_stops_everything() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "before").await.expect("a send");
    let message = receive(&queues, 1).await.remove(0);
    queues.log.tail().fail_write = Some(std::io::ErrorKind::Other);
    let acked = queues.ack(&queue(), vec![message.receipt.clone()]).await;
    assert!(matches!(acked, Err(QueueError::Unavailable(_))), "never Ok without the write");
    queues.log.tail().fail_write = None;
    assert!(matches!(send(&queues, "later").await, Err(QueueError::Unavailable(_))));
    unavailable(&queues, message).await;
    let queues = reopen(queues, dir.path(), Options::default());
    assert_eq!(bodies(&queues).await, ["before"], "a restart reads what is on disk");
}

/// Sends by `way` until there is no room; returns how many were taken.
async fn until_no_room(queues: &EmbeddedQueues, forwards: bool) -> usize {
    for taken in 0..1_000 {
        let batch = vec![Outgoing { queue: queue(), body: vec![b'x'; 16_384].into(), user: None }];
        let sent = if forwards { queues.forward(batch).await } else { queues.send(batch).await }.remove(0);
        match sent {
            Ok(()) => {}
            Err(QueueError::NoRoom) => return taken,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the zeros ahead of the log are endless");
}

#[tokio::test]
async fn on_a_full_disk_nothing_new_comes_and_what_is_there_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "before").await.expect("a send");
    queues.log.tail().fail_write = Some(std::io::ErrorKind::StorageFull);
    let sent = until_no_room(&queues, false).await;
    assert!(sent > 0, "there are zeros ahead");
    assert!(queues.log.options.disk.check().is_err());
    let passing = vec![Outgoing { queue: queue(), body: "passing".into(), user: None }];
    queues.send_passing(passing).await.remove(0).expect("what leaves nothing behind has room");
    let forwarded = until_no_room(&queues, true).await;
    assert!(forwarded > 0, "what was accepted has more");
    // Receives have still more. One that has none takes nothing.
    let (mut last, mut receives) = (receive(&queues, usize::MAX).await, 1);
    assert_eq!(last.len(), sent + forwarded + 2, "what was taken is there, and nothing else");
    loop {
        let receipts = last.iter().map(|message| message.receipt.clone()).collect();
        queues.extend(&queue(), receipts, Duration::ZERO).await.expect("an extension");
        match queues.receive(&queue(), usize::MAX, Duration::ZERO, HIDDEN).await {
            Ok(messages) => (last, receives) = (messages, receives + 1),
            Err(QueueError::NoRoom) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let depth = queues.depth(&queue()).await.expect("a depth");
    assert_eq!((depth.visible as usize, depth.in_flight), (last.len(), 0), "put back");
    let poison = last.pop().unwrap();
    queues.bury(&queue(), poison.receipt, "poison").await.expect("a burial has room");
    let waiting = last.pop().unwrap();
    ack(&queues, &last).await;

    queues.log.tail().fail_write = None;
    until("the room is seen", || queues.log.options.disk.check().is_ok()).await;
    send(&queues, "after").await.expect("a send");
    let queues = reopen(queues, dir.path(), Options::default());
    let left = receive(&queues, usize::MAX).await;
    let bodies: Vec<&Bytes> = left.iter().map(|message| &message.body).collect();
    assert_eq!(bodies, [&waiting.body, &Bytes::from("after")]);
    assert_eq!(left[0].attempt, receives + 1, "a receive without room is none");
    assert_eq!(queues.dead_letters(&queue(), 10).await.expect("dead letters").len(), 1);
}

async fn unavailable(queues: &EmbeddedQueues, message: Message) {
    let is = |error: Option<QueueError>| matches!(error, Some(QueueError::Unavailable(_)));
    let onward = Outgoing { queue: queue(), body: "onward".into(), user: None };
    assert!(is(queues.forward(vec![onward]).await.remove(0).err()), "forward");
    assert!(is(queues.receive(&queue(), 1, Duration::ZERO, HIDDEN).await.err()), "receive");
    assert!(is(queues.ack(&queue(), vec![message.receipt.clone()]).await.err()), "ack");
    assert!(is(queues.extend(&queue(), vec![message.receipt.clone()], HIDDEN).await.err()), "extend");
    assert!(is(queues.bury(&queue(), message.receipt, "why").await.err()), "bury");
    assert!(is(queues.depth(&queue()).await.err()), "depth");
    assert!(is(queues.dead_letters(&queue(), 1).await.err()), "dead_letters");
    assert!(is(queues.redrive(&queue(), 1).await.err()), "redrive");
}

#[tokio::test]
async fn a_queue_that_is_not_configured_keeps_its_messages() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    send(&queues, "kept").await.expect("a send");
    drop(queues);
    let beta = QueueName::new("beta_q");
    let queues = EmbeddedQueues::open(dir.path(), std::slice::from_ref(&beta), small()).unwrap();
    assert!(matches!(send(&queues, "lost").await, Err(QueueError::UnknownQueue(_))));
    for n in 0..200 {
        let body = format!("{n:0500}").into();
        assert!(queues.send(vec![Outgoing { queue: beta.clone(), body, user: None }]).await[0].is_ok());
        let passing = queues.receive(&beta, 1, Duration::ZERO, HIDDEN).await.unwrap();
        queues.ack(&beta, passing.into_iter().map(|message| message.receipt).collect()).await.unwrap();
    }
    drop(queues);
    assert_eq!(bodies(&open(dir.path(), small())).await, ["kept"], "also when its segment is long gone");
}

#[tokio::test]
async fn closing_refuses_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    send(&queues, "before").await.expect("a send");
    queues.close();
    assert!(matches!(send(&queues, "after").await, Err(QueueError::Unavailable(_))));
    assert_eq!(bodies(&reopen(queues, dir.path(), Options::default())).await, ["before"]);
}

/// Waits for something that the writer does by itself.
async fn until(what: &str, is: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is() {
        assert!(std::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
