//! The laws of [`Queues`], one function each; [`all`] runs them in turn.
//!
//! They hold for unordered engines with at-least-once delivery and visibility in whole seconds: nothing here knows an
//! order or an exact time.

mod steps;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Depth, MAX_BODY_BYTES, Outgoing, QueueError, QueueName, Queues, Receipt};
pub use turns::{users_are_served_in_turn, what_comes_again_keeps_its_place};

use steps::{
    ack, alpha, beta, drain, extend, give_back, letters, nothing, nothing_for, outgoing, receive, send,
    settles, take, take_one, text,
};

/// The engine under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// An engine whose queues `alpha_q` and `beta_q` exist and are empty.
    async fn fresh(&self) -> Arc<dyn Queues>;

    /// The same engine after the process was started again; `queues` is the only handle to it.
    async fn restarted(&self, queues: Arc<dyn Queues>) -> Arc<dyn Queues>;
}

/// Time enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test.
const HIDDEN: Duration = Duration::from_secs(600);
/// The shortest visibility that every engine knows.
const BRIEF: Duration = Duration::from_secs(1);
/// How long to look for what must not come.
const GLANCE: Duration = Duration::from_secs(1);

/// Every law, one after the other.
pub async fn all(harness: &dyn Harness) {
    send_answers_per_entry(harness).await;
    sent_survives_a_restart(harness).await;
    hidden_until_visibility_lapses(harness).await;
    receive_is_bounded(harness).await;
    receive_wakes_at_once(harness).await;
    one_batch_wakes_many_receivers(harness).await;
    receive_wakes_for_a_lapse(harness).await;
    ack_is_for_good(harness).await;
    ack_takes_stale_receipts(harness).await;
    acked_stays_away_after_a_restart(harness).await;
    extend_replaces_visibility(harness).await;
    stale_extend_changes_nothing(harness).await;
    attempts_are_counted(harness).await;
    given_back_counts_no_receive(harness).await;
    bury_moves_to_the_dead_letters(harness).await;
    redrive_brings_back(harness).await;
    redriven_ignores_old_receipts(harness).await;
    unacked_is_visible_after_a_restart(harness).await;
    many_receivers_share(harness).await;
    unknown_queues_are_refused(harness).await;
    forwarded_is_there_at_once_and_after_a_restart(harness).await;
    users_are_served_in_turn(harness).await;
    what_comes_again_keeps_its_place(harness).await;
}

/// Law 1: `send` returns a result for each entry, in order, and a refused entry leaves the others alone.
pub async fn send_answers_per_entry(harness: &dyn Harness) {
    answers_per_entry(harness, |queues, batch| async move { queues.send(batch).await }).await;
    answers_per_entry(harness, |queues, batch| async move { queues.forward(batch).await }).await;
}

async fn answers_per_entry<F>(harness: &dyn Harness, send: impl Fn(Arc<dyn Queues>, Vec<Outgoing>) -> F)
where
    F: Future<Output = Vec<Result<(), QueueError>>>,
{
    let queues = harness.fresh().await;
    let huge = Bytes::from(vec![b'x'; MAX_BODY_BYTES + 1]);
    let largest = Bytes::from(vec![b'x'; MAX_BODY_BYTES]);
    let batch = vec![
        outgoing(&alpha(), "one"),
        Outgoing { queue: alpha(), body: huge, user: None },
        Outgoing { queue: QueueName::new("nobody_q"), body: Bytes::from_static(b"lost"), user: None },
        Outgoing { queue: beta(), body: largest.clone(), user: None },
        outgoing(&alpha(), "two"),
    ];
    let answers = send(queues.clone(), batch).await;
    assert_eq!(answers.len(), 5, "law 1: one result for each entry");
    assert!(
        answers[0].is_ok() && answers[3].is_ok() && answers[4].is_ok(),
        "law 1: good entries: {answers:?}"
    );
    assert!(
        matches!(answers[1], Err(QueueError::TooLarge(n)) if n == MAX_BODY_BYTES + 1),
        "law 1: {answers:?}"
    );
    assert!(matches!(&answers[2], Err(QueueError::UnknownQueue(_))), "law 1: {answers:?}");
    let mut bodies = drain(&*queues, &alpha(), 2).await;
    bodies.sort();
    assert_eq!(bodies, ["one", "two"], "law 1: the others arrive, each in its queue");
    let large = drain(&*queues, &beta(), 1).await;
    assert!(large[0].as_bytes() == largest, "law 1: the largest body arrives as it was sent");
    assert!(send(queues, Vec::new()).await.is_empty(), "law 1: no entries, no answers");
}

