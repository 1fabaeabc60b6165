//! Clocks that are wrong: set forward or back by an hour or a year, while the server runs and over restarts.
//!
//! What is answered `ok` is so, lists stay in order, and nobody is locked out. A model keeps what people were told; after
//! each setting of the clock everything is read back and compared with it. The server's wall clock is set by libfaketime
//! (Debian's `faketime`), which leaves the clock that cannot be set as it is.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::{Client, Next};
use support::web::{code, post, sign_in, web};
use support::{Environment, PATIENCE, Server, is_long, seed, tokens};

/// The settings, in seconds.
const OFF: [i64; 7] = [0, -3_600, 3_600, 365 * 86_400, -365 * 86_400, 10, -10];

/// A wall clock that a test sets.
struct Wall {
    dir: tempfile::TempDir,
    library: PathBuf,
}

impl Wall {
    /// `None`, loudly, where libfaketime is not installed.
    fn new() -> Option<Self> {
        let places = std::fs::read_dir("/usr/lib").ok()?;
        let mut found = places.filter_map(|place| Some(place.ok()?.path().join("faketime/libfaketime.so.1")));
        let Some(library) = found.find(|path| path.exists()) else {
            println!("!! SKIPPED: clocks that are wrong; needs Debian's faketime");
            return None;
        };
        let wall = Self { dir: tempfile::tempdir().unwrap(), library };
        wall.set(0);
        Some(wall)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    /// Sets it so many seconds ahead of the true time, at once for a server that runs.
    fn set(&self, off: i64) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, format!("{off:+}\n")).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn variables(&self) -> Environment {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .map(|(name, value)| (name, value.into()))
        .into()
    }

    fn server(&self) -> Server {
        Server::start_with(self.variables(), &["--sign-ins-per-minute", "100000"])
    }
}

/// What the people were told.
#[derive(Default)]
struct Told {
    blocked: bool,
    following: bool,
    liked: bool,
    name: String,
    posts: Vec<String>,
    comments: Vec<String>,
    messages: Vec<String>,
    /// Whom ann follows, newest first.
    follows: Vec<&'static str>,
}

/// A new socket of somebody. A client whose token is refused gets another: tokens of another time need not be valid.
///
/// libfaketime reads its file in each thread without a lock, so that one of them may tell the old time, or none, for a
/// moment after a change.
async fn arrive(server: &Server, who: &str) -> Client {
    let begun = Instant::now();
    loop {
        let all = tokens(&server.address, &["ann", "bob", "cat", "dan", "eve"]).await;
        match Client::try_hello(&server.address, &all[who], Some("phone"), None).await {
            Ok(client) => return client,
            Err(Next::Closed(4500, _)) if begun.elapsed() < PATIENCE => {}
            Err(other) => panic!("no welcome for {who}: {other:?}"),
        }
    }
}

/// Ann, who acts, and Bob, who is acted upon.
struct People {
    ann: Client,
    bob: Client,
    told: Told,
    post: String,
    said: u32,
    /// Something was refused since the server started.
    refused: bool,
}

/// Others whom ann follows, so that the list has an order.
const OTHERS: [&str; 3] = ["cat", "dan", "eve"];

impl People {
    async fn arrive(server: &Server) -> (Client, Client) {
        (arrive(server, "ann").await, arrive(server, "bob").await)
    }

    async fn new(server: &Server) -> Self {
        let (ann, mut bob) = Self::arrive(server).await;
        let post = bob.call("post.create", json!({ "text": "first" })).await["post"]["id"].take();
        Self {
            ann,
            bob,
            told: Told::default(),
            post: post.as_str().unwrap().to_owned(),
            said: 0,
            refused: false,
        }
    }

    async fn come_back(&mut self, server: &Server) {
        (self.ann, self.bob) = Self::arrive(server).await;
    }

