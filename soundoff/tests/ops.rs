//! What operators see: gauges of the queues on `/metrics`.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::client::Client;
use support::{PATIENCE, Server, UNPACED, tokens};

/// Waits until a metric has a value, and tells how long that took.
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
async fn gauges_tell_how_full_each_queue_is() {
    let poisoned = [&UNPACED[..], &["--chaos", "post.get=1", "--max-receives", "1"]].concat();
    let server = Server::start(&poisoned);
    let version = format!("soundoff_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert!((server.metric(&version).await - 1.0).abs() < f64::EPSILON);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    ann.event("timeline").await;

    // Every queue has its gauges, also one on which nothing was ever.
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
    let seen_after = becomes(&server, &main("visible"), 7.0).await;
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