/// Laws 1 and 8: what was answered `Ok` is there after a restart.
pub async fn sent_survives_a_restart(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let bodies: BTreeSet<_> = (0..25).map(|n| format!("message {n}")).collect();
    for body in &bodies {
        send(&*queues, &alpha(), body).await;
    }
    let queues = harness.restarted(queues).await;
    let found: BTreeSet<_> = drain(&*queues, &alpha(), bodies.len()).await.into_iter().collect();
    assert_eq!(found, bodies, "law 1: an Ok entry survives a restart");
}

/// Law 2: received again after the visibility timeout, and by nobody before.
pub async fn hidden_until_visibility_lapses(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "hidden").await;
    send(&*queues, &beta(), "brief").await;
    take_one(&*queues, &alpha(), HIDDEN).await;
    take_one(&*queues, &beta(), BRIEF).await;
    let again = take_one(&*queues, &beta(), HIDDEN).await;
    assert_eq!(again.body, "brief", "law 2: it comes again after the visibility timeout");
    nothing(&*queues, &alpha(), "law 2: nobody receives it before the visibility timeout").await;
}

/// Law 3: at most `max`, at most `wait`, and empty when there is nothing.
pub async fn receive_is_bounded(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for n in 0..5 {
        send(&*queues, &alpha(), &n.to_string()).await;
    }
    let mut left = 5;
    while left > 0 {
        let got = receive(&*queues, &alpha(), 2, PATIENCE, HIDDEN).await;
        assert!((1..=2).contains(&got.len()), "law 3: at most max, and not empty while there is something");
        left -= got.len();
    }
    let began = Instant::now();
    let got = receive(&*queues, &alpha(), 10, BRIEF, HIDDEN).await;
    assert!(got.is_empty(), "law 3: empty when none came");
    assert!(began.elapsed() < PATIENCE, "law 3: it waits at most its wait");
    let got = receive(&*queues, &alpha(), 10, Duration::ZERO, HIDDEN).await;
    assert!(got.is_empty(), "law 3: no wait is a valid wait");
}

/// Law 3: a waiting receive wakes for a new message.
pub async fn receive_wakes_at_once(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move { receive(&*queues, &alpha(), 1, PATIENCE, HIDDEN).await }
    });
    // An empty receive on the side: time for the other to be waiting.
    nothing(&*queues, &beta(), "law 3: queues are apart").await;
    let began = Instant::now();
    send(&*queues, &alpha(), "wake").await;
    let got = waiting.await.expect("the receiver lives");
    assert_eq!(got.len(), 1, "law 3: a waiting receive gets the new message");
    assert!(began.elapsed() < PATIENCE / 3, "law 3: it wakes at once, not at the end of its wait");
}

/// Law 3: a batch wakes as many waiting receives as it has messages for.
pub async fn one_batch_wakes_many_receivers(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let queues = queues.clone();
            tokio::spawn(async move { receive(&*queues, &alpha(), 1, PATIENCE, HIDDEN).await.len() })
        })
        .collect();
    nothing(&*queues, &beta(), "law 3: queues are apart").await;
    let began = Instant::now();
    let batch = (0..4).map(|n| outgoing(&alpha(), &n.to_string())).collect();
    assert!(queues.send(batch).await.iter().all(Result::is_ok), "law 1: send");
    for receiver in waiting {
        assert_eq!(
            receiver.await.expect("the receiver lives"),
            1,
            "law 3: each gets one of the new messages"
        );
    }
    assert!(began.elapsed() < PATIENCE / 3, "law 3: all wake at once, not at the end of their wait");
}

/// Laws 2 and 3: a waiting receive wakes at a visibility timeout.
pub async fn receive_wakes_for_a_lapse(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "again").await;
    take_one(&*queues, &alpha(), BRIEF).await;
    let began = Instant::now();
    let again = receive(&*queues, &alpha(), 1, PATIENCE, HIDDEN).await;
    assert_eq!(again.len(), 1, "law 2: the message comes again to a receive that waits");
    assert!(began.elapsed() < PATIENCE / 2, "law 3: the timeout wakes a waiting receive");
}