    /// One act, each of which must be so once it is answered.
    async fn act(&mut self, random: &mut StdRng) {
        self.said += 1;
        let text = format!("number {}", self.said);
        match random.random_range(0..8) {
            0 => self.block().await,
            1 => self.follow().await,
            2 if !self.told.blocked => {
                let liked = !self.told.liked;
                let what = if liked { "like.add" } else { "like.remove" };
                let reply = self.ann.call(what, json!({ "post": self.post })).await;
                assert_eq!(reply, json!({ "post": self.post, "likes": u8::from(liked), "liked": liked }));
                self.told.liked = liked;
            }
            3 => {
                let reply = self.ann.call("profile.update", json!({ "name": text })).await;
                assert_eq!(reply["user"]["name"], text.as_str());
                self.told.name = text;
            }
            4 => {
                self.ann.call("post.create", json!({ "text": text })).await;
                self.told.posts.insert(0, text);
            }
            5 if !self.told.blocked => {
                self.bob.call("comment.create", json!({ "post": self.post, "text": text })).await;
                self.told.comments.insert(0, text);
            }
            6 => {
                let who = *OTHERS.choose(random).unwrap();
                let known = self.told.follows.contains(&who);
                let what = if known { "follow.remove" } else { "follow.add" };
                let reply = self.ann.call(what, json!({ "user": who })).await;
                let state = if known { "none" } else { "following" };
                assert_eq!(reply, json!({ "user": who, "following": !known, "state": state }));
                self.told.follows.retain(|followed| *followed != who);
                if !known {
                    self.told.follows.insert(0, who);
                }
            }
            _ => self.write(text).await,
        }
    }

    async fn block(&mut self) {
        let blocked = !self.told.blocked;
        let what = if blocked { "block.add" } else { "block.remove" };
        let reply = self.ann.call(what, json!({ "user": "bob" })).await;
        assert_eq!(reply, json!({ "user": "bob", "blocked": blocked }));
        self.told.blocked = blocked;
        if blocked {
            self.told.following = false;
        }
    }

    async fn follow(&mut self) {
        if self.told.blocked {
            self.refused = true;
            assert_eq!(self.ann.refused("follow.add", json!({ "user": "bob" })).await, "forbidden");
            return;
        }
        let following = !self.told.following;
        let what = if following { "follow.add" } else { "follow.remove" };
        let reply = self.ann.call(what, json!({ "user": "bob" })).await;
        let state = if following { "following" } else { "none" };
        assert_eq!(reply, json!({ "user": "bob", "following": following, "state": state }));
        self.told.following = following;
    }

    /// Bob writes to ann, who hears of it unless she blocks him.
    async fn write(&mut self, text: String) {
        let body = json!({ "to": "ann", "text": text });
        if self.told.blocked {
            self.refused = true;
            assert_eq!(self.bob.refused("dm.send", body).await, "forbidden", "a blocked user gets through");
            return;
        }
        self.bob.call("dm.send", body).await;
        let heard =
            self.ann.until(|f| f["type"] == "dm.received" && f["body"]["message"]["text"] == text.as_str());
        heard.await.unwrap();
        self.told.messages.insert(0, text);
    }

