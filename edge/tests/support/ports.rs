//! The ports in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use soundoff_common::model::sign_ins;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::inbox::{self, Entry};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::queues::{
    DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::{
    Action, Change, Condition, Item, Key, Page, Query, Table, TableError, Tables, Write,
};
use soundoff_common::ports::tokens::{Claims, TokenError, TokenVerifier};
use soundoff_common::protocol::{Handle, Role, now_ms};
use tokio::sync::watch;
use ulid::Ulid;

/// Reading what is this user's panics.
pub(crate) const FAULTY: &str = "faulty";

/// Where a test can hold a port's calls.
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: watch::Sender::new(true), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    pub(crate) fn hold(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.open.send_replace(true);
    }

    /// How many calls are held now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        struct Leaves<'a>(&'a AtomicUsize);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _leaves = Leaves(&self.waiting);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

type Judge = Box<dyn Fn(&Envelope) -> Result<(), QueueError> + Send>;

#[derive(Default)]
pub(crate) struct FakeQueues {
    pub(crate) gate: Gate,
    pub(crate) batches: Mutex<Vec<Vec<Envelope>>>,
    /// The edge's own messages: who said hello. They pass the gate and no judge sees them.
    announced: Mutex<Vec<Envelope>>,
    pub(crate) judge: Mutex<Option<Judge>>,
}

impl FakeQueues {
    pub(crate) fn judge(&self, judge: impl Fn(&Envelope) -> Result<(), QueueError> + Send + 'static) {
        *self.judge.lock().unwrap() = Some(Box::new(judge));
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }

    pub(crate) fn sent(&self) -> Vec<Envelope> {
        self.batches.lock().unwrap().concat()
    }

    /// What the edge has said by itself of a user.
    pub(crate) fn announced(&self, user: &str) -> Vec<Envelope> {
        let announced = self.announced.lock().unwrap();
        announced.iter().filter(|envelope| envelope.from.as_str() == user).cloned().collect()
    }
}