/// Law 4: acked messages are gone, and to ack twice is no error.
pub async fn ack_is_for_good(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "done").await;
    let message = take_one(&*queues, &alpha(), BRIEF).await;
    ack(&*queues, &alpha(), &message).await;
    ack(&*queues, &alpha(), &message).await;
    nothing_for(&*queues, &alpha(), 3 * BRIEF, "law 4: an acked message never comes again").await;
    settles(&*queues, &alpha(), "law 4: nothing is left", |depth| depth.visible == 0 && depth.in_flight == 0)
        .await;
}

/// Law 4: an ack works on messages of any age, also after the visibility timeout, when another consumer has it.
pub async fn ack_takes_stale_receipts(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "twice").await;
    let first = take_one(&*queues, &alpha(), BRIEF).await;
    take_one(&*queues, &alpha(), 2 * BRIEF).await;
    ack(&*queues, &alpha(), &first).await;
    nothing_for(&*queues, &alpha(), 4 * BRIEF, "law 4: an ack by an older receipt removes for good").await;
}

/// Law 4: after a restart nothing acked comes back.
pub async fn acked_stays_away_after_a_restart(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for n in 0..20 {
        send(&*queues, &alpha(), &n.to_string()).await;
    }
    let mut kept = BTreeSet::new();
    for message in take(&*queues, &alpha(), 20, HIDDEN).await {
        let number: u32 = text(&message).parse().expect("a number was sent");
        if number.is_multiple_of(2) {
            ack(&*queues, &alpha(), &message).await;
        } else {
            extend(&*queues, &alpha(), &message, Duration::ZERO).await;
            kept.insert(text(&message));
        }
    }
    let queues = harness.restarted(queues).await;
    let found: BTreeSet<_> = drain(&*queues, &alpha(), 10).await.into_iter().collect();
    assert_eq!(found, kept, "law 4: nothing acked comes back after a restart, the rest does");
    nothing(&*queues, &alpha(), "law 4: nothing acked comes back after a restart").await;
}

/// Law 5: `extend` replaces the visibility; zero makes the message visible at once.
pub async fn extend_replaces_visibility(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "longer").await;
    send(&*queues, &beta(), "shorter").await;
    let longer = take_one(&*queues, &alpha(), 5 * BRIEF).await;
    extend(&*queues, &alpha(), &longer, HIDDEN).await;
    let shorter = take_one(&*queues, &beta(), HIDDEN).await;
    extend(&*queues, &beta(), &shorter, Duration::ZERO).await;
    assert_eq!(
        take_one(&*queues, &beta(), HIDDEN).await.body,
        "shorter",
        "law 5: zero makes it visible at once"
    );
    nothing_for(&*queues, &alpha(), 7 * BRIEF, "law 5: an extended message stays hidden").await;
}

/// Law 5: a receipt whose message another has received since changes nothing.
pub async fn stale_extend_changes_nothing(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "mine").await;
    let stale = take_one(&*queues, &alpha(), BRIEF).await;
    take_one(&*queues, &alpha(), HIDDEN).await;
    // Engines may answer either way; what counts is that nothing happens.
    let _ = queues.extend(&alpha(), vec![stale.receipt], Duration::ZERO).await;
    nothing(&*queues, &alpha(), "law 5: a stale receipt does not take the message away from its consumer")
        .await;
}

/// Law 6: `attempt` counts receives and survives a restart.
pub async fn attempts_are_counted(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "count").await;
    let mut sent_at = None;
    for expected in 1..=3 {
        let message = take_one(&*queues, &alpha(), HIDDEN).await;
        assert_eq!(message.attempt, expected, "law 6: attempt counts receives");
        assert_eq!(
            *sent_at.get_or_insert(message.sent_at),
            message.sent_at,
            "sent_at is when it was first sent"
        );
        extend(&*queues, &alpha(), &message, Duration::ZERO).await;
    }
    let queues = harness.restarted(queues).await;
    let message = take_one(&*queues, &alpha(), HIDDEN).await;
    assert_eq!(message.attempt, 4, "law 6: the count survives a restart");
    assert_eq!(Some(message.sent_at), sent_at, "sent_at survives a restart");
}

