//! Laws 10 and 12: everything is bounded, bad input gets a clear error and touches nothing, and our own corruption
//! stops the process.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::{Client, Next};
use support::{PATIENCE, Server, UNPACED, refused, tokens};

/// Tries until a socket is welcomed: there is room again when the server has noticed that another has left.
async fn welcomed(server: &Server, token: &Value) -> Client {
    let begun = Instant::now();
    loop {
        match Client::try_hello(&server.address, token, None, None).await {
            Ok(client) => return client,
            Err(next) => assert!(begun.elapsed() < PATIENCE, "no room comes back: {next:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_the_sockets_of_a_user_are_bounded_on_all_edges_together() {
    // Clients that read nothing for a while give no sign of life: here they have minutes for it.
    let server = Server::start(&["--edges", "2", "--sockets-per-user", "3", "--heartbeat-ms", "1000000"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::hello(&server.address, &tokens["ann"], None, None).await);
    }
    for _ in 0..4 {
        match Client::try_hello(&server.address, &tokens["ann"], None, None).await {
            Err(Next::Closed(4429, reason)) => {
                let reason: Value = serde_json::from_str(&reason).unwrap();
                assert!(reason["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{reason}");
            }
            other => panic!("{:?}", other.map(|client| client.welcome)),
        }
    }
    Client::hello(&server.address, &tokens["bob"], None, None).await;
    held.pop().unwrap().vanish(true);
    held.push(welcomed(&server, &tokens["ann"]).await);
    for client in &mut held {
        client.call("profile.get", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_an_edge_without_room_sheds_and_takes_sockets_again() {
    let server = Server::start(&["--max-sockets", "5"]);
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(Client::hello(&server.address, &tokens["ann"], None, None).await);
    }
    match Client::try_hello(&server.address, &tokens["ann"], None, None).await {
        Err(Next::Closed(4418, reason)) => {
            let reason: Value = serde_json::from_str(&reason).unwrap();
            assert!(reason["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{reason}");
        }
        other => panic!("{:?}", other.map(|client| client.welcome)),
    }
    held.pop().unwrap().vanish(false);
    welcomed(&server, &tokens["ann"]).await.call("profile.get", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_full_queues_refuse_and_recover() {
    let server = Server::start(&[&UNPACED[..], &["--queue-bytes", "60000"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    server.command(&["workers", "pause"]);
    let (mut accepted, mut overloaded) = (Vec::new(), 0);
    let text = "x".repeat(1000);
    for _ in 0..200 {
        let id = ann.submit("dm.send", json!({ "to": "bob", "text": text })).await;
        let answer = ann.until(|frame| frame["id"] == *id).await.unwrap();
        if answer["op"] == "accepted" {
            accepted.push(id);
            continue;
        }
        assert_eq!((&answer["op"], &answer["error"]["code"]), (&json!("error"), &json!("overloaded")));
        assert!(answer["error"]["retry"] == true && answer["error"]["retry_after_ms"].is_u64(), "{answer}");
        overloaded += 1;
    }
    assert!(!accepted.is_empty() && overloaded > 100, "{} taken, {overloaded} not", accepted.len());
    server.command(&["workers", "resume"]);
    for id in &accepted {
        assert_eq!(ann.outcome(id).await.unwrap()["ok"], true);
    }
    server.settled();
    ann.call("dm.send", json!({ "to": "bob", "text": "there is room again" })).await;
    let head = Client::hello(&server.address, &tokens["bob"], None, None).await.head();
    assert_eq!(head, accepted.len() as u64 + 1, "what was refused has no effect, what was accepted has one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_frames_and_their_pace_are_bounded() {
    let server = Server::start(&["--frame-bytes", "1000", "--messages-per-second", "10", "--burst", "5"]);
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut told = ann.welcome["limits"].clone();
    assert!(told.as_object_mut().unwrap().remove("types").is_some());
    assert_eq!(told, json!({ "frame_bytes": 1000, "messages_per_second": 10, "burst": 5 }));
    let frame = |pad: usize| json!({ "op": "send", "id": "a", "type": "profile.get", "body": {}, "x": "x".repeat(pad) });
    let overhead = frame(0).to_string().len();
    ann.send(frame(1000 - overhead)).await;
    assert_eq!(ann.outcome("a").await.unwrap()["ok"], true);
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(ann.submit("profile.get", json!({})).await);
    }
    let mut limited = 0;
    for id in ids {
        let outcome = ann.outcome(&id).await.unwrap();
        if outcome["op"] == "error" {
            assert_eq!(outcome["error"]["code"], "rate_limited");
            assert!(outcome["error"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{outcome}");
            limited += 1;
        }
    }
    assert!((10..=26).contains(&limited), "{limited} of 30 at once with a burst of 5");
    let too_large = loop {
        ann.send(frame(1001 - overhead)).await;
        let outcome = ann.outcome("a").await.unwrap();
        if outcome["error"]["code"] != "rate_limited" {
            break outcome;
        }
        tokio::time::sleep(Duration::from_millis(outcome["error"]["retry_after_ms"].as_u64().unwrap())).await;
    };
    assert_eq!((&too_large["op"], &too_large["error"]["code"]), (&json!("error"), &json!("too_large")));
    ann.send(frame(8_001 - overhead)).await;
    assert_eq!(ann.closed().await, 4501);
}

/// A limit a day holds on all edges together and over a restart; one a minute is each edge's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_a_user_sends_only_so_many_of_a_type_in_a_minute_and_a_day() {
    let limits = "post.create=-/3,comment.create=2/-";
    let mut server = Server::start(&["--edges", "2", "--type-limits", limits]);
    let all = tokens(&server.address, &["ann", "bob"]).await;
    let mut sockets = Vec::new();
    for device in ["phone", "laptop"] {
        sockets.push(Client::hello(&server.address, &all["ann"], Some(device), None).await);
    }
    let told = &sockets[0].welcome["limits"]["types"];
    assert_eq!(told["post.create"], json!({ "cost": 4, "per_day": 3 }));
    assert_eq!(told["comment.create"], json!({ "cost": 2, "per_minute": 2 }));
    let mut post = Value::Null;
    for socket in [0, 1, 0] {
        post =
            sockets[socket].call("post.create", json!({ "text": "one of three" })).await["post"]["id"].take();
    }
    for socket in &mut sockets {
        let id = socket.submit("post.create", json!({ "text": "one too many" })).await;
        let error = socket.outcome(&id).await.unwrap()["error"].take();
        assert_eq!(error["code"], "rate_limited", "{error}");
        assert!((1..=86_400_000).contains(&error["retry_after_ms"].as_u64().unwrap()), "{error}");
    }
    let (first, rest) = sockets.split_at_mut(1);
    let comment = json!({ "post": post, "text": "yes" });
    for client in [&mut first[0], &mut rest[0]] {
        for _ in 0..2 {
            client.call("comment.create", comment.clone()).await;
        }
        assert_eq!(client.refused("comment.create", comment.clone()).await, "rate_limited");
    }
    drop(sockets);
    server.restart();
    let all = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &all["ann"], None, None).await;
    assert_eq!(ann.refused("post.create", json!({ "text": "after a restart" })).await, "rate_limited");
    let mut bob = Client::hello(&server.address, &all["bob"], None, None).await;
    bob.call("post.create", json!({ "text": "another user" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_a_reader_that_does_not_read_holds_nothing_up_and_loses_nothing_durable() {
    const SENT: u64 = 1200;
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    // A small window, so that the kernels do not buffer everything.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
    let mut bob = Client::hello_on(stream, &tokens["bob"], None, Some(0)).await.unwrap();
    let text = "€".repeat(4000);
    let mut ids = std::collections::VecDeque::new();
    for _ in 0..SENT {
        ids.push_back(ann.submit("dm.send", json!({ "to": "bob", "text": text })).await);
        if ids.len() == 8 {
            assert_eq!(ann.outcome(&ids.pop_front().unwrap()).await.unwrap()["ok"], true);
            ann.pending.retain(|frame| frame["op"] == "reply");
        }
    }
    for id in ids {
        assert_eq!(ann.outcome(&id).await.unwrap()["ok"], true);
    }
    // Either the bounded queue was full once (4002), or the edge found a gap first and reads the inbox at the reader's
    // own pace.
    let mut seen = 0;
    while seen < SENT {
        match bob.next().await {
            Next::Frame(frame) if frame["op"] == "event" => assert_eq!(frame["type"], "timeline"),
            Next::Frame(frame) => {
                seen += 1;
                assert_eq!(frame["seq"], seen);
            }
            Next::Closed(code, _) => {
                assert!(code == 4002 || code == 1006, "closed with {code}");
                break;
            }
        }
    }
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, Some(seen)).await;
    while seen < SENT {
        assert_eq!(bob.push("dm.received").await["seq"], seen + 1);
        seen += 1;
    }
}

/// Bodies that each type refuses, and with which code.
fn bad_messages(post: &Value) -> Vec<(&'static str, Value, &'static str)> {
    let long = |length: usize| "x".repeat(length);
    vec![
        ("profile.get", json!({ "user": "Not A Handle" }), "bad_message"),
        ("profile.get", json!({ "user": "nobody_here" }), "not_found"),
        ("profile.update", json!({}), "bad_message"),
        ("profile.update", json!({ "name": long(51) }), "too_large"),
        ("profile.update", json!({ "name": 7 }), "bad_message"),
        ("post.create", json!({}), "bad_message"),
        ("post.create", json!({ "text": "" }), "bad_message"),
        ("post.create", json!({ "text": " \n " }), "bad_message"),
        ("post.create", json!({ "text": "a\u{0}b" }), "bad_message"),
        ("post.create", json!({ "text": long(2001) }), "too_large"),
        ("post.create", json!([]), "bad_message"),
        ("post.get", json!({ "post": "../../etc/passwd" }), "not_found"),
        ("post.get", json!({ "post": { "$ne": null } }), "bad_message"),
        ("post.delete", json!({ "post": post }), "forbidden"),
        ("post.list", json!({ "limit": 0 }), "bad_message"),
        ("post.list", json!({ "limit": 101 }), "bad_message"),
        ("post.list", json!({ "before": "yesterday" }), "bad_message"),
        ("comment.create", json!({ "post": post, "text": long(1001) }), "too_large"),
        ("comment.create", json!({ "post": "01JD0000000000000000000000", "text": "x" }), "not_found"),
        ("comment.list", json!({ "post": post, "limit": -1 }), "bad_message"),
        ("like.add", json!({ "post": "" }), "not_found"),
        ("like.remove", json!({}), "bad_message"),
        ("follow.add", json!({ "user": "ann" }), "bad_message"),
        ("follow.add", json!({ "user": "nobody_here" }), "not_found"),
        ("follow.remove", json!({ "user": null }), "bad_message"),
        ("follow.list", json!({ "direction": "sideways" }), "bad_message"),
        ("block.add", json!({ "user": "ann" }), "bad_message"),
        ("block.remove", json!({ "user": "x" }), "bad_message"),
        ("dm.send", json!({ "to": "bob", "text": long(4001) }), "too_large"),
        ("dm.send", json!({ "to": "ann", "text": "me" }), "bad_message"),
        ("dm.send", json!({ "to": "nobody_here", "text": "x" }), "not_found"),
        ("dm.list", json!({ "with": "ann" }), "bad_message"),
        ("typing", json!({ "to": "ann" }), "bad_message"),
        ("presence.get", json!({ "users": vec!["bob"; 101] }), "bad_message"),
        ("presence.get", json!({ "users": "bob" }), "bad_message"),
        ("post.fanout", json!({}), "unknown_type"),
        ("no.such", json!({}), "unknown_type"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_12_bad_messages_get_a_clear_error_and_touch_nothing() {
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, Some(0)).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, Some(0)).await;
    let post = bob.call("post.create", json!({ "text": "bob's" })).await["post"]["id"].take();
    let before = ann.call("profile.get", json!({})).await;
    for (message_type, body, code) in bad_messages(&post) {
        let id = ann.submit(message_type, body.clone()).await;
        let outcome = ann.outcome(&id).await.unwrap();
        assert_eq!(outcome["error"]["code"], code, "{message_type} {body}: {outcome}");
        assert!(outcome["error"]["message"].as_str().is_some_and(|text| text.len() > 8), "{outcome}");
    }
    assert_eq!(ann.call("profile.get", json!({})).await, before);
    assert_eq!(ann.call("post.list", json!({})).await["items"], json!([]));
    let found = bob.call("post.get", json!({ "post": post })).await["post"].take();
    assert_eq!((&found["likes"], &found["comments"]), (&json!(0), &json!(0)));
    for token in [&tokens["ann"], &tokens["bob"]] {
        assert_eq!(
            Client::hello(&server.address, token, None, None).await.head(),
            0,
            "nobody was told anything"
        );
    }
    server.settled();
}

/// The largest file under a directory.
fn largest(dir: &Path) -> PathBuf {
    let files =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// A server's directory after some traffic and a kill, with messages still in the queues.
async fn used() -> Server {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    for paused in [false, true] {
        if paused {
            server.command(&["workers", "pause"]);
        }
        for n in 0..60 {
            let id = ann.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
            ann.until(|frame| frame["id"] == *id && frame["op"] == "accepted").await.unwrap();
            if !paused {
                ann.outcome(&id).await.unwrap();
            }
        }
    }
    server.kill();
    server
}

/// Damages a file, checks that `up` refuses it by name, and repairs it.
fn damaged(server: &Server, file: &Path, damage: impl Fn(&mut Vec<u8>)) {
    let whole = std::fs::read(file).unwrap();
    let mut torn = whole.clone();
    damage(&mut torn);
    std::fs::write(file, &torn).unwrap();
    let said = refused(&["--listen", "127.0.0.1:0"], server.data());
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(name), "the message does not name {name}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    std::fs::write(file, &whole).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_12_damage_to_our_own_files_stops_the_process_and_is_named() {
    let mut server = used().await;
    let log = largest(&server.data().join("queues"));
    damaged(&server, &log, |bytes| {
        // Within the written part: zeros follow it, as room for more.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end / 2] ^= 0x10;
    });
    damaged(&server, &log, |bytes| bytes[..4].fill(0xff));
    let tables = server.data().join("tables.redb");
    damaged(&server, &tables, |bytes| bytes[..512].fill(0xaa));
    damaged(&server, &tables, |bytes| bytes.truncate(5000));
    // Repaired, it continues where it was.
    server.restart();
    server.settled();
}