#[async_trait]
impl Queues for FakeQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let main = QueueName::main();
        assert!(batch.iter().all(|out| out.queue == main));
        let envelopes: Vec<Envelope> = batch.iter().map(|out| Envelope::parse(&out.body).unwrap()).collect();
        let (own, from_clients): (Vec<_>, Vec<_>) =
            envelopes.iter().cloned().partition(|envelope| envelope.id.is_empty());
        self.announced.lock().unwrap().extend(own);
        if !from_clients.is_empty() {
            self.batches.lock().unwrap().push(from_clients);
            self.gate.pass().await;
        }
        let judge = self.judge.lock().unwrap();
        let judge = |envelope: &Envelope| match &*judge {
            Some(judge) if !envelope.id.is_empty() => judge(envelope),
            _ => Ok(()),
        };
        envelopes.iter().map(judge).collect()
    }

    async fn receive(
        &self,
        _: &QueueName,
        _: usize,
        _: Duration,
        _: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        Ok(Vec::new())
    }

    async fn ack(&self, _: &QueueName, _: Vec<Receipt>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn extend(&self, _: &QueueName, _: Vec<Receipt>, _: Duration) -> Result<(), QueueError> {
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

#[derive(Default)]
pub(crate) struct FakeSessions {
    /// Holds puts after they have taken effect.
    pub(crate) put_gate: Gate,
    pub(crate) failing: AtomicBool,
    pub(crate) puts: AtomicUsize,
    last: Mutex<Option<(Handle, Registration)>>,
    entries: Mutex<HashMap<Handle, Vec<(Registration, Instant)>>>,
}

impl FakeSessions {
    pub(crate) fn all(&self) -> Vec<(Handle, Registration)> {
        let entries = self.entries.lock().unwrap();
        let now = Instant::now();
        let alive =
            entries.iter().flat_map(|(user, list)| list.iter().map(move |(r, until)| (user, r, until)));
        alive.filter(|(.., until)| **until > now).map(|(user, r, _)| (user.clone(), r.clone())).collect()
    }

    pub(crate) fn of(&self, user: &str) -> Vec<Registration> {
        self.all().into_iter().filter(|(handle, _)| handle.as_str() == user).map(|(_, r)| r).collect()
    }

    pub(crate) fn last_put(&self) -> Option<(Handle, Registration)> {
        self.last.lock().unwrap().clone()
    }

    pub(crate) fn flush(&self) {
        self.entries.lock().unwrap().clear();
    }

    pub(crate) fn insert(&self, user: &str, registration: Registration) {
        let until = Instant::now() + Duration::from_secs(3600);
        let mut entries = self.entries.lock().unwrap();
        entries.entry(user.parse().unwrap()).or_default().push((registration, until));
    }

    fn check(&self) -> Result<(), Unavailable> {
        match self.failing.load(Ordering::SeqCst) {
            true => Err(Unavailable("told to fail".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Sessions for FakeSessions {
    async fn put_many(&self, new: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable> {
        self.check()?;
        {
            let mut entries = self.entries.lock().unwrap();
            for (user, registration) in new {
                let list = entries.entry(user.clone()).or_default();
                list.retain(|(other, _)| other != registration);
                list.push((registration.clone(), Instant::now() + ttl));
            }
        }
        *self.last.lock().unwrap() = new.last().cloned();
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.put_gate.pass().await;
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        self.check()?;
        Ok(handles.iter().map(|user| self.of(user.as_str())).collect())
    }

    async fn remove(&self, user: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        self.check()?;
        let mut entries = self.entries.lock().unwrap();
        let Some(list) = entries.get_mut(user) else { return Ok(false) };
        let before = list.len();
        list.retain(|(other, _)| other != registration);
        Ok(list.len() < before)
    }
}

#[derive(Default)]
pub(crate) struct FakeTables {
    /// Holds queries, which only reading the inbox makes, before they read.
    pub(crate) query_gate: Gate,
    /// Holds what queries have read, so that it is old when it arrives.
    pub(crate) page_gate: Gate,
    /// Holds reads of single items before they read.
    pub(crate) get_gate: Gate,
    pub(crate) failing: AtomicBool,
    pub(crate) queries: AtomicUsize,
    items: Mutex<BTreeMap<(Table, Key), Item>>,
}

impl FakeTables {
    pub(crate) fn add_user(&self, user: &str) {
        let key = Key::new(format!("user#{user}"), "profile");
        let mut items = self.items.lock().unwrap();
        items.entry((Table::Users, key)).or_default();
        let sign_in = (Table::Entities, sign_ins::key(session_of(user)));
        items.entry(sign_in).or_insert_with(|| Item::new().with("user", user));
    }

    pub(crate) fn revoke(&self, user: &str, at: u64) {
        let key = Key::new(format!("user#{user}"), "profile");
        self.items.lock().unwrap().insert((Table::Users, key), Item::new().with("revoked_at", at));
    }

    /// Appends one entry to a user's inbox; answers its seq.
    pub(crate) async fn append(&self, user: &str, text: &str) -> u64 {
        let user: Handle = user.parse().unwrap();
        let mut items = self.items.lock().unwrap();
        let head_key = (Table::Inbox, Key::new(user.as_str(), "head"));
        let head = items.get(&head_key).and_then(|item| item.number("seq")).unwrap_or(0);
        let body = serde_json::value::to_raw_value(&json!({"text": text})).unwrap();
        let entry =
            Entry { push_type: "note".to_owned(), mid: ulid::Ulid(u128::from(head)), by: user.clone(), body };
        for write in inbox::append(&user, head, &[entry], now_ms() / 1000) {
            apply(&mut items, write);
        }
        head + 1
    }

    /// Takes entries away, as age does.
    pub(crate) fn expire(&self, user: &str, seqs: std::ops::RangeInclusive<u64>) {
        let mut items = self.items.lock().unwrap();
        for seq in seqs {
            items.remove(&(Table::Inbox, Key::new(user, format!("e#{seq:020}")))).expect("an entry");
        }
    }

    pub(crate) fn cursor_of(&self, user: &str, device: &str) -> Option<u64> {
        let hex: String = device.bytes().map(|b| format!("{b:02x}")).collect();
        let items = self.items.lock().unwrap();
        items.get(&(Table::Inbox, Key::new(user, format!("d#{hex}"))))?.number("cursor")
    }

    fn page(&self, query: &Query) -> Page {
        let items = self.items.lock().unwrap();
        let within = |sk: &str| {
            let from = match &query.from {
                Bound::Included(low) => sk >= low.as_str(),
                Bound::Excluded(low) => sk > low.as_str(),
                Bound::Unbounded => true,
            };
            from && match &query.to {
                Bound::Included(high) => sk <= high.as_str(),
                Bound::Excluded(high) => sk < high.as_str(),
                Bound::Unbounded => true,
            }
        };
        let all = items.iter().filter(|((table, key), _)| *table == query.table && key.pk == query.pk);
        let found = all
            .filter(|((_, key), _)| within(&key.sk))
            .map(|((_, key), item)| (key.sk.clone(), item.clone()));
        let items: Vec<_> = found.take(query.limit).collect();
        Page { more: items.len() == query.limit, items }
    }

    fn check(&self) -> Result<(), TableError> {
        match self.failing.load(Ordering::SeqCst) {
            true => Err(TableError::Unavailable("told to fail".to_owned())),
            false => Ok(()),
        }
    }
}

fn apply(items: &mut BTreeMap<(Table, Key), Item>, write: Write) {
    let at = (write.table, write.key);
    match write.action {
        Action::Put(item) => drop(items.insert(at, item)),
        Action::Delete => drop(items.remove(&at)),
        Action::Check => {}
        Action::Update(changes) => {
            let item = items.entry(at).or_default();
            for change in changes {
                match change {
                    Change::Set(name, value) => drop(item.0.insert(name.to_owned(), value)),
                    Change::Remove(name) => drop(item.0.remove(name)),
                    Change::Add(name, n) => {
                        let old = item.get(name).and_then(Value::as_i64).unwrap_or(0);
                        item.0.insert(name.to_owned(), (old + n).into());
                    }
                }
            }
        }
    }
}

fn holds(item: Option<&Item>, condition: &Condition) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Exists => item.is_some(),
        Condition::Missing => item.is_none(),
        Condition::Equals(name, value) => item.and_then(|item| item.get(name)) == Some(value),
        Condition::Absent(name) => item.is_none_or(|item| item.get(name).is_none()),
        Condition::All(all) => all.iter().all(|condition| holds(item, condition)),
    }
}

#[async_trait]
impl Tables for FakeTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        self.get_gate.pass().await;
        self.check()?;
        assert!(!keys.iter().any(|(_, key)| key.pk.contains(FAULTY)), "a planted fault");
        let items = self.items.lock().unwrap();
        Ok(keys.iter().map(|key| items.get(key).cloned()).collect())
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.check()?;
        let mut items = self.items.lock().unwrap();
        for (index, write) in writes.iter().enumerate() {
            if !holds(items.get(&(write.table, write.key.clone())), &write.condition) {
                return Err(TableError::ConditionFailed { index });
            }
        }
        writes.into_iter().for_each(|write| apply(&mut items, write));
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.query_gate.pass().await;
        self.check()?;
        let page = self.page(&query);
        self.page_gate.pass().await;
        Ok(page)
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

/// The sign-in that a user's tokens are of.
pub(crate) fn session_of(user: &str) -> Ulid {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(user.bytes()).for_each(|(to, from)| *to = from);
    Ulid::from_bytes(bytes)
}

/// Takes tokens of the form `good:<user>:<expires at>`.
pub(crate) struct FakeVerifier;

impl TokenVerifier for FakeVerifier {
    fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let parts: Vec<&str> = token.split(':').collect();
        let ["good", user, expires_at] = parts[..] else { return Err(TokenError::Invalid) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| TokenError::Invalid);
        let user: Handle = user.parse().map_err(|_| TokenError::Invalid)?;
        let claims = Claims {
            session: session_of(user.as_str()),
            user,
            role: Role::User,
            expires_at: number(expires_at)?,
        };
        if claims.expires_at <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }
}
