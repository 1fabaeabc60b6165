//! Users in turn, and the share of the room that each may hold: over restarts, compaction and redrives.

use std::collections::BTreeMap;
use std::time::Duration;

use soundoff_common::ports::queues::{Message, Outgoing, QueueError, Queues};

use super::tests::{ack, open, queue, receive, reopen};
use super::{EmbeddedQueues, Options, segment};

fn of(user: &str, body: &str) -> Outgoing {
    Outgoing { queue: queue(), body: body.to_owned().into(), user: Some(user.parse().expect("a handle")) }
}

async fn send(queues: &EmbeddedQueues, user: &str, body: &str) -> Result<(), QueueError> {
    queues.send(vec![of(user, body)]).await.remove(0)
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.body).expect("text")).collect()
}

/// Small enough that the compaction copies.
fn small() -> Options {
    Options { memory_bytes: 1024, segment_bytes: 1024, ..Options::default() }
}

#[tokio::test]
async fn whose_a_message_is_outlives_restarts_compaction_and_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), small());
    for n in 0..9 {
        send(&queues, "greedy", &format!("greedy {n}")).await.expect("a send");
    }
    send(&queues, "ann", "ann 0").await.expect("a send");
    send(&queues, "bob", "bob 0").await.expect("a send");
    let poison = receive(&queues, 2).await;
    assert_eq!(bodies(&poison), ["greedy 0", "ann 0"]);
    for message in poison {
        queues.bury(&queue(), message.receipt, "poison").await.expect("a burial");
    }
    let first = segment::path(dir.path(), 1);
    for n in 0..200 {
        send(&queues, "passing", &format!("{n:0200}")).await.expect("a send");
        loop {
            let got = receive(&queues, 1).await.remove(0);
            if got.body.len() == 200 {
                ack(&queues, &[got]).await;
                break;
            }
            queues.give_back(&queue(), vec![got.receipt]).await.expect("a give_back");
        }
    }
    assert!(!first.exists(), "all of them were copied");
    let queues = reopen(queues, dir.path(), small());
    assert_eq!(queues.redrive(&queue(), 9).await.expect("a redrive"), 2);
    let left = receive(&queues, 99).await;
    assert_eq!(bodies(&left)[..5], ["greedy 0", "bob 0", "ann 0", "greedy 1", "greedy 2"]);
    assert_eq!(queues.log.state().users.len(), 3);
    ack(&queues, &left).await;
    let state = queues.log.state();
    assert_eq!((state.users.len(), state.live), (0, 0), "who has nothing is forgotten");
}

/// A log as 0.1.0 left it: `first`, `second` and `dead` in alpha_q, the last as a dead letter.
const OF_0_1_0: &str = include_str!("log_of_0_1_0.hex");

#[tokio::test]
async fn a_log_of_0_1_0_opens_and_its_messages_are_nobody_s() {
    let dir = tempfile::tempdir().unwrap();
    let digits: Vec<char> = OF_0_1_0.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hex");
    std::fs::write(segment::path(dir.path(), 1), digits.chunks(2).map(byte).collect::<Vec<_>>()).unwrap();
    let queues = open(dir.path(), Options::default());
    for body in ["ann 0", "ann 1"] {
        send(&queues, "ann", body).await.expect("a send");
    }
    assert_eq!(queues.redrive(&queue(), 9).await.expect("a redrive"), 1);
    let queues = reopen(queues, dir.path(), Options::default());
    assert_eq!(bodies(&receive(&queues, 9).await), ["dead", "ann 0", "first", "ann 1", "second"]);
}

#[tokio::test]
async fn beyond_half_of_the_room_a_user_holds_a_share_at_most() {
    const KILOBYTE: u64 = 1000;
    let dir = tempfile::tempdir().unwrap();
    let body = "x".repeat(936);
    // With what the log adds, a message is a thousand bytes: 256 of them fill the log, and four are a share.
    let options = Options { live_bytes: 256 * KILOBYTE, ..Options::default() };
    let queues = open(dir.path(), options.clone());
    let batch = (0..100).map(|_| of("greedy", &body)).collect();
    assert!(queues.send(batch).await.iter().all(Result::is_ok), "half of it is anybody's");
    let answers = queues.send((0..100).map(|_| of("greedy", &body)).collect()).await;
    let taken = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert_eq!(taken, 28, "up to half, though all came in one group");
    assert!(answers[taken..].iter().all(|answer| matches!(answer, Err(QueueError::Share))), "{answers:?}");
    let mut taken = BTreeMap::new();
    for n in 0..30 {
        let user = format!("polite{}", n % 20);
        send(&queues, &user, &body).await.expect("others are taken");
        *taken.entry(user).or_insert(0) += 1;
    }
    let answers = queues.send((0..9).map(|_| of("new", &body)).collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4, "a share, in one group, too");
    let queues = reopen(queues, dir.path(), options);
    assert!(matches!(send(&queues, "greedy", &body).await, Err(QueueError::Share)), "after a restart, too");
    assert!(send(&queues, "polite0", &body).await.is_ok());
    let nobody = Outgoing { user: None, ..of("any", &body) };
    assert!(
        queues.send(vec![nobody; 9]).await.iter().all(Result::is_ok),
        "the system's own work is no user's"
    );
    let all = receive(&queues, usize::MAX).await;
    ack(&queues, &all[..all.len() - 2]).await;
    send(&queues, "greedy", &body).await.expect("what is done makes room");
}

#[tokio::test]
async fn who_holds_nothing_has_room_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options { live_bytes: 10_000, ..Options::default() });
    let body = "x".repeat(936);
    assert!(queues.send((0..5).map(|_| of("greedy", &body)).collect()).await.iter().all(Result::is_ok));
    for user in ["ann", "bob", "eve"] {
        send(&queues, user, &body).await.expect("a share is less than a message, and one is taken");
        assert!(matches!(send(&queues, user, &body).await, Err(QueueError::Share)));
    }
    for user in ["fred", "gina"] {
        send(&queues, user, &body).await.expect("the log is filled to its end");
    }
    assert!(matches!(send(&queues, "hugo", &body).await, Err(QueueError::Full)));
}

#[tokio::test]
async fn what_was_acked_while_it_was_visible_takes_nobody_s_turn() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options::default());
    for body in ["ann 0", "ann 1", "ann 2"] {
        send(&queues, "ann", body).await.expect("a send");
    }
    let late = receive(&queues, 2).await;
    let receipts = late.iter().map(|message| message.receipt.clone()).collect();
    queues.extend(&queue(), receipts, Duration::ZERO).await.expect("an extension");
    send(&queues, "bob", "bob 0").await.expect("a send");
    ack(&queues, &late).await;
    assert_eq!(bodies(&receive(&queues, 9).await), ["ann 2", "bob 0"]);
}
