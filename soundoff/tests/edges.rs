//! Two edges behind one port: it makes no difference who is on which, and moving between them loses, doubles and
//! reorders nothing.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::{Client, Next};
use support::{PATIENCE, Server, UNPACED, is_long, seed, tokens};

/// The edge process that holds a client's socket.
fn edge(client: &Client) -> String {
    client.welcome["session"].as_str().unwrap().rsplit_once('-').unwrap().0.to_owned()
}

/// Connects until the socket is on another edge than `other`.
async fn away_from(other: &Client, address: &str, token: &Value, device: Option<&str>) -> Client {
    let mut begun = Vec::new();
    loop {
        let client = Client::hello(address, token, device, None).await;
        if edge(&client) != edge(other) {
            return client;
        }
        begun.push(client);
        assert!(begun.len() < 5, "the port deals to one edge only");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_different_edges_reach_each_other() {
    let server = Server::start(&["--edges", "2"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    let mut bob = away_from(&ann, &server.address, &tokens["bob"], Some("phone")).await;

    bob.call("follow.add", json!({ "user": "ann" })).await;
    assert_eq!(ann.at_once("push", "follow.added").await["body"]["by"], "bob");
    let post = ann.call("post.create", json!({ "text": "hello, both" })).await["post"].take();
    assert_eq!(bob.at_once("event", "post.created").await["body"]["post"]["id"], post["id"]);
    bob.call("like.add", json!({ "post": post["id"] })).await;
    assert_eq!(ann.at_once("push", "like.added").await["body"]["post"], post["id"]);
    ann.call("typing", json!({ "to": "bob" })).await;
    assert_eq!(bob.at_once("event", "typing").await["body"]["from"], "ann");
    ann.call("dm.send", json!({ "to": "bob", "text": "hi" })).await;
    assert_eq!(bob.at_once("push", "dm.received").await["body"]["message"]["text"], "hi");
    for client in [&mut ann, &mut bob] {
        let online = client.call("presence.get", json!({ "users": ["ann", "bob"] })).await;
        let online: BTreeSet<&str> =
            online["online"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(online, BTreeSet::from(["ann", "bob"]));
    }

    // One user's devices are on both edges: each push goes to both, a reply only to the one that asked.
    let mut laptop = away_from(&bob, &server.address, &tokens["bob"], Some("laptop")).await;
    ann.call("dm.send", json!({ "to": "bob", "text": "to both of you" })).await;
    let (one, other) =
        (bob.at_once("push", "dm.received").await, laptop.at_once("push", "dm.received").await);
    assert_eq!(one, other);
    laptop.call("profile.get", json!({})).await;
    bob.call("profile.get", json!({})).await;
    assert!(bob.pending.iter().all(|frame| frame["op"] != "reply"), "{:?}", bob.pending);
    server.settled();
}

/// Takes a frame, and checks that a push continues where the one before ended.
fn note(frame: &Value, next: &mut u64, texts: &mut Vec<String>) {
    if frame["op"] == "push" {
        assert_eq!(frame["seq"], *next, "out of order: {frame}");
        *next += 1;
        texts.push(frame["body"]["message"]["text"].as_str().unwrap().to_owned());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_moves_all_the_time_loses_doubles_and_reorders_nothing() {
    let mut random = StdRng::seed_from_u64(seed());
    let moves = if is_long() { 10_000 } else { 1_000 };
    // Sockets that disappeared silently are noticed soon, but not at once.
    let server = Server::start(&[&UNPACED[..], &["--edges", "2", "--sockets-per-user", "1000"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let done = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let done = done.clone();
        async move {
            let mut sent = 0;
            while !done.load(Ordering::Acquire) {
                ann.call("dm.send", json!({ "to": "bob", "text": sent.to_string() })).await;
                ann.pending.clear();
                sent += 1;
            }
            sent
        }
    });

    let (mut next, mut texts) = (1, Vec::new());
    let (mut edges, mut last, mut switched) = (BTreeSet::new(), String::new(), 0);
    for _ in 0..moves {
        let mut bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(next - 1)).await;
        let here = edge(&bob);
        switched += u32::from(here != last);
        edges.insert(here.clone());
        last = here;
        let wanted = next + if random.random_bool(0.3) { random.random_range(1..4) } else { 0 };
        while next < wanted {
            match bob.next().await {
                Next::Frame(frame) => note(&frame, &mut next, &mut texts),
                closed @ Next::Closed(..) => panic!("{closed:?}"),
            }
        }
        match random.random_range(0..3) {
            0 => bob.vanish(true),
            1 => bob.vanish(false),
            _ => bob.send(json!({ "op": "bye" })).await,
        }
    }
    done.store(true, Ordering::Release);
    let sent: usize = sending.await.unwrap();
    let mut bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(next - 1)).await;
    while texts.len() < sent {
        let frame = bob.until(|frame| frame["op"] == "push").await.unwrap();
        note(&frame, &mut next, &mut texts);
    }
    println!("{sent} dms during {moves} moves, {switched} of them to the other edge");
    assert!(edges.len() == 2 && switched > moves * 9 / 10, "{switched} of {moves} went to the other edge");
    assert!(sent > moves as usize / 10, "hardly anything was sent meanwhile: {sent}");
    // The sender waited for each reply, so the inbox has them in the order of sending.
    assert!(texts.iter().enumerate().all(|(at, text)| *text == at.to_string()), "reordered: {texts:?}");
    server.settled();
}

/// The `seq` of the first push to a device that leaves it to the server where to continue.
async fn first_push(server: &Server, token: &Value, device: &str) -> u64 {
    let mut client = Client::hello(&server.address, token, Some(device), None).await;
    let push = client.until(|frame| frame["op"] == "push").await.unwrap();
    push["seq"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_device_goes_on_at_its_own_place() {
    let server = Server::start(&["--edges", "2"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut phone = Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await;
    let mut laptop = Client::hello(&server.address, &tokens["bob"], Some("laptop"), None).await;
    for n in 1..=6 {
        ann.call("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
        assert_eq!(phone.push("dm.received").await["seq"], n);
        assert_eq!(laptop.push("dm.received").await["seq"], n);
    }
    phone.send(json!({ "op": "ack", "cursor": 3 })).await;
    phone.send(json!({ "op": "bye" })).await;
    assert_eq!(phone.closed().await, 1000);
    laptop.vanish(true);

    // Who has seen its close has its ack saved, and any edge knows it.
    for _ in 0..4 {
        assert_eq!(first_push(&server, &tokens["bob"], "phone").await, 4);
    }
    assert_eq!(first_push(&server, &tokens["bob"], "laptop").await, 1, "it never acked");
    let tablet = Client::hello(&server.address, &tokens["bob"], Some("tablet"), None).await;
    assert_eq!(tablet.head(), 6);
    tablet.vanish(false);
    ann.call("dm.send", json!({ "to": "bob", "text": "7" })).await;
    assert_eq!(first_push(&server, &tokens["bob"], "tablet").await, 7, "a new device begins at the newest");
    // Entries that every device has are removed; each device still continues where it was.
    for device in ["phone", "laptop", "tablet"] {
        let mut client = Client::hello(&server.address, &tokens["bob"], Some(device), Some(7)).await;
        client.send(json!({ "op": "ack", "cursor": 7 })).await;
        client.send(json!({ "op": "bye" })).await;
        client.closed().await;
    }
    ann.call("dm.send", json!({ "to": "bob", "text": "8" })).await;
    let mut phone = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(7)).await;
    assert_eq!(phone.push("dm.received").await["seq"], 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_gone_without_a_word_is_forgotten_and_finds_everything_when_it_is_back() {
    let server = Server::start(&["--edges", "2"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    for round in 0..20_u64 {
        let bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(round)).await;
        bob.vanish(round % 2 == 0);
        ann.call("dm.send", json!({ "to": "bob", "text": round.to_string() })).await;
        let mut bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(round)).await;
        assert_eq!(bob.push("dm.received").await["seq"], round + 1);
        bob.vanish(round % 3 == 0);
    }
    let begun = Instant::now();
    loop {
        let online = ann.call("presence.get", json!({ "users": ["bob"] })).await;
        if online == json!({ "online": [] }) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "bob haunts the session cache");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_has_one_socket_wherever_it_says_hello() {
    let server = Server::start(&["--edges", "2"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut tablet = Client::hello(&server.address, &tokens["bob"], Some("tablet"), None).await;
    let mut older: Vec<Client> = Vec::new();
    let mut edges = BTreeSet::new();
    // A phone on a train: each link dies without a word, and the server has no reason to think that one is dead.
    for _ in 0..25 {
        let phone = Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await;
        edges.insert(edge(&phone));
        older.push(phone);
    }
    assert_eq!(edges.len(), 2, "the port deals to one edge only");
    let mut phone = older.pop().unwrap();
    for mut client in older {
        assert_eq!(client.closed().await, 4006);
    }
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    ann.call("dm.send", json!({ "to": "bob", "text": "hi" })).await;
    assert_eq!(phone.push("dm.received").await["seq"], 1);
    assert_eq!(tablet.push("dm.received").await["seq"], 1);
    server.settled();
}
