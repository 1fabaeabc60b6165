//! A person whose one device never forgets what it sent, what it heard, and how far it is in its inbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::{Client, Next};

/// How many messages a person has in flight.
const WINDOW: usize = 24;
/// After how long without an answer an `id` is sent again (delivery rule 1).
const SILENCE: Duration = Duration::from_secs(10);

/// The posts that everybody acts on.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Author and id of posts to comment and like.
    pub(crate) posts: Vec<(String, String)>,
    pub(crate) people: Vec<&'static str>,
    pub(crate) trolls: Vec<&'static str>,
}

/// One message of a person.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) message_type: &'static str,
    pub(crate) body: Value,
    /// What it changes, for toggles and fields, such as `like#…`.
    pub(crate) target: Option<String>,
    /// Nothing else was sent to the target at the same time.
    pub(crate) alone: bool,
    /// Not repeated once it was accepted.
    pub(crate) trusting: bool,
    /// How often it was sent.
    pub(crate) said: usize,
    /// Every `mid` under which it was accepted.
    pub(crate) mids: BTreeSet<String>,
    /// The body of its reply.
    pub(crate) reply: Option<Value>,
}

impl Sent {
    /// Whether its sender still waits for something.
    fn is_open(&self) -> bool {
        self.reply.is_none() && (!self.trusting || self.mids.is_empty())
    }
}

/// A person and their device.
pub(crate) struct Person {
    pub(crate) handle: &'static str,
    pub(crate) token: Value,
    pub(crate) plan: Arc<Plan>,
    pub(crate) sent: BTreeMap<String, Sent>,
    /// Everything that ever came to the inbox, by `seq`.
    pub(crate) inbox: BTreeMap<u64, Value>,
    /// What was last sent to each target, one message or several at once.
    pub(crate) last: HashMap<String, Vec<String>>,
    /// Whether it acks.
    pub(crate) acking: bool,
    /// The `seq` that must come next on this connection.
    next_seq: Option<u64>,
    random: StdRng,
    numbered: u32,
}

impl Person {
    pub(crate) fn new(handle: &'static str, token: Value, acking: bool, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let (sent, inbox, last) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self {
            handle,
            token,
            plan: Arc::default(),
            sent,
            inbox,
            last,
            acking,
            next_seq: None,
            random,
            numbered: 0,
        }
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// How many messages were accepted, never answered and never sent again: only their effect shows that they were
    /// done.
    pub(crate) fn unheard(&self) -> usize {
        self.sent.values().filter(|sent| sent.reply.is_none()).count()
    }

    pub(crate) fn repeated(&self) -> usize {
        self.sent.values().filter(|sent| sent.said > 1).count()
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.inbox.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Two posts that everybody may act on.
    pub(crate) async fn write_first_posts(&mut self, address: &str) -> Vec<(String, String)> {
        let mut client = Client::hello(address, &self.token, Some("phone"), Some(0)).await;
        let mut posts = Vec::new();
        for _ in 0..2 {
            let id = self.note("post.create", None);
            let sent = self.sent.get_mut(&id).unwrap();
            sent.said = 1;
            client.submit_as(&id, sent.message_type, sent.body.clone()).await;
            let reply = client.outcome(&id).await.unwrap();
            posts.push((self.handle.to_owned(), reply["body"]["post"]["id"].as_str().unwrap().to_owned()));
            self.hear(&reply);
        }
        posts
    }

    /// Connects, sends open messages again, and then sends more, or (`finishing`) waits until all are answered. An
    /// error is a broken socket.
    pub(crate) async fn live(&mut self, address: &str, finishing: bool) -> Result<(), ()> {
        let Some(mut client) = self.connect(address).await else {
            assert!(!finishing, "no connection");
            return Err(());
        };
        self.repeat(&mut client).await;
        let mut silent_since = Instant::now();
        loop {
            if finishing && !self.sent.values().any(Sent::is_open) {
                return Ok(());
            }
            while !finishing && self.in_flight() < WINDOW {
                self.send_something(&mut client).await;
            }
            match client.next_within(SILENCE).await {
                Some(Next::Frame(frame)) => {
                    self.hear(&frame);
                    self.maybe_ack(&mut client).await;
                }
                Some(Next::Closed(..)) => return Err(()),
                None => {
                    assert!(
                        silent_since.elapsed() < PATIENCE,
                        "{}: no answer however often it is asked",
                        self.handle
                    );
                    self.repeat(&mut client).await;
                    continue;
                }
            }
            silent_since = Instant::now();
        }
    }

    /// Reads until everything in the inbox has come.
    pub(crate) async fn catch_up(&mut self, address: &str) {
        let mut client = self.connect(address).await.unwrap();
        while self.cursor() < client.head() {
            match client.next().await {
                Next::Frame(frame) => self.hear(&frame),
                closed @ Next::Closed(..) => panic!("{}: {closed:?}", self.handle),
            }
        }
    }

    /// Connects the same device again, sometimes from an older place in the inbox. `None` when the server is gone.
    async fn connect(&mut self, address: &str) -> Option<Client> {
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let mut cursor = self.cursor();
        if !self.acking && self.random.random_bool(0.5) {
            cursor = self.random.random_range(0..=cursor);
        }
        // A device that acks may leave its place to the server: it has what it acked.
        let cursor = (!self.acking || self.random.random_bool(0.7)).then_some(cursor);
        self.next_seq = cursor.map(|cursor| cursor + 1);
        Client::hello_on(stream, &self.token, Some("phone"), cursor).await.ok()
    }

    /// Sends everything again that has no outcome yet, in the order in which it was first sent.
    async fn repeat(&mut self, client: &mut Client) {
        for sent in self.sent.values_mut().filter(|sent| sent.is_open()) {
            sent.said += 1;
            client.submit_as(&sent.id, sent.message_type, sent.body.clone()).await;
        }
    }

    fn in_flight(&self) -> usize {
        self.sent.values().filter(|sent| sent.is_open()).count()
    }

    async fn send_something(&mut self, client: &mut Client) {
        let mut batch = Vec::new();
        match self.random.random_range(0..10) {
            0 => batch.push(self.note("post.create", None)),
            1 | 2 => batch.push(self.note("comment.create", None)),
            3 | 4 => batch.push(self.note("dm.send", None)),
            _ => batch.extend(self.switch_something()),
        }
        for id in batch {
            let sent = self.sent.get_mut(&id).unwrap();
            sent.said += 1;
            client.submit_as(&id, sent.message_type, sent.body.clone()).await;
        }
    }

    /// One toggle or field, or two to three toggles of one target at once; nothing while the target's last messages are
    /// open.
    fn switch_something(&mut self) -> Vec<String> {
        let (target, types) = self.choose_target();
        let open = |id: &String| self.sent[id].reply.is_none();
        if self.last.get(&target).is_some_and(|ids| ids.iter().any(open)) {
            return Vec::new();
        }
        let at_once = if self.random.random_bool(0.3) { self.random.random_range(2..=3) } else { 1 };
        let mut ids = Vec::new();
        for _ in 0..at_once {
            let message_type = types[self.random.random_range(0..types.len())];
            ids.push(self.note(message_type, Some(&target)));
        }
        for id in &ids {
            self.sent.get_mut(id).unwrap().alone = at_once == 1;
        }
        self.last.insert(target, ids.clone());
        ids
    }

    fn choose_target(&mut self) -> (String, &'static [&'static str]) {
        let plan = self.plan.clone();
        match self.random.random_range(0..8) {
            0 => ("profile#".to_owned(), &["profile.update"]),
            1 => {
                let troll = plan.trolls[self.random.random_range(0..plan.trolls.len())];
                (format!("block#{troll}"), &["block.add", "block.remove"])
            }
            2 | 3 => {
                let others: Vec<_> = plan.people.iter().filter(|who| **who != self.handle).collect();
                let who = others[self.random.random_range(0..others.len())];
                (format!("follow#{who}"), &["follow.add", "follow.remove"])
            }
            _ => {
                let (_, post) = &plan.posts[self.random.random_range(0..plan.posts.len())];
                (format!("like#{post}"), &["like.add", "like.remove"])
            }
        }
    }