/// Law 6: `give_back` makes messages visible at once and takes their receive back, also over a restart; what was
/// received before counts on.
pub async fn given_back_counts_no_receive(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "count").await;
    let first = take_one(&*queues, &alpha(), HIDDEN).await;
    extend(&*queues, &alpha(), &first, Duration::ZERO).await;
    let second = take_one(&*queues, &alpha(), HIDDEN).await;
    give_back(&*queues, &alpha(), &second).await;
    let third = take_one(&*queues, &alpha(), HIDDEN).await;
    assert_eq!(third.attempt, 2, "law 6: what was given back was not received");
    assert_eq!((text(&third), third.sent_at), (text(&first), first.sent_at));
    give_back(&*queues, &alpha(), &first).await;
    nothing(&*queues, &alpha(), "law 6: an older receipt gives nothing back").await;
    give_back(&*queues, &alpha(), &third).await;
    let queues = harness.restarted(queues).await;
    let fourth = take_one(&*queues, &alpha(), HIDDEN).await;
    assert_eq!(fourth.attempt, 2, "law 6: nor after a restart");
    ack(&*queues, &alpha(), &fourth).await;
    give_back(&*queues, &alpha(), &fourth).await;
    nothing(&*queues, &alpha(), "law 4: what was acked does not come back").await;
}

/// Law 7: `bury` moves, with the reason, and a restart changes nothing about it.
pub async fn bury_moves_to_the_dead_letters(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for n in 0..3 {
        send(&*queues, &alpha(), &format!("poison {n}")).await;
    }
    let tried = take(&*queues, &alpha(), 3, HIDDEN).await.into_iter().map(|message| message.receipt);
    queues.extend(&alpha(), tried.collect(), Duration::ZERO).await.expect("law 5: extend");
    for message in take(&*queues, &alpha(), 3, BRIEF).await {
        let reason = format!("because of {}", text(&message));
        queues.bury(&alpha(), message.receipt.clone(), &reason).await.expect("law 7: bury");
        // A handler may ack what it buried: the letter stays.
        ack(&*queues, &alpha(), &message).await;
    }
    nothing_for(&*queues, &alpha(), 3 * BRIEF, "law 7: a buried message is not received").await;
    let letters = letters(&*queues, &alpha(), 3).await;
    for n in 0..3 {
        let reason = letters.get(&format!("poison {n}")).expect("law 7: a buried message is a dead letter");
        assert_eq!(*reason, format!("because of poison {n}"), "law 7: with its reason");
    }
    settles(&*queues, &alpha(), "law 7: counted as dead only", |depth| {
        *depth == Depth { dead: 3, oldest_age_ms: depth.oldest_age_ms, ..Depth::default() }
    })
    .await;
    let few = queues.dead_letters(&alpha(), 2).await.expect("law 7: dead_letters");
    assert!(few.len() <= 2, "law 7: at most limit");
    assert!(few.iter().all(|letter| letter.attempts == Some(2)), "law 7: counted receives: {few:?}");
    let queues = harness.restarted(queues).await;
    nothing(&*queues, &alpha(), "law 7: never both, after a restart").await;
    assert_eq!(self::letters(&*queues, &alpha(), 3).await, letters, "law 7: never neither, after a restart");
}

/// Law 7: `redrive` moves back, with `attempt` at 1, as many as asked.
pub async fn redrive_brings_back(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for n in 0..3 {
        send(&*queues, &alpha(), &format!("cured {n}")).await;
    }
    for _ in 0..3 {
        let message = take_one(&*queues, &alpha(), HIDDEN).await;
        queues.bury(&alpha(), message.receipt, "ill").await.expect("law 7: bury");
    }
    letters(&*queues, &alpha(), 3).await;
    assert_eq!(queues.redrive(&alpha(), 1).await.expect("law 7: redrive"), 1, "law 7: at most limit");
    let first = take_one(&*queues, &alpha(), HIDDEN).await;
    assert_eq!(first.attempt, 1, "law 7: attempt begins at 1 again");
    letters(&*queues, &alpha(), 2).await;
    ack(&*queues, &alpha(), &first).await;
    assert_eq!(queues.redrive(&alpha(), 100).await.expect("law 7: redrive"), 2, "law 7: it says how many");
    let queues = harness.restarted(queues).await;
    let mut rest = drain(&*queues, &alpha(), 2).await;
    rest.push(text(&first));
    rest.sort();
    assert_eq!(rest, ["cured 0", "cured 1", "cured 2"], "law 7: never neither");
    letters(&*queues, &alpha(), 0).await;
    assert_eq!(queues.redrive(&alpha(), 100).await.expect("law 7: redrive"), 0, "law 7: never both");
}

