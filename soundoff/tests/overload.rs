//! More load than there is room for: what can be missed is refused first, and what keeps people safe is not.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Client;
use support::{PATIENCE, Server, UNPACED, tokens};

/// Reads of some users fill one slot of one type until it is seconds behind; then `presence.get` is refused with a time,
/// and a block passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_what_can_be_missed_is_refused_first() {
    let flags = ["--slots", "1", "--chaos", "presence.get=0.5", "--max-receives", "1000"];
    let server = Server::start(&[&flags[..], &UNPACED].concat());
    let names: Vec<_> = (0..20).map(|n| format!("user{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let all = tokens(&server.address, &names).await;
    let mut users = Vec::new();
    for name in &names {
        users.push(Client::hello(&server.address, &all[*name], None, None).await);
    }
    // Each run fails half of the time and comes again after a pause, which holds up nobody: so the queue must be long.
    let begun = Instant::now();
    let refused = 'behind: loop {
        assert!(begun.elapsed() < PATIENCE, "nothing is refused");
        for user in &mut users {
            for _ in 0..100 {
                user.submit("presence.get", json!({ "users": ["user1"] })).await;
            }
            while let Some(support::client::Next::Frame(frame)) =
                user.next_within(Duration::from_millis(5)).await
            {
                if frame["op"] == "error" && frame["error"]["message"] == "the service is behind" {
                    break 'behind frame["error"].clone();
                }
            }
        }
    };
    assert_eq!((&refused["code"], &refused["retry"]), (&json!("overloaded"), &json!(true)));
    assert!((500..=60_000).contains(&refused["retry_after_ms"].as_u64().unwrap()), "{refused}");
    let blocked: Value = users[0].call("block.add", json!({ "user": "user1" })).await;
    assert_eq!(blocked["blocked"], true);
    users[2].call("post.create", json!({ "text": "others are not behind" })).await;
}
