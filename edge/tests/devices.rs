//! A user's devices: the newest socket of each counts, and no socket that is gone holds a place for long.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use soundoff_common::ports::sessions::{DeviceMark, Registration};
use soundoff_common::protocol::now_ms;
use soundoff_edge::EdgeConfig;
use support::client::{Client, Seen};
use support::{Stand, World, config, event_of, stand_with, token, until};

/// Few places; a socket that is asked for a sign of life has half a second, and silence is noticed much later.
fn tight(sockets_per_user: usize) -> EdgeConfig {
    EdgeConfig { sockets_per_user, heartbeat: Duration::from_millis(1500), ..config() }
}

fn elsewhere(boot: &str, connection: u64, device: Option<&str>) -> Registration {
    let device = device.map(DeviceMark::of);
    Registration { edge: "10.0.0.1:1".into(), boot: boot.into(), connection, device }
}

/// Says hello and expects to be told when to come again.
async fn told_to_wait(stand: &Stand, user: &str) -> u64 {
    let mut client = stand.connect().await;
    client.hello(&token(user)).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 4429, "{reason}");
    let reason: Value = serde_json::from_str(&reason).unwrap();
    reason["retry_after_ms"].as_u64().unwrap()
}

/// Reads on, as any client does, until the socket closes.
fn reading(mut client: Client) -> tokio::task::JoinHandle<(u16, String)> {
    tokio::spawn(async move { client.closed().await })
}

#[tokio::test]
async fn a_device_that_says_hello_again_replaces_its_older_socket() {
    let stand = stand_with(tight(4), World::default()).await;
    let (mut tablet, _) = stand.device("ann", "tablet", None).await;
    let mut nameless = stand.welcomed("ann").await;
    let (mut other, _) = stand.device("bob", "phone", None).await;
    let (mut phone, _) = stand.device("ann", "phone", None).await;
    for _ in 0..12 {
        let (next, _) = stand.device("ann", "phone", None).await;
        assert_eq!(phone.closed().await.0, 4006);
        phone = next;
    }
    until("only three are left", || stand.world.sessions.of("ann").len() == 3).await;
    assert!(stand.deliver(&[event_of("ann", &json!({})), event_of("bob", &json!({}))]).await.is_empty());
    for client in [&mut phone, &mut tablet, &mut nameless, &mut other] {
        client.expect("event").await;
    }
}

#[tokio::test]
async fn a_device_that_moves_to_another_edge_replaces_its_socket_there() {
    let world = World::default();
    let one = stand_with(tight(2), world.clone()).await;
    let two = stand_with(tight(2), world.clone()).await;
    let (mut tablet, _) = one.device("ann", "tablet", None).await;
    let (mut phone, _) = one.device("ann", "phone", None).await;
    for stand in [&two, &one, &two, &one] {
        let (next, _) = stand.device("ann", "phone", None).await;
        assert_eq!(phone.closed().await.0, 4006);
        until("two are left", || world.sessions.of("ann").len() == 2).await;
        phone = next;
    }
    one.deliver(&[event_of("ann", &json!({}))]).await;
    phone.expect("event").await;
    tablet.expect("event").await;
}

#[tokio::test]
async fn sockets_that_an_edge_left_behind_take_no_place_of_the_same_devices() {
    let stand = stand_with(tight(3), World::default()).await;
    for (connection, device) in [(1, "a"), (2, "b"), (3, "c")] {
        stand.world.sessions.insert("ann", elsewhere("killed", connection, Some(device)));
    }
    stand.world.tables.add_user("ann");
    told_to_wait(&stand, "ann").await;
    // All come back at once, and each of them has its place, whatever is left of the others.
    let mut back = Vec::new();
    for device in ["a", "b", "c"] {
        back.push(stand.device("ann", device, None).await.0);
    }
    told_to_wait(&stand, "ann").await;
    assert_eq!(stand.world.sessions.of("ann").len(), 6, "only their own edge removes the others");
}