    /// Everything is as they were told.
    async fn compare(&mut self) {
        let told = &self.told;
        let profile = self.ann.call("profile.get", json!({})).await;
        assert_eq!(profile["user"]["name"], told.name.as_str());
        assert_eq!(texts(&self.ann.call("post.list", json!({ "limit": 100 })).await), told.posts);
        let followed = self.ann.call("follow.list", json!({ "direction": "following", "limit": 100 })).await;
        let followed: Vec<_> =
            followed["items"].as_array().unwrap().iter().map(|who| who.as_str().unwrap()).collect();
        let others: Vec<_> = followed.iter().copied().filter(|who| *who != "bob").collect();
        assert_eq!(others, told.follows, "whom ann follows, newest first");
        assert_eq!(followed.contains(&"bob"), told.following);
        let post = self.bob.call("post.get", json!({ "post": self.post })).await;
        assert_eq!(post["post"]["likes"], u8::from(told.liked));
        if told.blocked {
            self.refused = true;
            let body = json!({ "to": "ann", "text": "let me in" });
            assert_eq!(self.bob.refused("dm.send", body).await, "forbidden", "a blocked user gets through");
            return;
        }
        let post = self.ann.call("post.get", json!({ "post": self.post })).await;
        assert_eq!(post["liked"], told.liked);
        let comments = self.ann.call("comment.list", json!({ "post": self.post, "limit": 100 })).await;
        assert_eq!(texts(&comments), told.comments);
        let messages = self.ann.call("dm.list", json!({ "with": "bob", "limit": 100 })).await;
        assert_eq!(texts(&messages), told.messages);
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

/// What is answered is so and stays so, whatever the clock does while the server runs, and over its restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_so_whatever_the_clock_does() {
    let Some(wall) = Wall::new() else { return };
    let mut random = StdRng::seed_from_u64(seed());
    let mut server = wall.server();
    let mut people = People::new(&server).await;
    for round in 0..if is_long() { 200 } else { 24 } {
        let off = OFF[if round < OFF.len() { round } else { random.random_range(0..OFF.len()) }];
        let restarts = random.random_bool(0.5);
        println!("round {round}: {off} s off, {}", if restarts { "over a restart" } else { "while it runs" });
        if restarts && std::mem::take(&mut people.refused) {
            // What was refused runs once more after `kill -9`, and may then be allowed.
            server.terminate();
            server.wait();
        }
        wall.set(off);
        if restarts {
            server.restart();
        }
        people.come_back(&server).await;
        people.compare().await;
        for _ in 0..random.random_range(4..12) {
            people.act(&mut random).await;
        }
        people.compare().await;
    }
    server.settled();
}

/// Case 01: ten seconds are enough, and an hour, and a year.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_is_answered_holds_after_a_clock_that_was_fast() {
    let Some(wall) = Wall::new() else { return };
    for off in [10, 3_600, 365 * 86_400] {
        wall.set(off);
        let mut server = wall.server();
        let mut people = People::new(&server).await;
        for _ in 0..2 {
            people.block().await;
        }
        for _ in 0..2 {
            people.follow().await;
        }
        wall.set(0);
        server.restart();
        people.come_back(&server).await;
        people.follow().await;
        people.compare().await;
        people.block().await;
        people.compare().await;
    }
}

/// Nothing that a device has not read is taken away before its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_wait_for_a_device_whatever_the_clock_does() {
    let Some(wall) = Wall::new() else { return };
    let mut server = wall.server();
    let all = tokens(&server.address, &["ann", "bob"]).await;
    // Known from now on, and away until the end.
    Client::hello(&server.address, &all["ann"], Some("laptop"), None).await.vanish(false);
    let settings = [0, 365 * 86_400, 0, -365 * 86_400, 0];
    for (off, seq) in settings.into_iter().zip(1..) {
        server.terminate();
        server.wait();
        wall.set(off);
        server.restart();
        let all = tokens(&server.address, &["ann", "bob"]).await;
        let mut phone = Client::hello(&server.address, &all["ann"], Some("phone"), Some(seq - 1)).await;
        let mut bob = Client::hello(&server.address, &all["bob"], None, None).await;
        bob.call("dm.send", json!({ "to": "ann", "text": format!("{off} s off") })).await;
        assert_eq!(phone.push("dm.received").await["seq"], seq);
        phone.send(json!({ "op": "ack", "cursor": seq })).await;
        phone.send(json!({ "op": "bye" })).await;
        phone.closed().await;
    }
    let all = tokens(&server.address, &["ann"]).await;
    let mut laptop = Client::hello(&server.address, &all["ann"], Some("laptop"), None).await;
    for seq in 1..=settings.len() {
        assert_eq!(laptop.push("dm.received").await["seq"], seq, "the device that was away gets all of it");
    }
}

fn email(handle: &str) -> String {
    format!("{handle}@example.org")
}

/// Asks for a code: the request that it belongs to.
async fn start(server: &Server, handle: &str) -> Value {
    let started = post(&server.address, "/v1/auth/email/start", &json!({ "email": email(handle) })).await;
    assert_eq!(started.status, 202, "{started:?}");
    started.json()["request"].take()
}

async fn refresh(server: &Server, session: &Value) -> (u16, Value) {
    let body = json!({ "refresh_token": session["refresh_token"] });
    let answer = post(&server.address, "/v1/auth/refresh", &body).await;
    (answer.status, answer.json())
}

