//! Every close code, seen by an independent client.

mod support;

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use soundoff_common::protocol::now_ms;
use soundoff_edge::EdgeConfig;
use support::client::{Client, Seen};
use support::{World, config, event_of, push_of, stand, stand_with, token, token_until, until};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn no_hello_closes_4007() {
    let quick = EdgeConfig { hello_timeout: Duration::from_millis(60), ..config() };
    let stand = stand_with(quick, World::default()).await;
    assert_eq!(stand.connect().await.closed().await.0, 4007, "in time");
    let mut other = stand.connect().await;
    other.send(&json!({"op": "ping"})).await;
    assert_eq!(other.closed().await.0, 4007, "as the first frame");
}

#[tokio::test]
async fn a_token_that_opens_nothing_closes_4500_or_is_refused_before_the_upgrade() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    let expired = token_until("ann", now_ms() / 1000 - 1);
    for bad in ["junk", &expired, &token("nobody")] {
        let mut client = stand.connect().await;
        client.hello(bad).await;
        assert_eq!(client.closed().await.0, 4500, "{bad}");
    }
    let mut silent = stand.connect().await;
    silent.send(&json!({"op": "hello"})).await;
    assert_eq!(silent.closed().await.0, 4500, "no token at all");
    for header in ["Bearer junk", "Bearer", &format!("Bearer {expired}")] {
        let refused = Client::try_connect(stand.address, &[("authorization", header)]).await.err().unwrap();
        match refused {
            tokio_tungstenite::tungstenite::Error::Http(response) => {
                assert_eq!(response.status(), 401);
                assert_eq!(response.headers()["content-type"], "application/problem+json");
            }
            other => panic!("{other:?}"),
        }
    }
    let good = format!("Bearer {}", token("ann"));
    let mut by_header = Client::connect(stand.address, &[("authorization", &good)]).await;
    by_header.send(&json!({"op": "hello"})).await;
    by_header.expect("welcome").await;
    stand.world.tables.add_user("bob");
    let mut two = Client::connect(stand.address, &[("authorization", &good)]).await;
    two.hello(&token("bob")).await;
    assert_eq!(two.closed().await.0, 4500, "two users' tokens");
    until("the refused ones are unregistered", || stand.world.sessions.all().len() == 1).await;
}

#[tokio::test]
async fn a_revoked_session_closes_4503_at_hello_and_live() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let missing = stand.deliver(&[json!({"kind": "revoke", "to": ["ann", "bob"]})]).await;
    assert_eq!(missing, [(0, support::handle("bob"))]);
    assert_eq!(ann.closed().await.0, 4503);
    stand.world.tables.revoke("ann", now_ms());
    let mut again = stand.connect().await;
    again.hello(&token("ann")).await;
    assert_eq!(again.closed().await.0, 4503);
}

#[tokio::test]
async fn a_revocation_between_registration_and_the_read_of_the_account_is_not_missed() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    stand.world.tables.get_gate.hold();
    let mut ann = stand.connect().await;
    ann.hello(&token("ann")).await;
    until("registered", || stand.world.sessions.of("ann").len() == 1).await;
    assert!(stand.deliver(&[json!({"kind": "revoke", "to": ["ann"]})]).await.is_empty());
    assert_eq!(ann.closed().await.0, 4503);
}

#[tokio::test]
async fn an_expiring_token_is_announced_and_an_expired_one_closes_4005() {
    let stand =
        stand_with(EdgeConfig { heartbeat: Duration::from_secs(2), ..config() }, World::default()).await;
    stand.world.tables.add_user("ann");
    let mut ann = stand.connect().await;
    ann.hello(&token_until("ann", now_ms() / 1000 + 2)).await;
    ann.expect("welcome").await;
    let due = ann.expect("auth_due").await;
    assert!((1..=2000).contains(&due["expires_in_ms"].as_u64().unwrap()), "{due}");
    assert_eq!(ann.closed().await.0, 4005);
}

