//! The steps of the suite's tests: sends, receives and acks that must succeed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{GLANCE, HIDDEN, PATIENCE};
use crate::ports::queues::{Depth, Message, Outgoing, QueueName, Queues};

pub(super) fn alpha() -> QueueName {
    QueueName::new("alpha_q")
}

pub(super) fn beta() -> QueueName {
    QueueName::new("beta_q")
}

pub(super) fn outgoing(queue: &QueueName, body: &str) -> Outgoing {
    Outgoing { queue: queue.clone(), body: Bytes::copy_from_slice(body.as_bytes()), user: None }
}

/// A message for a user; `None` stands for nobody.
pub(super) async fn send_for(queues: &dyn Queues, user: Option<&str>, body: &str) {
    let user = user.map(|user| user.parse().expect("a valid handle"));
    let answers = queues.send(vec![Outgoing { user, ..outgoing(&alpha(), body) }]).await;
    assert!(matches!(answers.as_slice(), [Ok(())]), "law 1: send: {answers:?}");
}

pub(super) fn text(message: &Message) -> String {
    String::from_utf8(message.body.to_vec()).expect("text was sent")
}

pub(super) async fn send(queues: &dyn Queues, queue: &QueueName, body: &str) {
    let answers = queues.send(vec![outgoing(queue, body)]).await;
    assert!(matches!(answers.as_slice(), [Ok(())]), "law 1: send: {answers:?}");
}

pub(super) async fn receive(
    queues: &dyn Queues,
    queue: &QueueName,
    max: usize,
    wait: Duration,
    visibility: Duration,
) -> Vec<Message> {
    queues.receive(queue, max, wait, visibility).await.expect("law 3: receive")
}

/// Exactly `count` messages, in however many receives.
pub(super) async fn take(
    queues: &dyn Queues,
    queue: &QueueName,
    count: usize,
    visibility: Duration,
) -> Vec<Message> {
    let until = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while got.len() < count {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "law 2: {} of {count} messages came", got.len());
        // Engines cap a receive at 10 messages and 20 s.
        let max = (count - got.len()).min(10);
        got.extend(receive(queues, queue, max, left.min(Duration::from_secs(10)), visibility).await);
    }
    got
}

pub(super) async fn take_one(queues: &dyn Queues, queue: &QueueName, visibility: Duration) -> Message {
    take(queues, queue, 1, visibility).await.remove(0)
}

/// Receives and acks `count` messages.
pub(super) async fn drain(queues: &dyn Queues, queue: &QueueName, count: usize) -> Vec<String> {
    let messages = take(queues, queue, count, HIDDEN).await;
    for message in &messages {
        ack(queues, queue, message).await;
    }
    messages.iter().map(text).collect()
}

pub(super) async fn ack(queues: &dyn Queues, queue: &QueueName, message: &Message) {
    queues.ack(queue, vec![message.receipt.clone()]).await.expect("law 4: ack");
}

pub(super) async fn extend(queues: &dyn Queues, queue: &QueueName, message: &Message, visibility: Duration) {
    queues.extend(queue, vec![message.receipt.clone()], visibility).await.expect("law 5: extend");
}

pub(super) async fn give_back(queues: &dyn Queues, queue: &QueueName, message: &Message) {
    queues.give_back(queue, vec![message.receipt.clone()]).await.expect("law 6: give_back");
}

pub(super) async fn nothing(queues: &dyn Queues, queue: &QueueName, law: &str) {
    nothing_for(queues, queue, GLANCE, law).await;
}

pub(super) async fn nothing_for(queues: &dyn Queues, queue: &QueueName, wait: Duration, law: &str) {
    let got = receive(queues, queue, 1, wait, HIDDEN).await;
    assert!(got.is_empty(), "{law}: {:?}", got.iter().map(text).collect::<Vec<_>>());
}

/// Waits until there are `count` dead letters; returns their reasons by body.
pub(super) async fn letters(queues: &dyn Queues, queue: &QueueName, count: u64) -> BTreeMap<String, String> {
    settles(queues, queue, "law 7: the count of dead letters", |depth| depth.dead == count).await;
    let letters = queues.dead_letters(queue, 100).await.expect("law 7: dead_letters");
    assert_eq!(letters.len() as u64, count, "law 7: the dead letters are as many as counted");
    letters.into_iter().map(|letter| (letter.body, letter.reason)).collect()
}

/// Waits for a depth: some engines count late.
pub(super) async fn settles(queues: &dyn Queues, queue: &QueueName, law: &str, is: impl Fn(&Depth) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let depth = queues.depth(queue).await.expect("depth");
        if is(&depth) {
            return;
        }
        assert!(Instant::now() < until, "{law}: {depth:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