#[tokio::test]
async fn a_hello_that_is_refused_replaces_nobody() {
    let world = World::default();
    let (one, two) = (stand_with(config(), world.clone()).await, stand_with(config(), world.clone()).await);
    let (mut phone, _) = one.device("ann", "phone", None).await;
    world.tables.revoke("ann", now_ms() + 1000);
    for stand in [&one, &two] {
        let mut refused = stand.connect().await;
        refused.send(&json!({"op": "hello", "token": token("ann"), "device": "phone"})).await;
        assert_eq!(refused.closed().await.0, 4503);
    }
    assert!(phone.before_pong().await.is_empty());
    // A delivery that names no socket closes none: the one that was meant has gone.
    assert!(one.deliver(&[json!({"kind": "replace", "to": ["ann"]})]).await.is_empty());
    assert!(phone.before_pong().await.is_empty());
    until("one is left", || world.sessions.of("ann").len() == 1).await;
}

#[tokio::test]
async fn too_many_sockets_of_a_user_are_told_when_to_come_again_here_and_across_edges() {
    let stand = stand_with(tight(2), World::default()).await;
    let one = stand.welcomed("ann").await;
    let two = reading(stand.welcomed("ann").await);
    let wait = told_to_wait(&stand, "ann").await;
    assert!((2000..=4000).contains(&wait), "{wait}");
    drop(one);
    until("the first has left", || stand.world.sessions.of("ann").len() == 1).await;
    // The third was refused and has not hung up yet: it does not count.
    let back = stand.welcomed("ann").await;
    drop(back);
    until("it has left again", || stand.world.sessions.of("ann").len() == 1).await;
    let foreign = elsewhere("other", 1, None);
    stand.world.sessions.insert("ann", foreign.clone());
    told_to_wait(&stand, "ann").await;
    until("it left no trace", || stand.world.sessions.of("ann").len() == 2).await;
    assert!(stand.world.sessions.of("ann").contains(&foreign), "and took nobody else's");
    two.abort();
}

#[tokio::test]
async fn a_socket_that_gives_no_sign_of_life_makes_room_on_any_edge() {
    let world = World::default();
    let one = stand_with(tight(2), world.clone()).await;
    let two = stand_with(tight(2), world.clone()).await;
    for (others, newcomers) in [(&one, &one), (&two, &one), (&two, &two)] {
        let silent = one.welcomed("ann").await;
        let alive = reading(others.welcomed("ann").await);
        // A sign of the very millisecond in which it is asked for would count.
        tokio::time::sleep(Duration::from_millis(2)).await;
        told_to_wait(newcomers, "ann").await;
        until("the silent one is gone", || world.sessions.of("ann").len() == 1).await;
        let mut eleventh = newcomers.welcomed("ann").await;
        assert!(eleventh.before_pong().await.is_empty());
        assert!(!alive.is_finished(), "who gives a sign stays");
        // It finds the reason when it wakes up.
        let mut silent = silent;
        assert_eq!(silent.closed().await.0, 4003);
        drop(eleventh);
        alive.abort();
        until("all have left", || world.sessions.of("ann").is_empty()).await;
    }
}

#[tokio::test]
async fn what_a_leaving_socket_has_said_counts_at_once_however_it_leaves() {
    let patient =
        EdgeConfig { linger: Duration::from_secs(600), ack_every: Duration::from_secs(3600), ..config() };
    for way in ["bye", "close", "replaced", "revoked", "broken"] {
        let stand = stand_with(patient.clone(), World::default()).await;
        let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
        let (_tablet, _) = stand.device("ann", "tablet", Some(0)).await;
        let seq = stand.push("ann", "one").await;
        phone.expect("push").await;
        phone.send(&json!({"op": "ack", "cursor": seq})).await;
        // From here on nobody reads at the other end: the socket lingers.
        match way {
            "bye" => phone.send(&json!({"op": "bye"})).await,
            _ => assert!(phone.before_pong().await.is_empty()),
        }
        let mut later = None;
        match way {
            "replaced" => later = Some(stand.device("ann", "phone", Some(seq)).await),
            "revoked" => drop(stand.deliver(&[json!({"kind": "revoke", "to": ["ann"]})]).await),
            "close" => futures_util::SinkExt::close(&mut phone.socket).await.unwrap(),
            "broken" => drop(std::mem::replace(&mut phone, stand.connect().await)),
            _ => {}
        }
        until("its ack is saved", || stand.world.tables.cursor_of("ann", "phone") == Some(seq)).await;
        let left = if way == "replaced" { 2 } else { usize::from(way != "revoked") };
        until("it is unregistered", || stand.world.sessions.of("ann").len() == left).await;
        drop(later);
    }
}