async fn opens(server: &Server, session: &Value) -> bool {
    Client::try_hello(&server.address, &session["access_token"], None, None).await.is_ok()
}

/// Case 33, and the same with other clocks: nobody is locked out, and nothing that is spent is good again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_whatever_the_clock_was() {
    let Some(wall) = Wall::new() else { return };
    for (off, restarts) in
        [(365 * 86_400, true), (365 * 86_400, false), (3_600, true), (-3_600, false), (-365 * 86_400, true)]
    {
        println!("{off} s off, then right, over a restart: {restarts}");
        wall.set(off);
        let mut server = wall.server();
        let early = sign_in(&server, "early").await;
        let request = start(&server, "waiting").await;
        let old_code = code(&server, &email("waiting"), 0).await;
        wall.set(0);
        if restarts {
            server.restart();
        }
        let body =
            json!({ "email": email("waiting"), "request": request, "code": old_code, "handle": "waiting" });
        let status = post(&server.address, "/v1/auth/email/verify", &body).await.status;
        assert_eq!(status, 401, "the time of its code is over, or was never");
        for handle in ["early", "waiting", "fresh"] {
            // The true limit is five seconds between two codes.
            let signed_in = tokio::time::timeout(PATIENCE, sign_in(&server, handle)).await.unwrap();
            assert!(opens(&server, &signed_in).await, "{handle}");
        }
        let (status, next) = refresh(&server, &early).await;
        if off == -365 * 86_400 {
            assert_eq!(status, 401, "its session ended long ago");
            continue;
        }
        assert_eq!(status, 200, "{next}");
        assert!(opens(&server, &next).await);
        let lasts = next["expires_in"].as_u64().unwrap();
        assert!(lasts <= 24 * 3_600, "the new token lasts {lasts} s");
        let (status, after) = refresh(&server, &next).await;
        assert_eq!(status, 200, "{after}");
        assert_eq!(refresh(&server, &early).await.0, 401, "spent");
        assert_eq!(refresh(&server, &after).await.0, 401, "and that ended the session");
        assert!(!opens(&server, &next).await);
    }
}

/// A revocation ends the sessions that were there and no later one, whichever clock they were begun by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_counts_whatever_the_clock_says() {
    let Some(wall) = Wall::new() else { return };
    for (begun, revoked) in [(3_600, 0), (0, -3_600), (0, 3_600), (365 * 86_400, -365 * 86_400)] {
        println!("begun at {begun} s off, revoked at {revoked}");
        wall.set(begun);
        let server = wall.server();
        let before = sign_in(&server, "ann").await;
        wall.set(revoked);
        server.command(&["users", "revoke", "ann"]);
        wall.set(begun);
        assert!(!opens(&server, &before).await, "a session from before");
        assert_eq!(refresh(&server, &before).await.0, 401);
        let begun = Instant::now();
        let after = sign_in(&server, "ann").await;
        assert!(opens(&server, &after).await, "a session from after it");
        assert_eq!(refresh(&server, &after).await.0, 200);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

/// Timelines, their schedule and uploads go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timelines_go_on_after_a_clock_that_was_fast() {
    let Some(wall) = Wall::new() else { return };
    wall.set(365 * 86_400);
    let server = wall.server();
    let all = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &all["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &all["bob"], None, None).await;
    ann.call("follow.add", json!({ "user": "bob" })).await;
    bob.call("post.create", json!({ "text": "next year" })).await;
    server.command(&["timeline", "tick"]);
    wall.set(0);
    let all = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &all["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &all["bob"], None, None).await;
    bob.call("post.create", json!({ "text": "now" })).await;
    server.command(&["timeline", "tick"]);
    let begun = Instant::now();
    loop {
        let page = ann.call("timeline.fetch", json!({})).await;
        let items = page["items"].as_array().unwrap();
        let shown: Vec<_> = items.iter().map(|item| item["post"]["text"].as_str().unwrap()).collect();
        if shown.contains(&"now") && shown.contains(&"next year") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = web(&server.address, "GET /v1/auth/ways", &[], b"").await;
    assert_eq!(found.status, 200);
}
