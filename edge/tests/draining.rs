//! An edge's end: goaway, then unconfirmed messages finish, then sockets close 4001 and are unregistered, within the
//! deadline.

mod support;

use std::time::{Duration, Instant};

use soundoff_edge::EdgeConfig;
use support::client::{Client, Seen};
use support::{World, config, http, note, soon, stand, stand_with, until};

#[tokio::test]
async fn a_drain_waits_for_unconfirmed_messages_and_then_closes() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let mut bob = stand.welcomed("bob").await;
    stand.world.queues.gate.hold();
    ann.send(&note("1")).await;
    until("the send is under way", || stand.world.queues.gate.waiting() == 1).await;
    stand.stop.cancel();
    let goaway = ann.expect("goaway").await;
    assert_eq!(goaway["reconnect_after_ms"], serde_json::json!([10, 40]));
    bob.expect("goaway").await;
    assert_eq!(http(stand.internal, "GET /readyz HTTP/1.1", b"").await.0, 503);
    ann.send(&note("2")).await;
    assert_eq!(ann.refused("overloaded").await["id"], "2", "nothing new is taken");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(ann.before_pong().await.is_empty(), "the window is over, but 1 is not confirmed");
    stand.world.queues.gate.release();
    assert_eq!(ann.expect("accepted").await["id"], "1");
    assert_eq!(ann.closed().await.0, 4001);
    assert_eq!(bob.closed().await.0, 4001);
    drop((ann, bob));
    soon("the end", stand.running).await.unwrap().unwrap();
    assert!(stand.world.sessions.all().is_empty(), "all are unregistered");
    assert_eq!(stand.metrics.edge_sockets.get(), 0);
    assert_eq!(stand.world.queues.sent().len(), 1);
}

#[tokio::test]
async fn new_sockets_are_refused_while_draining() {
    let stand =
        stand_with(EdgeConfig { drain_window: Duration::from_secs(1), ..config() }, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    stand.stop.cancel();
    ann.expect("goaway").await;
    assert!(Client::try_connect(stand.address, &[]).await.is_err());
    assert!(matches!(ann.see().await, Seen::Closed(4001, _)));
    drop(ann);
    soon("the end", stand.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_edge_stops_at_once_and_a_stuck_one_at_its_deadline() {
    let idle =
        stand_with(EdgeConfig { drain_window: Duration::from_secs(10), ..config() }, World::default()).await;
    let begun = Instant::now();
    idle.stop.cancel();
    soon("the end", idle.running).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "there was nobody to wait for");
    let deadline = Duration::from_millis(400);
    let stuck = stand_with(EdgeConfig { drain_deadline: deadline, ..config() }, World::default()).await;
    let mut ann = stuck.welcomed("ann").await;
    stuck.world.queues.gate.hold();
    ann.send(&note("1")).await;
    until("the send is under way", || stuck.world.queues.gate.waiting() == 1).await;
    let begun = Instant::now();
    stuck.stop.cancel();
    soon("the end", stuck.running).await.unwrap().unwrap();
    assert!(begun.elapsed() >= deadline);
    assert!(begun.elapsed() < deadline + Duration::from_secs(5));
}