#[tokio::test]
async fn who_sees_its_close_goes_on_behind_its_last_ack() {
    let slow = EdgeConfig { ack_every: Duration::from_secs(3600), ..config() };
    let stand = stand_with(slow, World::default()).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    stand.push("ann", "one").await;
    phone.expect("push").await;
    let before = stand.metrics.edge_frames_out.get();
    stand.world.tables.get_gate.hold();
    phone.send(&json!({"op": "ack", "cursor": 1})).await;
    phone.send(&json!({"op": "bye"})).await;
    until("being saved", || stand.world.tables.get_gate.waiting() == 1).await;
    until("presence is gone already", || stand.world.sessions.of("ann").is_empty()).await;
    assert_eq!(stand.metrics.edge_frames_out.get(), before, "the close waits for the ack");
    stand.world.tables.get_gate.release();
    assert_eq!(phone.closed().await.0, 1000);
    assert_eq!(stand.world.tables.cursor_of("ann", "phone"), Some(1));
}

#[tokio::test]
async fn a_device_goes_on_behind_what_it_acked_on_the_socket_that_it_replaces() {
    let slow = EdgeConfig { ack_every: Duration::from_secs(3600), ..config() };
    let stand = stand_with(slow, World::default()).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    for n in 1..=20 {
        assert_eq!(stand.push("ann", "one more").await, n);
        phone.expect("push").await;
        phone.send(&json!({"op": "ack", "cursor": n})).await;
        assert!(phone.before_pong().await.is_empty());
        phone = stand.device("ann", "phone", None).await.0;
        assert!(phone.before_pong().await.is_empty(), "{n} comes again");
    }
}

#[tokio::test]
async fn an_ack_that_meets_a_close_on_its_way_counts() {
    let slow = EdgeConfig { ack_every: Duration::from_secs(3600), ..config() };
    let stand = stand_with(slow, World::default()).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    stand.push("ann", "one").await;
    phone.expect("push").await;
    stand.deliver(&[json!({"kind": "renew", "to": ["ann"]})]).await;
    until("closing", || stand.world.sessions.of("ann").is_empty()).await;
    phone.send(&json!({"op": "ack", "cursor": 1})).await;
    assert_eq!(phone.see().await, Seen::Closed(4005, "token expired: reconnect with a fresh one".to_owned()));
    until("saved", || stand.world.tables.cursor_of("ann", "phone") == Some(1)).await;
}

#[tokio::test]
async fn an_ack_that_waited_for_its_own_reader_counts_when_the_link_breaks() {
    let small = EdgeConfig { out_bytes: 64 * 1024, ack_every: Duration::from_secs(3600), ..config() };
    let stand = stand_with(small, World::default()).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    stand.push("ann", "one").await;
    phone.expect("push").await;
    // It does not read, so the edge reads no more from it either.
    let big = "x".repeat(16 * 1024);
    while stand.metrics.edge_events_dropped.get() == 0 {
        stand.deliver(&[event_of("ann", &json!(big))]).await;
    }
    phone.send(&json!({"op": "ack", "cursor": 1})).await;
    drop(phone);
    until("gone", || stand.metrics.edge_sockets.get() == 0).await;
    until("saved", || stand.world.tables.cursor_of("ann", "phone") == Some(1)).await;
}

#[tokio::test]
async fn a_registration_that_takes_effect_after_its_socket_left_is_taken_back() {
    let quick = EdgeConfig { hello_timeout: Duration::from_millis(250), ..config() };
    let stand = stand_with(quick, World::default()).await;
    stand.world.tables.add_user("ann");
    stand.world.sessions.put_gate.hold();
    let mut ann = stand.connect().await;
    ann.hello(&token("ann")).await;
    until("being put", || stand.world.sessions.put_gate.waiting() == 1).await;
    // A hello that takes this long is given up.
    assert_eq!(ann.closed().await.0, 4418);
    until("removed", || stand.world.sessions.of("ann").is_empty()).await;
    until("gone", || stand.metrics.edge_sockets.get() == 0).await;
    // As in a slow cache: the put takes effect after the removal.
    stand.world.sessions.insert("ann", stand.world.sessions.last_put().unwrap().1);
    stand.world.sessions.put_gate.release();
    until("removed again", || stand.world.sessions.of("ann").is_empty()).await;
}