    /// Stores a message before it is sent; returns its id.
    fn note(&mut self, message_type: &'static str, target: Option<&str>) -> String {
        self.numbered += 1;
        let id = format!("{}-{:06}", self.handle, self.numbered);
        let what = target.and_then(|target| target.split_once('#')).map(|(_, what)| what);
        let body = match message_type {
            "post.create" => json!({ "text": id }),
            "comment.create" => {
                let (_, post) = &self.plan.posts[self.random.random_range(0..self.plan.posts.len())];
                json!({ "post": post, "text": id })
            }
            "dm.send" => {
                let others: Vec<_> = self.plan.people.iter().filter(|who| **who != self.handle).collect();
                json!({ "to": others[self.random.random_range(0..others.len())], "text": id })
            }
            "profile.update" => json!({ "name": id }),
            "like.add" | "like.remove" => json!({ "post": what }),
            _ => json!({ "user": what }),
        };
        let target = target.map(str::to_owned);
        let trusting = self.random.random_bool(0.5);
        let (mids, reply) = (BTreeSet::new(), None);
        let sent =
            Sent { id: id.clone(), message_type, body, target, alone: true, trusting, said: 0, mids, reply };
        self.sent.insert(id.clone(), sent);
        id
    }

    /// Takes one frame.
    fn hear(&mut self, frame: &Value) {
        match frame["op"].as_str().unwrap() {
            "accepted" => {
                let sent = self.sent.get_mut(frame["id"].as_str().unwrap()).unwrap();
                sent.mids.insert(frame["mid"].as_str().unwrap().to_owned());
            }
            "reply" => {
                let sent = self.sent.get_mut(frame["id"].as_str().unwrap()).unwrap();
                assert_eq!(frame["ok"], true, "{sent:?}: {frame}");
                let body = frame["body"].clone();
                let first = sent.reply.get_or_insert_with(|| body.clone());
                assert_eq!(*first, body, "two outcomes of {}", sent.id);
                if sent.said == 1 {
                    assert_ne!(frame["duplicate"], true, "said once, called a repetition: {frame}");
                }
            }
            "push" => {
                let seq = frame["seq"].as_u64().unwrap();
                assert_eq!(seq, self.next_seq.unwrap_or(seq), "{}: out of order: {frame}", self.handle);
                self.next_seq = Some(seq + 1);
                if let Some(before) = self.inbox.insert(seq, frame.clone()) {
                    assert_eq!(before, *frame, "two entries in one place");
                }
            }
            "event" => {}
            _ => panic!("{}: {frame}", self.handle),
        }
    }

    async fn maybe_ack(&mut self, client: &mut Client) {
        if self.acking && self.random.random_bool(0.05) {
            client.send(json!({ "op": "ack", "cursor": self.cursor() })).await;
        }
    }
}
