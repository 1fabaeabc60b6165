//! Law 5: registrations come and go with their sockets, in an order that loses nothing, and no edge removes another's.

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use soundoff_common::ports::sessions::Registration;
use soundoff_edge::EdgeConfig;
use support::{World, config, event_of, stand, stand_with, token, until};

fn foreign() -> Registration {
    Registration { edge: "10.9.9.9:1".into(), boot: "foreign".into(), connection: 1, device: None }
}

#[tokio::test]
async fn a_socket_in_the_cache_can_be_reached_already() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    stand.world.sessions.put_gate.hold();
    let mut ann = stand.connect().await;
    ann.hello(&token("ann")).await;
    until("in the cache", || stand.world.sessions.of("ann").len() == 1).await;
    let missing = stand.deliver(&[event_of("ann", &json!({}))]).await;
    assert!(missing.is_empty(), "a worker that read the cache finds the socket");
    stand.world.sessions.put_gate.release();
    ann.expect("welcome").await;
    ann.expect("event").await;
}

#[tokio::test]
async fn a_registration_ends_with_its_socket_and_no_other_does() {
    let stand = stand().await;
    let one = stand.welcomed("ann").await;
    let two = stand.welcomed("ann").await;
    stand.world.sessions.insert("ann", foreign());
    let mut all = stand.world.sessions.of("ann");
    assert_eq!(all.len(), 3);
    drop(one);
    until("the first is gone", || stand.world.sessions.of("ann").len() == 2).await;
    let left = stand.world.sessions.of("ann");
    all.retain(|registration| !left.contains(registration));
    assert_eq!(all.len(), 1);
    assert!(left.contains(&foreign()));
    drop(two);
    until("only the foreign one is left", || stand.world.sessions.of("ann") == [foreign()]).await;
}

#[tokio::test]
async fn a_flushed_cache_is_filled_again_without_dead_sockets() {
    let quick = EdgeConfig { session_ttl: Duration::from_millis(150), ..config() };
    let stand = stand_with(quick, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    let bob = stand.welcomed("bob").await;
    let before = stand.world.sessions.of("ann");
    drop(bob);
    until("bob is gone", || stand.world.sessions.of("bob").is_empty()).await;
    for _ in 0..3 {
        stand.world.sessions.flush();
        until("ann is back", || stand.world.sessions.of("ann") == before).await;
        assert!(stand.world.sessions.of("bob").is_empty());
    }
    stand.deliver(&[event_of("ann", &json!({}))]).await;
    ann.expect("event").await;
}

#[tokio::test]
async fn a_socket_that_came_late_in_a_round_is_asserted_in_the_next_one() {
    let ttl = Duration::from_secs(12);
    let stand = stand_with(EdgeConfig { session_ttl: ttl, ..config() }, World::default()).await;
    // The edge's first round has begun, and nobody was there.
    let _ann = stand.welcomed("ann").await;
    let flushed = Instant::now();
    stand.world.sessions.flush();
    until("ann is back", || stand.world.sessions.of("ann").len() == 1).await;
    // One round is at most a third of the time to live, and at least a quarter; two would be a half.
    assert!(flushed.elapsed() < ttl * 45 / 100, "{:?}", flushed.elapsed());
}

#[tokio::test]
async fn a_registration_outlives_its_time_while_it_is_re_asserted() {
    let quick = EdgeConfig { session_ttl: Duration::from_millis(300), ..config() };
    let stand = stand_with(quick, World::default()).await;
    let _ann = stand.welcomed("ann").await;
    let puts = stand.world.sessions.puts.load(Ordering::SeqCst);
    until("asserted many times", || stand.world.sessions.puts.load(Ordering::SeqCst) >= puts + 8).await;
    assert_eq!(stand.world.sessions.of("ann").len(), 1);
}

#[tokio::test]
async fn a_cache_that_fails_at_hello_gets_the_registration_later() {
    let quick = EdgeConfig { session_ttl: Duration::from_millis(150), ..config() };
    let stand = stand_with(quick, World::default()).await;
    stand.world.sessions.failing.store(true, Ordering::SeqCst);
    let _ann = stand.welcomed("ann").await;
    assert!(stand.world.sessions.all().is_empty());
    stand.world.sessions.failing.store(false, Ordering::SeqCst);
    until("registered", || stand.world.sessions.of("ann").len() == 1).await;
}

#[tokio::test]
async fn a_socket_that_ends_while_it_is_being_asserted_stays_gone() {
    let quick = EdgeConfig { session_ttl: Duration::from_secs(2), ..config() };
    let stand = stand_with(quick, World::default()).await;
    let ann = stand.welcomed("ann").await;
    stand.world.sessions.put_gate.hold();
    until("being asserted", || stand.world.sessions.put_gate.waiting() == 1).await;
    drop(ann);
    until("removed", || stand.world.sessions.of("ann").is_empty()).await;
    // As in a slow cache: the put takes effect after the removal.
    let late = Registration {
        edge: stand.internal.to_string().into(),
        boot: stand.world.sessions.last_put().unwrap().1.boot,
        connection: stand.world.sessions.last_put().unwrap().1.connection,
        device: None,
    };
    stand.world.sessions.insert("ann", late);
    stand.world.sessions.put_gate.release();
    until("removed again", || stand.world.sessions.of("ann").is_empty()).await;
}

#[tokio::test]
async fn two_edges_know_their_own_sockets_only() {
    let world = World::default();
    let (one, two) = (stand_with(config(), world.clone()).await, stand_with(config(), world.clone()).await);
    let mut ann = one.welcomed("ann").await;
    let mut bob = two.welcomed("bob").await;
    assert_ne!(one.boot(), two.boot());
    assert_eq!(one.deliver(&[event_of("bob", &json!({}))]).await.len(), 1);
    assert!(two.deliver(&[event_of("bob", &json!({}))]).await.is_empty());
    bob.expect("event").await;
    assert!(ann.before_pong().await.is_empty());
    assert_eq!(world.sessions.all().len(), 2);
}
