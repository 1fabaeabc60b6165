//! Ports that keep only what they must, in memory, and return at once.
//!
//! They are a measuring device and no fakes of the ports: their own instructions are part of every count, so they stay
//! as small as they are, break most of the ports' laws, and do not use `soundoff_common::ports::memory`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::lock::lock;
use soundoff_common::model::accounts;
use soundoff_common::model::sign_ins;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::ports::cache::{Cache, Cached, Swap};
use soundoff_common::ports::queues::{
    DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};
use soundoff_common::ports::tokens::{Claims, Token, TokenError, TokenVerifier};
use soundoff_common::protocol::{Handle, Role};
use soundoff_common::web::http::{Answer, whole};
use soundoff_common::web::pages::Pages;
use tokio::sync::Notify;
use ulid::Ulid;

/// How many users there are.
const USERS: u32 = 256;

/// One of them. A user's token is their handle.
pub(crate) fn user(n: u32) -> Handle {
    format!("user{n:04}").parse().expect("a valid handle")
}

fn session(n: u32) -> Ulid {
    Ulid::from_parts(0, n.into())
}

/// A queue.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Bytes>,
    news: Arc<Notify>,
}

/// All ports but the archive.
pub(crate) struct Memory {
    rows: BTreeMap<(Table, Key), Item>,
    /// None where nobody receives: then what is sent is discarded.
    lines: Option<Mutex<BTreeMap<QueueName, Line>>>,
    registered: Mutex<BTreeMap<Handle, Vec<Registration>>>,
}

impl Memory {
    fn new(lines: Option<Mutex<BTreeMap<QueueName, Line>>>) -> Self {
        let mut rows = BTreeMap::new();
        for n in 0..USERS {
            let handle = user(n);
            let account = Item::new().with("handle", handle.as_str()).with("created_at", 1);
            rows.insert((Table::Users, accounts::key(&handle)), account);
            let sign_in = Item::new().with("user", handle.as_str()).with("created_at", 1);
            rows.insert((Table::Entities, sign_ins::key(session(n))), sign_in);
        }
        Self { rows, lines, registered: Mutex::default() }
    }

    /// Queues that discard what is sent.
    pub(crate) fn forgetting() -> Self {
        Self::new(None)
    }

    /// Queues that deliver what is sent.
    pub(crate) fn queueing() -> Self {
        Self::new(Some(Mutex::default()))
    }

    /// Registers a socket as an edge would.
    pub(crate) fn register(&self, user: Handle, registration: Registration) {
        lock(&self.registered).entry(user).or_default().push(registration);
    }

    /// The edge process that holds the first socket.
    pub(crate) fn boot(&self) -> Option<Arc<str>> {
        lock(&self.registered).values().flatten().next().map(|registration| registration.boot.clone())
    }
}

/// It remembers nothing.
#[async_trait]
impl Cache for Memory {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        Ok(vec![None; keys.len()])
    }

    async fn put_many(&self, _: Vec<(String, Bytes)>, _: Duration) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn swap_many(&self, swaps: Vec<Swap>, _: Duration) -> Result<Vec<bool>, Unavailable> {
        Ok(vec![false; swaps.len()])
    }
}

#[async_trait]
impl Queues for Memory {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let answers = vec![Ok(()); batch.len()];
        if let Some(lines) = &self.lines {
            let mut lines = lock(lines);
            for Outgoing { queue, body, .. } in batch {
                let line = lines.entry(queue).or_default();
                line.waiting.push_back(body);
                line.news.notify_one();
            }
        }
        answers
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        _: Duration,
        _: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let lines = self.lines.as_ref().ok_or_else(|| QueueError::UnknownQueue(queue.clone()))?;
        let message = |body| Message { receipt: Receipt(Bytes::new()), body, attempt: 1, sent_at: 1 };
        loop {
            let news = {
                let mut lines = lock(lines);
                let line = lines.entry(queue.clone()).or_default();
                let many = line.waiting.len().min(max);
                if many > 0 {
                    return Ok(line.waiting.drain(..many).map(message).collect());
                }
                line.news.clone()
            };
            news.notified().await;
        }
    }

    async fn ack(&self, _: &QueueName, _: Vec<Receipt>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn extend(&self, _: &QueueName, _: Vec<Receipt>, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }

    async fn give_back(&self, _: &QueueName, _: Vec<Receipt>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn bury(&self, _: &QueueName, _: Receipt, _: &str) -> Result<(), QueueError> {
        Ok(())
    }

    async fn depth(&self, _: &QueueName) -> Result<Depth, QueueError> {
        Ok(Depth::default())
    }

    async fn dead_letters(&self, _: &QueueName, _: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(Vec::new())
    }

    async fn redrive(&self, _: &QueueName, _: usize) -> Result<usize, QueueError> {
        Ok(0)
    }
}

#[async_trait]
impl Sessions for Memory {
    async fn put_many(&self, entries: &[(Handle, Registration)], _: Duration) -> Result<(), Unavailable> {
        entries.iter().for_each(|(user, registration)| self.register(user.clone(), registration.clone()));
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        let registered = lock(&self.registered);
        Ok(handles.iter().map(|handle| registered.get(handle).cloned().unwrap_or_default()).collect())
    }

    async fn remove(&self, _: &Handle, _: &Registration) -> Result<bool, Unavailable> {
        Ok(true)
    }
}

#[async_trait]
impl Tables for Memory {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        Ok(keys.iter().map(|key| self.rows.get(key).cloned()).collect())
    }

    async fn write(&self, _: Vec<Write>) -> Result<(), TableError> {
        Ok(())
    }

    async fn query(&self, _: Query) -> Result<Page, TableError> {
        Ok(Page::default())
    }

    async fn scan(
        &self,
        _: Table,
        _: u32,
        _: u32,
        _: Option<Key>,
        _: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        Ok(Vec::new())
    }
}

impl TokenVerifier for Memory {
    fn verify(&self, token: &str, _: u64) -> Result<Token, TokenError> {
        let n = token.strip_prefix("user").and_then(|n| n.parse().ok()).ok_or(TokenError::Invalid)?;
        let expires_at = u64::MAX / 2_000;
        Ok(Token::Ours(Claims { user: user(n), session: session(n), role: Role::User, expires_at }))
    }
}

#[async_trait]
impl Pages for Memory {
    async fn answer(&self, _: hyper::Request<hyper::body::Incoming>) -> Answer {
        whole(hyper::Response::default())
    }
}

/// An archive that discards all records.
pub(crate) struct NoArchive;

#[async_trait]
impl Archive for NoArchive {
    async fn put(&self, _: Vec<Record>) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}
