//! The ports in memory, with what tests need to hold them, make them fail and look into them.
//!
//! Tables and sessions are the fakes of `soundoff_common::ports::memory`. The queues only record: an edge sends and
//! does nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use soundoff_common::model::{accounts, sign_ins};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::inbox::{self, Entry};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::memory::{MemorySessions, MemoryTables};
use soundoff_common::ports::queues::{
    DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::{
    Change, Condition, Item, Key, Page, Query, Table, TableError, Tables, Write,
};
use soundoff_common::ports::tokens::{Claims, Token, TokenError, TokenVerifier};
use soundoff_common::protocol::{Handle, Role, now_ms};
use tokio::sync::watch;
use ulid::Ulid;

/// Reads of this user's items panic.
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

/// Decides about one message of a client.
type Judge = Box<dyn Fn(&Envelope) -> Result<(), QueueError> + Send>;

/// Records what is sent.
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

/// The Session Cache in memory, with gates and failures.
#[derive(Default)]
pub(crate) struct FakeSessions {
    /// Holds puts after they have taken effect.
    pub(crate) put_gate: Gate,
    pub(crate) failing: AtomicBool,
    pub(crate) puts: AtomicUsize,
    last: Mutex<Option<(Handle, Registration)>>,
    memory: MemorySessions,
}

impl FakeSessions {
    pub(crate) fn all(&self) -> Vec<(Handle, Registration)> {
        self.memory.all()
    }

    pub(crate) fn of(&self, user: &str) -> Vec<Registration> {
        self.memory.of(&user.parse().unwrap())
    }

    pub(crate) fn last_put(&self) -> Option<(Handle, Registration)> {
        self.last.lock().unwrap().clone()
    }

    pub(crate) fn flush(&self) {
        self.memory.clear();
    }

    pub(crate) fn insert(&self, user: &str, registration: Registration) {
        self.memory.put(&user.parse().unwrap(), &registration, Duration::from_secs(3600));
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
        self.memory.put_many(new, ttl).await?;
        *self.last.lock().unwrap() = new.last().cloned();
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.put_gate.pass().await;
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        self.check()?;
        self.memory.get_many(handles).await
    }

    async fn remove(&self, user: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        self.check()?;
        self.memory.remove(user, registration).await
    }
}

/// The tables in memory, with gates and failures.
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
    memory: MemoryTables,
}

impl FakeTables {
    /// Adds a user and their sign-in, where they are not there yet.
    pub(crate) fn add_user(&self, user: &str) {
        let handle: Handle = user.parse().unwrap();
        let sign_in = Item::new().with(sign_ins::attribute::USER, user);
        let sign_in = Write::put(Table::Entities, sign_ins::key(session_of(user)), sign_in);
        for write in [accounts::create(&handle, 1), sign_in.when(Condition::Missing)] {
            match self.memory.apply(vec![write]) {
                Ok(()) | Err(TableError::ConditionFailed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn revoke(&self, user: &str, at: u64) {
        let revoked = vec![Change::Set(accounts::attribute::REVOKED_AT, at.into())];
        let key = accounts::key(&user.parse().unwrap());
        self.memory.apply(vec![Write::update(Table::Users, key, revoked)]).unwrap();
    }

    /// Appends one entry to a user's inbox; returns its seq.
    pub(crate) async fn append(&self, user: &str, text: &str) -> u64 {
        let user: Handle = user.parse().unwrap();
        loop {
            let head = self.memory.peek(Table::Inbox, inbox::head_key(&user));
            let head = head.and_then(|item| item.number(inbox::head::SEQ)).unwrap_or(0);
            let body = serde_json::value::to_raw_value(&json!({"text": text})).unwrap();
            let mid = Ulid(u128::from(head));
            let entry = Entry { push_type: "note".to_owned(), mid, by: user.clone(), body };
            match self.memory.apply(inbox::append(&user, head, &[entry], now_ms() / 1000)) {
                Ok(()) => return head + 1,
                Err(TableError::ConditionFailed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes entries away, as age does.
    pub(crate) fn expire(&self, user: &str, seqs: std::ops::RangeInclusive<u64>) {
        let user: Handle = user.parse().unwrap();
        for seq in seqs {
            let gone = Write::delete(Table::Inbox, inbox::entry_key(&user, seq)).when(Condition::Exists);
            self.memory.apply(vec![gone]).expect("an entry");
        }
    }

    pub(crate) fn cursor_of(&self, user: &str, device: &str) -> Option<u64> {
        let key = inbox::device_key(&user.parse().unwrap(), device);
        self.memory.peek(Table::Inbox, key)?.number(inbox::device::CURSOR)
    }

    fn check(&self) -> Result<(), TableError> {
        match self.failing.load(Ordering::SeqCst) {
            true => Err(TableError::Unavailable("told to fail".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Tables for FakeTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        self.get_gate.pass().await;
        self.check()?;
        assert!(!keys.iter().any(|(_, key)| key.pk.contains(FAULTY)), "a planted fault");
        self.memory.get_many(keys).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.check()?;
        self.memory.write(writes).await
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.query_gate.pass().await;
        self.check()?;
        let page = self.memory.query(query).await?;
        self.page_gate.pass().await;
        Ok(page)
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        self.memory.scan(table, segment, segments, after, limit).await
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
    fn verify(&self, token: &str, now: u64) -> Result<Token, TokenError> {
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
        if claims.expires_at <= now { Err(TokenError::Expired) } else { Ok(Token::Ours(claims)) }
    }
}
