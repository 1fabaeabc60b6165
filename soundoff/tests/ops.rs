//! What operators see: gauges of the queues on `/metrics`, and the page that plots them and deals with dead letters.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Client;
use support::web::{Answer, web};
use support::{PATIENCE, Server, UNPACED, tokens};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Waits until a metric has a value, and returns how long that took.
async fn becomes(server: &Server, name: &str, value: f64) -> Duration {
    let begun = Instant::now();
    loop {
        let is = server.metric(name).await;
        if (is - value).abs() < f64::EPSILON {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{name} is {is}, not {value}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_report_how_full_each_queue_is() {
    let poisoned = [&UNPACED[..], &["--chaos", "post.get=1", "--max-receives", "1"]].concat();
    let server = Server::start(&poisoned);
    let version = format!("soundoff_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert!((server.metric(&version).await - 1.0).abs() < f64::EPSILON);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    ann.event("timeline").await;

    // Every queue has its gauges, also one that was never used.
    let main = |what: &str| format!("soundoff_queue_{what}{{queue=\"main_q\"}}");
    becomes(&server, &main("visible"), 0.0).await;
    let (status, text) = support::http(metrics_address(&server), "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    for what in ["visible", "in_flight", "oldest_age_seconds", "dead"] {
        let name = format!("soundoff_queue_{what}{{");
        let gauges = text.lines().filter(|line| line.starts_with(&name)).count();
        assert_eq!(gauges, server.queues().len(), "{what}: {text}");
    }

    server.command(&["workers", "pause"]);
    for n in 0..7 {
        let id = ann.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
        ann.until(|frame| frame["id"] == *id).await.unwrap();
    }
    // One more says who has paused the workers.
    let seen_after = becomes(&server, &main("visible"), 8.0).await;
    assert!(seen_after < Duration::from_secs(10), "seen after {seen_after:?}");
    server.reaches(&main("oldest_age_seconds"), 0.5).await;
    server.command(&["workers", "resume"]);
    becomes(&server, &main("visible"), 0.0).await;
    becomes(&server, &main("oldest_age_seconds"), 0.0).await;

    ann.submit("post.get", json!({ "post": "01JD0000000000000000000000" })).await;
    server.reaches("soundoff_queue_dead{queue=\"post_get_q\"}", 1.0).await;
    assert!((server.metric("soundoff_queue_dead").await - 1.0).abs() < f64::EPSILON, "no other has any");
}

fn metrics_address(server: &Server) -> &str {
    server.metrics[0].trim_start_matches("http://").split_once('/').unwrap().0
}

/// What the page asks every two seconds.
async fn data(server: &Server, since: u64) -> Value {
    let answer = web(&server.address, &format!("GET /ops/data?since={since}"), &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A POST as the page's own script makes it, from a page of `origin`.
async fn post_from(server: &Server, origin: &str, path: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/json"), ("origin", origin)];
    web(&server.address, &format!("POST {path}"), &headers, body.to_string().as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_opened_later_sees_what_was_before() {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    for n in 0..20 {
        ann.call("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
    }
    let most =
        |column: &Value| column.as_array().unwrap().iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    let begun = Instant::now();
    let seen = loop {
        let seen = data(&server, 0).await;
        let whole = &seen["whole"];
        // The socket is still there when the messages are done.
        if most(&whole["accepted"]) > 0.0 && most(&whole["done"]) > 0.0 && most(&whole["sockets"]) > 0.0 {
            break seen;
        }
        assert!(begun.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let latency = most(&seen["whole"]["accepted_p99"]);
    assert!(latency > 0.000_01 && latency < 13.2, "{latency} s to accepted");
    assert!(most(&seen["each"]["dm_send_q"]["done"]) > 0.0, "{seen}");
    assert_eq!(seen["queues"].as_array().unwrap().len(), server.queues().len());
    assert_eq!((&seen["key"], &seen["version"]), (&json!(false), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen["parts"], json!(["edge", "queues", "timelines", "users"]));

    // Only what is new, each sample once.
    let (next, last) =
        (seen["next"].as_u64().unwrap(), seen["at"].as_array().unwrap().last().unwrap().as_u64());
    let begun = Instant::now();
    let new = loop {
        let new = data(&server, next).await;
        if !new["at"].as_array().unwrap().is_empty() {
            break new;
        }
        assert!(begun.elapsed() < PATIENCE, "no further sample");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(new["at"][0].as_u64() > last && new["next"].as_u64().unwrap() > next, "{new}");
    assert!(new.to_string().len() < 5000, "{} bytes for a sample", new.to_string().len());

    // Another process counts from zero, and says that it is another.
    server.kill();
    server.restart();
    let again = data(&server, next).await;
    assert_ne!(again["boot"], seen["boot"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_sees_dead_letters_and_brings_them_back() {
    let mut server = Server::start(&["--chaos", "post.get=1", "--max-receives", "3"]);
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    let post = ann.call("post.create", json!({ "text": "unreadable" })).await["post"]["id"].take();
    ann.submit_as("poison-1", "post.get", json!({ "post": post })).await;
    assert_eq!(ann.outcome("poison-1").await.unwrap()["error"]["code"], "internal");
    server.reaches("soundoff_queue_dead{queue=\"post_get_q\"}", 1.0).await;

    let ours = format!("http://{}", server.address);
    let listed = post_from(&server, &ours, "/ops/letters", json!({ "queue": "post_get_q" })).await.json();
    let letters = listed["letters"].as_array().unwrap();
    let letter = &letters[0];
    assert_eq!((letters.len(), &letter["attempts"]), (1, &json!(3)), "{listed}");
    assert_eq!((&letter["id"], &letter["type"]), (&json!("poison-1"), &json!("post.get")));
    assert!(letter["reason"].as_str().unwrap().contains("chaos"));
    let (first, last) = (letter["first_at"].as_u64().unwrap(), letter["last_at"].as_u64().unwrap());
    assert!(first > 0 && first < last, "{listed}");
    assert!(!listed.to_string().contains(post.as_str().unwrap()), "bodies only on demand");
    let asked = json!({ "queue": "post_get_q", "key": letter["key"] });
    let body = post_from(&server, &ours, "/ops/letter", asked).await.json()["body"].take();
    let envelope: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    assert_eq!(envelope["body"]["post"], post);

    // Another site's page in the same browser can change nothing, nor can one whose own name resolves to our address.
    let redrive = json!({ "queue": "post_get_q", "limit": 10 });
    let evil = post_from(&server, "https://evil.example", "/ops/redrive", redrive.clone()).await;
    assert_eq!((evil.status, evil.code()), (403, "forbidden".to_owned()));
    let rebound = rebound(&server, "/ops/redrive").await;
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    assert!((server.metric("soundoff_queue_dead").await - 1.0).abs() < f64::EPSILON);

    // The fault is gone: the letter is worked off when it is brought back.
    server.kill();
    server.restart_with(&[]);
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    let ours = format!("http://{}", server.address);
    let moved = post_from(&server, &ours, "/ops/redrive", redrive).await;
    assert_eq!((moved.status, &moved.json()["moved"]), (200, &json!(1)));
    assert_eq!(ann.outcome("poison-1").await.unwrap()["body"]["post"]["id"], post);
    becomes(&server, "soundoff_queue_dead", 0.0).await;
    server.settled();
}

/// The first line of the answer to a POST that names another host, with an origin that fits it.
async fn rebound(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\n");
    stream
        .write_all(
            format!("{head}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes(),
        )
        .await
        .unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}
