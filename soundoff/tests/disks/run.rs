//! One run of 200 messages on a disk with a fault, and what must be true after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::faults::{Faults, Kind};
use crate::pictures::picture;
use crate::support::client::{Client, Next};
use crate::support::web::{Answer, web};
use crate::support::{PATIENCE, Server, UNPACED, tokens};

const MESSAGES: usize = 200;
/// Sent at once.
const BURST: usize = 25;
/// After so long without a frame, what is still open waits for the disk.
const SILENCE: Duration = Duration::from_millis(400);
/// The exit code of a process whose disk fails (docs/ops.md).
const DISK_FAILED: i32 = 74;

/// What goes wrong: the `at`-th call on a file whose path contains `what`.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) at: u64,
    pub(crate) lasting: bool,
    pub(crate) what: &'static str,
}

/// What a sender heard of one message: `accepted`, `ok`, or the code of an error.
type Heard = Vec<String>;

/// A server on a disk of its own, and somebody who sends.
struct Stand {
    dir: tempfile::TempDir,
    faults: Faults,
    server: Server,
    tokens: Value,
    client: Client,
    sent: BTreeMap<String, Heard>,
    /// Uploads on their way: one that a commit waits for is answered when there is room.
    uploads: Vec<JoinHandle<Answer>>,
    /// Media that were taken in.
    media: BTreeSet<String>,
    over: bool,
    healed: bool,
}

/// How many calls a run makes on files whose path contains `what`.
pub(crate) async fn points(what: &'static str) -> u64 {
    let mut stand = Stand::new().await;
    stand.faults.count(what);
    stand.talk(None).await;
    stand.faults.points()
}

