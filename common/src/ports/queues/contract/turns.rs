//! Law 10: users are served in turn.

use std::collections::BTreeMap;

use super::steps::{alpha, drain, give_back, receive, send_for, take, text};
use super::{BRIEF, HIDDEN, Harness, PATIENCE};
use crate::ports::queues::Queues;

/// A user who has queued much, users who have not, and nobody.
const USERS: [(Option<&str>, usize); 4] =
    [(Some("greedy"), 60), (Some("ann"), 1), (None, 2), (Some("bob"), 5)];

/// Sends all messages of one user after the other, the greedy one's first. A body names its user and its place.
async fn send_all(queues: &dyn Queues) {
    for (user, count) in USERS {
        for place in 1..=count {
            send_for(queues, user, &format!("{} {place}", user.unwrap_or("nobody"))).await;
        }
    }
}

/// Checks the law on messages that were received in this order.
fn judge(bodies: &[String]) {
    let mut received: BTreeMap<&str, usize> = BTreeMap::new();
    for body in bodies {
        let (user, place) = body.split_once(' ').expect("a user and a place");
        let place: usize = place.parse().expect("a number");
        for (other, count) in received.iter().filter(|(other, _)| **other != user) {
            assert!(*count <= place, "law 10: {count} of {other} before {body:?}: {bodies:?}");
        }
        let before = received.entry(user).or_default();
        *before += 1;
        assert_eq!(*before, place, "law 10: one user's messages come by their age: {bodies:?}");
    }
}

/// Law 10: before a user's k-th message at most k of each other user are received, however a backlog is received and
/// also after a restart.
pub async fn users_are_served_in_turn(harness: &dyn Harness) {
    let count = USERS.iter().map(|(_, count)| count).sum();
    let queues = harness.fresh().await;
    send_all(&*queues).await;
    judge(&drain(&*queues, &alpha(), count).await);
    send_all(&*queues).await;
    let queues = harness.restarted(queues).await;
    judge(&drain(&*queues, &alpha(), count).await);
    send_all(&*queues).await;
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let got = receive(&*queues, &alpha(), 1, PATIENCE, HIDDEN).await;
        bodies.extend(got.iter().map(text));
    }
    judge(&bodies);
}

/// Law 10: who comes while a backlog is received waits for no more than those who were there; and what is visible again
/// has the place that its age gives it.
pub async fn what_comes_again_keeps_its_place(harness: &dyn Harness) {
    let queues = harness.fresh().await;
    for place in 1..=9 {
        send_for(&*queues, Some("greedy"), &format!("greedy {place}")).await;
    }
    let first = take(&*queues, &alpha(), 3, BRIEF).await;
    let given = take(&*queues, &alpha(), 1, HIDDEN).await;
    assert_eq!(text(&given[0]), "greedy 4", "law 10: by age");
    for place in 1..=2 {
        send_for(&*queues, Some("ann"), &format!("ann {place}")).await;
    }
    give_back(&*queues, &alpha(), &given[0]).await;
    tokio::time::sleep(2 * BRIEF).await;
    assert_eq!(first.len(), 3, "they are visible again by now");
    judge(&drain(&*queues, &alpha(), 11).await);
}