/// Law 7: a redriven message is a new one: receipts from before say nothing about it.
pub async fn redriven_ignores_old_receipts(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    send(&*queues, &alpha(), "back").await;
    let old = take_one(&*queues, &alpha(), HIDDEN).await;
    queues.bury(&alpha(), old.receipt.clone(), "ill").await.expect("law 7: bury");
    letters(&*queues, &alpha(), 1).await;
    assert_eq!(queues.redrive(&alpha(), 1).await.expect("law 7: redrive"), 1, "law 7: it says how many");
    let _ = queues.ack(&alpha(), vec![old.receipt]).await;
    take_one(&*queues, &alpha(), HIDDEN).await;
}

/// Law 8: everything unacked is visible after a restart, in flight or not; on engines whose visibility timeout outlives
/// us, after it.
pub async fn unacked_is_visible_after_a_restart(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for n in 0..4 {
        send(&*queues, &alpha(), &n.to_string()).await;
    }
    take(&*queues, &alpha(), 2, 5 * BRIEF).await;
    let queues = harness.restarted(queues).await;
    let found: BTreeSet<_> = drain(&*queues, &alpha(), 4).await.into_iter().collect();
    assert_eq!(found.len(), 4, "law 8: everything unacked comes after a restart");
}

/// Law 9: what is forwarded wakes a receive that waits for it, and is there after a restart when the message that
/// caused it is gone.
pub async fn forwarded_is_there_at_once_and_after_a_restart(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move { receive(&*queues, &beta(), 1, PATIENCE, HIDDEN).await }
    });
    send(&*queues, &alpha(), "origin").await;
    let origin = take_one(&*queues, &alpha(), HIDDEN).await;
    let began = Instant::now();
    let answers = queues.forward(vec![outgoing(&beta(), "onward")]).await;
    assert!(matches!(answers.as_slice(), [Ok(())]), "law 9: forward: {answers:?}");
    let got = waiting.await.expect("the receiver lives");
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), ["onward"], "law 9: a waiting receive gets it");
    assert!(began.elapsed() < PATIENCE / 3, "law 9: it wakes at once");
    ack(&*queues, &alpha(), &origin).await;
    let queues = harness.restarted(queues).await;
    assert_eq!(drain(&*queues, &beta(), 1).await, ["onward"], "law 9: it survives a restart");
    nothing(&*queues, &alpha(), "law 4: the message that caused it is acked").await;
}

/// Laws 2 and 3: many receivers share a queue, each message goes to one of them, and none is left behind.
pub async fn many_receivers_share(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let count = 200;
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let queues = queues.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let messages = receive(&*queues, &alpha(), 3, 3 * GLANCE, HIDDEN).await;
                    if messages.is_empty() {
                        return got;
                    }
                    got.extend(messages.iter().map(text));
                    let receipts = messages.into_iter().map(|message| message.receipt).collect();
                    queues.ack(&alpha(), receipts).await.expect("law 4: ack");
                }
            })
        })
        .collect();
    for n in 0..count {
        send(&*queues, &alpha(), &format!("{n}")).await;
    }
    let mut got = Vec::new();
    for receiver in receivers {
        got.extend(receiver.await.expect("the receiver lives"));
    }
    assert_eq!(got.len(), count, "law 2: each message goes to one receiver");
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), count, "law 3: none is left behind");
}

/// Queues that the engine does not have are named in the error.
pub async fn unknown_queues_are_refused(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    let nobody = QueueName::new("nobody_q");
    let refused =
        |error: Option<QueueError>| matches!(error, Some(QueueError::UnknownQueue(name)) if name == nobody);
    assert!(refused(queues.receive(&nobody, 1, Duration::ZERO, BRIEF).await.err()), "receive");
    assert!(refused(queues.depth(&nobody).await.err()), "depth");
    assert!(refused(queues.ack(&nobody, Vec::new()).await.err()), "ack");
    assert!(refused(queues.dead_letters(&nobody, 1).await.err()), "dead_letters");
    assert!(refused(queues.redrive(&nobody, 1).await.err()), "redrive");
    let strange = Receipt(Bytes::from_static(b"not one of yours"));
    assert!(refused(queues.bury(&nobody, strange, "why").await.err()), "bury");
}
