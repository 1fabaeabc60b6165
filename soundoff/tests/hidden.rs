//! Law 6: deleted and blocked content is never shown after the deletion or the block was answered.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::{Server, UNPACED, seed, tokens};

/// Sends `says` round and round, a few in flight, until `stop`; refusals are as good as replies.
fn keep_sending(
    mut client: Client,
    says: Vec<(&'static str, Value)>,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut sent = 0;
        while !stop.load(Ordering::Acquire) {
            let mut ids = Vec::new();
            for (message_type, body) in &says {
                ids.push(client.submit(message_type, body.clone()).await);
            }
            for id in ids {
                client.outcome(&id).await.unwrap();
                sent += 1;
            }
            client.pending.clear();
        }
        sent
    })
}

/// Whether a frame shows anything of `whom`.
fn is_from(frame: &Value, whom: &str) -> bool {
    let body = &frame["body"];
    let live = frame["op"] == "push" || frame["op"] == "event";
    let authors = [&body["from"], &body["by"], &body["message"]["from"], &body["comment"]["author"]];
    live && (authors.into_iter().any(|author| author == whom) || body["post"]["author"] == whom)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_6_nothing_of_a_blocked_user_comes_after_the_block_was_answered() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::start(&[&UNPACED[..], &["--edges", "2"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), Some(0)).await;
    let post = ann.call("post.create", json!({ "text": "mine" })).await["post"]["id"].take();
    let bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    let stop = Arc::new(AtomicBool::new(false));
    let says = vec![
        ("dm.send", json!({ "to": "ann", "text": "let us talk" })),
        ("typing", json!({ "to": "ann" })),
        ("comment.create", json!({ "post": post, "text": "what a post" })),
        ("like.add", json!({ "post": post })),
        ("follow.add", json!({ "user": "ann" })),
    ];
    let sending = keep_sending(bob, says, stop.clone());
    for _ in 0..30 {
        for _ in 0..random.random_range(1..4) {
            ann.until(|frame| is_from(frame, "bob")).await.unwrap();
        }
        ann.call("block.add", json!({ "user": "bob" })).await;
        // What came before the answer waits in `pending`; whatever is read from here on came after it.
        ann.pending.clear();
        for (message_type, body) in [
            ("dm.list", json!({ "with": "bob" })),
            ("post.list", json!({ "user": "bob" })),
            ("follow.list", json!({ "user": "bob", "direction": "following" })),
            ("profile.get", json!({ "user": "bob" })),
        ] {
            assert_eq!(ann.refused(message_type, body.clone()).await, "not_found", "{message_type}");
        }
        let comments = ann.call("comment.list", json!({ "post": post })).await;
        assert_eq!(comments["items"], json!([]), "comments across a block");
        let followers = ann.call("follow.list", json!({ "direction": "followers" })).await;
        assert_eq!(followers["items"], json!([]), "followers across a block");
        // The whole inbox, from the start: what he wrote before is withheld, too.
        let mut again = Client::hello(&server.address, &tokens["ann"], None, Some(0)).await;
        for seq in 1..=again.head() {
            let push = again.until(|frame| frame["op"] == "push").await.unwrap();
            assert_eq!(push["seq"], seq);
            assert!(!is_from(&push, "bob"), "{push}");
        }
        let shown = ann.pending.iter().find(|frame| is_from(frame, "bob"));
        assert_eq!(shown, None, "shown after the block");
        ann.call("block.remove", json!({ "user": "bob" })).await;
        ann.pending.clear();
    }
    stop.store(true, Ordering::Release);
    println!("{} messages of the blocked user meanwhile", sending.await.unwrap());
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_6_a_deleted_post_is_gone_for_whoever_asks_after_the_deletion_was_answered() {
    let server = Server::start(&[&UNPACED[..], &["--edges", "2"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob", "cat"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut cat = Client::hello(&server.address, &tokens["cat"], None, None).await;
    cat.call("follow.add", json!({ "user": "ann" })).await;
    for _ in 0..30 {
        let post = ann.call("post.create", json!({ "text": "soon gone" })).await["post"]["id"].take();
        let stop = Arc::new(AtomicBool::new(false));
        let bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
        // Readers and writers race with the deletion.
        let says = vec![
            ("post.get", json!({ "post": post })),
            ("comment.create", json!({ "post": post, "text": "wait" })),
            ("like.add", json!({ "post": post })),
            ("like.remove", json!({ "post": post })),
        ];
        let sending = keep_sending(bob, says, stop.clone());
        cat.event("post.created").await;
        ann.call("post.delete", json!({ "post": post })).await;
        cat.pending.clear();
        assert_eq!(cat.refused("post.get", json!({ "post": post })).await, "not_found");
        assert_eq!(cat.refused("comment.list", json!({ "post": post })).await, "not_found");
        assert_eq!(cat.refused("like.add", json!({ "post": post })).await, "not_found");
        let list = cat.call("post.list", json!({ "user": "ann" })).await;
        assert_eq!(list["items"], json!([]));
        assert_eq!(cat.event("post.deleted").await["body"]["post"]["text"], "");
        stop.store(true, Ordering::Release);
        sending.await.unwrap();
        let shown = |frame: &Value| frame["type"] == "post.created" && frame["body"]["post"]["id"] == post;
        assert!(!cat.pending.iter().any(shown), "announced after it was deleted");
        ann.pending.clear();
    }
    server.settled();
}