#[tokio::test]
async fn silence_closes_4003_and_any_frame_counts_against_it() {
    let quick = EdgeConfig { heartbeat: Duration::from_millis(300), ..config() };
    let stand = stand_with(quick, World::default()).await;
    let mut silent = stand.welcomed("ann").await;
    let mut pinging = stand.welcomed("bob").await;
    let begun = std::time::Instant::now();
    let keep = tokio::spawn(async move {
        while begun.elapsed() < Duration::from_millis(1500) {
            pinging.socket.send(Message::Ping(bytes::Bytes::new())).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pinging.before_pong().await
    });
    assert_eq!(silent.closed().await.0, 4003);
    assert!(begun.elapsed() >= Duration::from_millis(550), "two intervals, not one");
    assert!(keep.await.unwrap().is_empty(), "the pinging one is still connected");
}

#[tokio::test]
async fn a_protocol_violation_closes_4501_and_the_client_gets_the_code() {
    let stand = stand().await;
    let mut binary = stand.welcomed("ann").await;
    binary.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(binary.closed().await.0, 4501, "binary");
    let mut large = stand.welcomed("bob").await;
    // Far more than the limit, and more than the edge ever reads.
    let flood = Message::text("x".repeat(4 << 20));
    let (mut write, read) = futures_util::StreamExt::split(large.socket);
    let writing = tokio::spawn(async move { write.send(flood).await });
    let mut read = read;
    let close = loop {
        match futures_util::StreamExt::next(&mut read).await {
            Some(Ok(Message::Close(Some(close)))) => break close,
            Some(Ok(_)) => {}
            other => panic!("{other:?} instead of a close"),
        }
    };
    assert_eq!(u16::from(close.code), 4501, "oversize");
    drop(writing);
    large = stand.welcomed("eve").await;
    for _ in 0..10 {
        large.text("junk").await;
    }
    for _ in 0..10 {
        large.refused("bad_frame").await;
    }
    assert_eq!(large.closed().await.0, 4501, "ten bad frames in a row");
}

#[tokio::test]
async fn a_frame_over_the_limit_is_answered_and_the_socket_lives() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    // A legal text, whose characters are written in six bytes each.
    let escaped = "\\u00e9".repeat(8_000);
    for (id, text) in [
        (json!("7"), format!(r#"{{"op":"send","id":"7","type":"note.add","body":{{"t":"{escaped}"}}}}"#)),
        (
            json!("8"),
            format!(r#"{{"op":"send","type":"note.add","id":"8","body":"{}"}}"#, "x".repeat(200_000)),
        ),
        (Value::Null, format!(r#"{{"op":"send","body":"{escaped}","id":"9","type":"note.add"}}"#)),
        (Value::Null, "x".repeat(40_000)),
    ] {
        ann.text(&text).await;
        let refused = ann.refused("too_large").await;
        assert_eq!(refused["id"], id);
        assert!(refused["error"]["message"].as_str().unwrap().contains("32768 bytes"), "{refused}");
    }
    ann.text(r#"{"op":"ping"}"#).await;
    assert_eq!(ann.frame().await["op"], "pong");
}

#[tokio::test]
async fn more_sockets_than_the_edge_holds_are_shed_4418() {
    let stand = stand_with(EdgeConfig { max_sockets: 1, ..config() }, World::default()).await;
    let _one = stand.welcomed("ann").await;
    match stand.connect().await.see().await {
        Seen::Closed(4418, reason) => {
            let reason: serde_json::Value = serde_json::from_str(&reason).unwrap();
            assert!((2000..=4000).contains(&reason["retry_after_ms"].as_u64().unwrap()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_reader_loses_events_first_and_closes_4002_when_durable_frames_do_not_fit() {
    let tight =
        EdgeConfig { out_frames: 64, out_bytes: 64 * 1024, linger: Duration::from_secs(20), ..config() };
    let stand = stand_with(tight, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    let big = "x".repeat(16 * 1024);
    // She reads nothing: first the kernel's buffers fill, then her queue here, then events are dropped.
    let mut sent = 0;
    while stand.metrics.edge_events_dropped.get() == 0 {
        assert!(stand.deliver(&[event_of("ann", &json!(big))]).await.is_empty());
        sent += 1;
        assert!(sent < 5000, "events never dropped");
    }
    let mut seq = 0;
    loop {
        seq += 1;
        if !stand.deliver(&[push_of("ann", seq, &big)]).await.is_empty() {
            break;
        }
        assert!(seq < 100, "pushes never filled the queue");
    }
    assert!(seq > 1, "events gave way to the first push");
    assert_eq!(ann.closed().await.0, 4002);
    drop(ann);
    until("gone", || stand.metrics.edge_sockets.get() == 0).await;
}

#[tokio::test]
async fn a_reader_that_is_stuck_for_good_is_cut() {
    let tight = EdgeConfig { out_bytes: 64 * 1024, linger: Duration::from_millis(50), ..config() };
    let stand = stand_with(tight, World::default()).await;
    let ann = stand.welcomed("ann").await;
    let big = "x".repeat(60 * 1024);
    let mut seq = 0;
    while stand.metrics.edge_sockets.get() == 1 && seq < 2000 {
        seq += 1;
        stand.deliver(&[push_of("ann", seq, &big)]).await;
    }
    until("cut", || stand.metrics.edge_sockets.get() == 0).await;
    until("unregistered", || stand.world.sessions.all().is_empty()).await;
    drop(ann);
}

#[tokio::test]
async fn a_clients_own_close_is_answered() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    ann.socket.close(None).await.unwrap();
    assert!(matches!(ann.see().await, Seen::Closed(1005, _)));
    until("gone", || stand.metrics.edge_sockets.get() == 0).await;
    until("unregistered", || stand.world.sessions.all().is_empty()).await;
}
