//! Laws 7 to 9: stalled workers slow down no sender, work in progress is bounded, poisoned messages end in the dead
//! letters.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use support::client::Client;
use support::{PATIENCE, Server, UNPACED, http, tokens};

fn row<'a>(queues: &'a [Value], name: &str) -> &'a Value {
    queues.iter().find(|row| row["queue"] == name).unwrap_or_else(|| panic!("no {name} in {queues:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_7_with_all_workers_stopped_messages_are_accepted_and_done_later() {
    const SENT: usize = 200;
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, Some(0)).await;
    // The messages that the hellos put on the queues are done.
    ann.event("timeline").await;
    bob.event("timeline").await;
    assert!(server.command(&["workers", "pause"]).contains("paused"));
    let mut ids = Vec::new();
    for n in 0..SENT {
        let id = ann.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
        // Each waits for the one before: a backlog slows down no sender.
        ann.until(|frame| frame["op"] == "accepted" && frame["id"] == *id).await.unwrap();
        ids.push(id);
    }
    assert!(ann.pending.iter().all(|frame| frame["op"] != "reply"), "paused, and somebody worked");
    let visible = row(&server.queues(), "main_q")["visible"].as_u64().unwrap() as usize;
    // One more says who has paused them. An engine that packs several messages into one counts the packs.
    assert!(
        visible == SENT + 1 || std::env::var("TEST_SOUNDOFF").is_ok() && (1..SENT).contains(&visible),
        "{visible} wait"
    );
    assert!(server.command(&["workers", "resume"]).contains("running"));
    for id in &ids {
        assert_eq!(ann.outcome(id).await.unwrap()["ok"], true);
    }
    for seq in 1..=SENT {
        assert_eq!(bob.push("dm.received").await["seq"], seq);
    }
    server.settled();
}

/// The most runs in progress on any queue but main_q, whose consumer is the router.
fn most_in_flight(metrics: &str) -> u64 {
    let gauges = metrics.lines().filter(|line| line.starts_with("soundoff_consumer_in_flight{"));
    let workers = gauges.filter(|line| !line.contains("main_q"));
    workers.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_8_no_more_is_worked_on_than_there_are_slots() {
    const SLOTS: u64 = 3;
    let server = Server::start(&[&UNPACED[..], &["--slots", "3"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let (done, mut most) = (Arc::new(AtomicBool::new(false)), 0);
    let sending = tokio::spawn({
        let done = done.clone();
        async move {
            for _ in 0..3 {
                let mut ids = Vec::new();
                for n in 0..400 {
                    let (message_type, body) = match n % 2 {
                        0 => ("dm.send", json!({ "to": "bob", "text": "work" })),
                        _ => ("post.create", json!({ "text": "work" })),
                    };
                    ids.push(ann.submit(message_type, body).await);
                }
                for id in ids {
                    assert_eq!(ann.outcome(&id).await.unwrap()["ok"], true);
                }
                ann.pending.clear();
            }
            done.store(true, Ordering::Release);
        }
    });
    let (address, path) = server.metrics[0].trim_start_matches("http://").split_once('/').unwrap();
    while !done.load(Ordering::Acquire) && !sending.is_finished() {
        let (_, text) = http(address, "GET", &format!("/{path}"), "").await;
        most = most.max(most_in_flight(&text));
        assert!(most <= SLOTS, "{most} in progress at once");
    }
    sending.await.unwrap();
    assert_eq!(most, SLOTS, "the slots were never all taken, so nothing is shown");
    server.settled();
}

/// Waits until a queue has `count` dead letters.
fn await_dead(server: &Server, queue: &str, count: usize) {
    let begun = Instant::now();
    while row(&server.queues(), queue)["dead"] != count {
        assert!(begun.elapsed() < PATIENCE, "{:?}", row(&server.queues(), queue));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_9_poison_ends_in_the_dead_letters_and_can_be_read_and_brought_back() {
    let poisoned = ["--chaos", "post.get=1", "--max-receives", "3"];
    let mut server = Server::start(&poisoned);
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    let post = ann.call("post.create", json!({ "text": "unreadable" })).await["post"]["id"].take();
    ann.submit_as("poison-1", "post.get", json!({ "post": post })).await;
    let outcome = ann.outcome("poison-1").await.unwrap();
    assert_eq!((&outcome["op"], &outcome["ok"]), (&json!("reply"), &json!(false)));
    assert_eq!(outcome["error"]["code"], "internal");
    await_dead(&server, "post_get_q", 1);
    assert_eq!(server.metric("soundoff_consumer_retried_total").await, 2.0, "3 receives are 2 retries");
    assert_eq!(ann.call("profile.get", json!({})).await["user"]["posts"], 1, "others go on");

    let listed = server.command(&["dlq", "list", "post_get_q"]);
    let key = listed.split_whitespace().next().unwrap().to_owned();
    assert!(listed.lines().count() == 1 && listed.contains("chaos"), "{listed}");
    let shown: Value = serde_json::from_str(&server.command(&["dlq", "show", "post_get_q", &key])).unwrap();
    let envelope: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!((&envelope["id"], &envelope["from"]), (&json!("poison-1"), &json!("ann")));
    assert_eq!(envelope["body"]["post"], post);

    // Still poisoned: it comes back, is tried as often as before, and does not loop.
    assert!(server.command(&["dlq", "redrive", "post_get_q"]).starts_with("1 message"));
    assert_eq!(ann.outcome("poison-1").await.unwrap()["error"]["code"], "internal");
    await_dead(&server, "post_get_q", 1);
    assert_eq!(server.metric("soundoff_consumer_retried_total").await, 4.0);

    // The fault is gone. The dead letters have outlived the process, and are worked off when they are brought back.
    server.kill();
    server.restart_with(&[]);
    await_dead(&server, "post_get_q", 1);
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    server.command(&["dlq", "redrive", "post_get_q"]);
    let reply = ann.outcome("poison-1").await.unwrap();
    assert_eq!((&reply["ok"], &reply["body"]["post"]["id"]), (&json!(true), &post));
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_9_tries_are_counted_over_the_deaths_of_the_process() {
    let poisoned = ["--chaos", "post.get=1", "--max-receives", "4"];
    let mut server = Server::start(&poisoned);
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    ann.submit("post.get", json!({ "post": "01JD0000000000000000000000" })).await;
    let begun = Instant::now();
    let mut before = 0.0;
    while before < 2.0 {
        before = server.metric("soundoff_consumer_retried_total").await;
        assert!(begun.elapsed() < PATIENCE, "not tried again");
    }
    server.kill();
    server.restart();
    await_dead(&server, "post_get_q", 1);
    let after = server.metric("soundoff_consumer_retried_total").await;
    assert!(before + after <= 3.0, "{before} tries before the kill, {after} after it, and 4 allowed");
}
