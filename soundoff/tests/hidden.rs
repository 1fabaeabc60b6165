//! Law 6: deleted and blocked content is never shown once the deletion or the block has been answered.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::{Server, UNPACED, seed, tokens};

/// Somebody who sends the same few messages again and again.
struct Sender {
    stop: Arc<AtomicBool>,
    /// How often all of them have been answered.
    rounds: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Sender {
    /// Sends `says` in a loop; refusals count like replies.
    fn start(mut client: Client, says: Vec<(&'static str, Value)>) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Acquire) {
                let mut ids = Vec::new();
                for (message_type, body) in &says {
                    ids.push(client.submit(message_type, body.clone()).await);
                }
                for id in ids {
                    client.outcome(&id).await.unwrap();
                }
                client.pending.clear();
                counted.fetch_add(1, Ordering::AcqRel);
            }
        });
        Self { stop, rounds, task }
    }

    /// Waits until a round that began after this call is over. A reply comes after everything it causes was handed to
    /// the edges: so nothing that was sent before this call is still on its way.
    async fn has_been_refused(&self, meanwhile: &mut Client) {
        let enough = self.rounds.load(Ordering::Acquire) + 2;
        while self.rounds.load(Ordering::Acquire) < enough {
            meanwhile.call("presence.get", json!({ "users": [] })).await;
        }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap();
        self.rounds.load(Ordering::Acquire)
    }
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
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    let his = bob.call("post.create", json!({ "text": "his" })).await["post"]["id"].take();
    let says = vec![
        ("dm.send", json!({ "to": "ann", "text": "let us talk" })),
        ("typing", json!({ "to": "ann" })),
        ("comment.create", json!({ "post": post, "text": "what a post" })),
        ("like.add", json!({ "post": post })),
        ("follow.add", json!({ "user": "ann" })),
    ];
    let sending = Sender::start(bob, says);
    for _ in 0..30 {
        for _ in 0..random.random_range(1..4) {
            ann.until(|frame| is_from(frame, "bob")).await.unwrap();
        }
        ann.call("block.add", json!({ "user": "bob" })).await;
        // From here on, no answer shows anything of him.
        for (message_type, body) in [
            ("dm.list", json!({ "with": "bob" })),
            ("post.list", json!({ "user": "bob" })),
            ("follow.list", json!({ "user": "bob", "direction": "following" })),
            ("profile.get", json!({ "user": "bob" })),
            ("like.remove", json!({ "post": his })),
        ] {
            assert_eq!(ann.refused(message_type, body.clone()).await, "not_found", "{message_type}");
        }
        let comments = ann.call("comment.list", json!({ "post": post })).await;
        assert_eq!(comments["items"], json!([]), "comments across a block");
        let followers = ann.call("follow.list", json!({ "direction": "followers" })).await;
        assert_eq!(followers["items"], json!([]), "followers across a block");
        // The whole inbox, from the start: what he wrote before is withheld as well.
        let mut again = Client::hello(&server.address, &tokens["ann"], None, Some(0)).await;
        for seq in 1..=again.head() {
            let push = again.until(|frame| frame["op"] == "push").await.unwrap();
            assert_eq!(push["seq"], seq);
            assert!(!is_from(&push, "bob"), "{push}");
        }
        // Pushes that were on their way to her when the block was answered may have come; after that nothing comes,
        // whatever he sends.
        sending.has_been_refused(&mut ann).await;
        ann.pending.clear();
        sending.has_been_refused(&mut ann).await;
        let shown = ann.pending.iter().find(|frame| is_from(frame, "bob"));
        assert_eq!(shown, None, "shown after the block");
        ann.call("block.remove", json!({ "user": "bob" })).await;
        ann.pending.clear();
    }
    println!("the blocked user tried {} times", sending.stop().await);
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_6_a_deleted_post_is_gone_for_all_who_ask_after_the_deletion_was_answered() {
    let server = Server::start(&[&UNPACED[..], &["--edges", "2"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob", "cat"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut cat = Client::hello(&server.address, &tokens["cat"], None, None).await;
    cat.call("follow.add", json!({ "user": "ann" })).await;
    for _ in 0..30 {
        let post = ann.call("post.create", json!({ "text": "soon gone" })).await["post"]["id"].take();
        let bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
        // Readers and writers race with the deletion.
        let says = vec![
            ("post.get", json!({ "post": post })),
            ("comment.create", json!({ "post": post, "text": "wait" })),
            ("like.add", json!({ "post": post })),
            ("like.remove", json!({ "post": post })),
        ];
        let sending = Sender::start(bob, says);
        cat.event("post.created").await;
        ann.call("post.delete", json!({ "post": post })).await;
        cat.pending.clear();
        assert_eq!(cat.refused("post.get", json!({ "post": post })).await, "not_found");
        assert_eq!(cat.refused("comment.list", json!({ "post": post })).await, "not_found");
        assert_eq!(cat.refused("like.add", json!({ "post": post })).await, "not_found");
        let list = cat.call("post.list", json!({ "user": "ann" })).await;
        assert_eq!(list["items"], json!([]));
        assert_eq!(cat.event("post.deleted").await["body"]["post"]["text"], "");
        sending.stop().await;
        let shown = |frame: &Value| frame["type"] == "post.created" && frame["body"]["post"]["id"] == post;
        assert!(!cat.pending.iter().any(shown), "announced after it was deleted");
        ann.pending.clear();
    }
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_6_a_follow_that_races_a_block_does_not_outlive_it() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::start(&[&UNPACED[..], &["--edges", "2"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    let (mut refused, mut severed) = (0, 0);
    for _ in 0..150 {
        let mut follows = Vec::new();
        for _ in 0..random.random_range(1..4) {
            follows.push(bob.submit("follow.add", json!({ "user": "ann" })).await);
        }
        let block = ann.submit("block.add", json!({ "user": "bob" })).await;
        assert_eq!(ann.outcome(&block).await.unwrap()["ok"], true);
        for follow in follows {
            match bob.outcome(&follow).await.unwrap() {
                outcome if outcome["ok"] == true => severed += 1,
                outcome => {
                    assert_eq!(outcome["error"]["code"], "forbidden");
                    refused += 1;
                }
            }
        }
        ann.call("block.remove", json!({ "user": "bob" })).await;
        let followers = ann.call("follow.list", json!({ "direction": "followers" })).await;
        assert_eq!(followers["items"], json!([]), "a follow that came after the block");
        assert_eq!(ann.call("profile.get", json!({})).await["user"]["followers"], 0);
        (ann.pending, bob.pending) = Default::default();
    }
    println!("{severed} follows came before their block, {refused} after it");
    assert!(severed > 0 && refused > 0, "there was no race");
}