/// A run with one fault; returns whether it came to that.
pub(crate) async fn with(fault: &Fault) -> bool {
    println!("{fault:?}");
    let mut stand = Stand::new().await;
    stand.faults.plant(fault.kind, fault.at, fault.lasting, fault.what);
    stand.talk(Some(fault)).await;
    stand.uploaded().await;
    stand.meets(fault).await;
    // Only now, as a fault after the count would stop a process that is expected to live.
    stand.faults.heal();
    let failed = stand.faults.failed() > 0;
    if failed && fault.kind == Kind::Broken {
        let status = stand.server.wait();
        assert_eq!(status.code(), Some(DISK_FAILED), "{fault:?}: {status}: {}", stand.server.log());
        // Its last words are read by a thread, which may be behind.
        let begun = Instant::now();
        while !stand.server.log().contains("the disk fails at") {
            assert!(begun.elapsed() < Duration::from_secs(5), "{fault:?}: {}", stand.server.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    } else {
        stand.recovers().await;
        stand.server.kill();
    }
    stand.server.restart();
    stand.compare(fault).await;
    failed
}

impl Stand {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (faults, data) = (Faults::new(dir.path()), dir.path().join("data"));
        let server = Server::start_in(&data, &UNPACED, faults.environment(&data));
        let tokens = tokens(&server.address, &["ann", "bob"]).await;
        let client = Client::hello(&server.address, &tokens["ann"], None, None).await;
        Self {
            dir,
            faults,
            server,
            tokens,
            client,
            sent: BTreeMap::new(),
            uploads: Vec::new(),
            media: BTreeSet::new(),
            over: false,
            healed: false,
        }
    }

    /// Sends everything and hears all that comes, until everything is answered or the server has gone.
    async fn talk(&mut self, fault: Option<&Fault>) {
        for burst in 0..MESSAGES / BURST {
            for n in 0..BURST {
                let id = format!("m{burst:02}-{n:02}");
                let (message_type, body) = match n % 2 {
                    0 => ("post.create", json!({ "text": id })),
                    _ => ("dm.send", json!({ "to": "bob", "text": id })),
                };
                self.client.submit_as(&id, message_type, body).await;
                self.sent.insert(id, Heard::new());
            }
            if burst % 3 == 0 {
                self.upload();
            }
            self.hear(SILENCE).await;
            if fault.is_some_and(|fault| fault.lasting) && !self.healed && self.faults.failed() > 0 {
                self.lives_on_a_full_disk().await;
                self.faults.heal();
                self.healed = true;
            }
            if self.over {
                return;
            }
        }
        self.hear_all().await;
    }

    /// Hears until everything is answered, nothing has come for a while, or the server has gone.
    async fn hear(&mut self, silence: Duration) {
        while !self.over && self.sent.values().any(|heard| !is_answered(heard)) {
            match self.client.next_within(silence).await {
                Some(Next::Frame(frame)) => self.note(&frame),
                Some(Next::Closed(..)) => self.over = true,
                None => return,
            }
        }
    }

    async fn hear_all(&mut self) {
        let begun = Instant::now();
        while !self.over && self.sent.values().any(|heard| !is_answered(heard)) {
            self.hear(SILENCE).await;
            let open: Vec<_> = self.sent.iter().filter(|(_, heard)| !is_answered(heard)).collect();
            assert!(begun.elapsed() < PATIENCE, "never answered: {open:?}\n{}", self.server.log());
        }
    }

    fn note(&mut self, frame: &Value) {
        let Some(heard) = frame["id"].as_str().and_then(|id| self.sent.get_mut(id)) else { return };
        heard.push(match frame["op"].as_str().unwrap() {
            "accepted" => "accepted".to_owned(),
            _ if frame["ok"] == true => "ok".to_owned(),
            _ => frame["error"]["code"].as_str().unwrap().to_owned(),
        });
    }

    fn upload(&mut self) {
        let bearer = format!("Bearer {}", self.tokens["ann"].as_str().unwrap());
        let address = self.server.address.clone();
        // In a task of its own, as the server may go away during it.
        self.uploads.push(tokio::spawn(async move {
            let picture = picture(40, 30, image::ImageFormat::Png);
            web(&address, "POST /v1/media", &[("authorization", &bearer)], &picture).await
        }));
    }

    async fn uploaded(&mut self) {
        for upload in self.uploads.drain(..) {
            match upload.await {
                Ok(answer) if answer.status == 201 => {
                    self.media.insert(answer.json()["media"]["id"].as_str().unwrap().to_owned());
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => {}
            }
        }
    }

    /// On a full disk new messages are refused with the reason, and reads go on.
    async fn lives_on_a_full_disk(&mut self) {
        let mut reader = Client::hello(&self.server.address, &self.tokens["bob"], None, None).await;
        let begun = Instant::now();
        loop {
            let id = reader.submit("post.create", json!({ "text": "refused" })).await;
            let mine = |frame: &Value| frame["id"] == id && frame["op"] != "reply";
            let first = reader.until(mine).await.unwrap();
            if first["op"] == "error" {
                let message = first["error"]["message"].as_str().unwrap();
                assert!(
                    first["error"]["code"] == "overloaded" && message.contains("disk is full"),
                    "{first}"
                );
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "a full disk refuses nothing");
        }
        reader.call("post.list", json!({ "user": "ann" })).await;
    }

    /// Waits a while for the fault: the archive is written behind the answers.
    async fn meets(&self, fault: &Fault) {
        let begun = Instant::now();
        while self.faults.points() < fault.at && begun.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is new is taken again by itself, within seconds.
    async fn recovers(&mut self) {
        let begun = Instant::now();
        let mut client = Client::hello(&self.server.address, &self.tokens["bob"], None, None).await;
        loop {
            let id = client.submit("post.create", json!({ "text": "again" })).await;
            let outcome = client.outcome(&id).await.unwrap();
            if outcome["ok"] == true {
                return;
            }
            assert_eq!(outcome["error"]["code"], "overloaded", "{outcome}");
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not recover: {}", self.server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// After a restart on a good disk, everything is as its sender was told.
    async fn compare(&mut self, fault: &Fault) {
        let dead = self.settle();
        let mut ann = Client::hello(&self.server.address, &self.tokens["ann"], None, Some(0)).await;
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        for (message_type, body) in [("post.list", json!({})), ("dm.list", json!({ "with": "bob" }))] {
            for item in ann.list(message_type, body).await {
                *there.entry(item["text"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        for (id, heard) in &self.sent {
            let (effects, buried) =
                (there.get(id).copied().unwrap_or(0), dead.iter().filter(|dead| *dead == id).count());
            let about =
                format!("{fault:?}: {id} heard {heard:?}, has {effects} effects and {buried} letters");
            let has = |word: &str| heard.iter().any(|heard| heard == word);
            assert!(effects + buried <= 1, "{about}");
            if has("accepted") || has("ok") {
                assert_eq!(effects + buried, 1, "lost: {about}");
            }
            assert!(!has("ok") || effects == 1, "{about}");
            assert!(!has("internal") || buried == 1, "{about}");
            // A disk that fails may have taken all the same what it did not confirm: the protocol says so.
            let refused = has("overloaded") && !has("accepted") && fault.kind != Kind::Broken;
            assert!(!refused || effects + buried == 0, "refused and done: {about}");
            assert!(fault.kind == Kind::Broken || buried == 0, "buried for the disk's sake: {about}");
        }
        for id in &self.media {
            let of_it = |frame: &Value| {
                let told = frame["type"] == "media.ready" || frame["type"] == "media.failed";
                frame["op"] == "push" && told && frame["body"].to_string().contains(id.as_str())
            };
            let push = ann.until(of_it).await.unwrap();
            assert_eq!(push["type"], "media.ready", "{fault:?}: {push}");
        }
        assert!(self.dir.path().exists());
    }

    /// Waits until nothing is queued; returns the ids of the dead letters' messages.
    fn settle(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let queues = self.server.queues();
            if queues.iter().all(|queue| queue["visible"] == 0 && queue["in_flight"] == 0) {
                let dead = queues.iter().filter(|queue| queue["dead"] != 0);
                return dead.flat_map(|queue| self.letters(queue["queue"].as_str().unwrap())).collect();
            }
            assert!(begun.elapsed() < PATIENCE, "not settled: {queues:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn letters(&self, queue: &str) -> Vec<String> {
        let listed = self.server.command(&["dlq", "list", queue]);
        let keys = listed.lines().filter_map(|line| line.split_whitespace().next());
        let shown = keys.map(|key| self.server.command(&["dlq", "show", queue, key]));
        shown
            .filter_map(|letter| {
                let letter: Value = serde_json::from_str(&letter).unwrap();
                let envelope: Value = serde_json::from_str(letter["body"].as_str()?).ok()?;
                Some(envelope["id"].as_str()?.to_owned())
            })
            .collect()
    }
}

fn is_answered(heard: &Heard) -> bool {
    heard.iter().any(|heard| heard != "accepted")
}
