//! A router on queues and tables in memory, whose archive and tables can be away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::guard::Weather;
use soundoff_common::lock::lock;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::{Catalog, Spec};
use soundoff_common::pipeline::consumer::Verdict;
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, raw};
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::ports::memory::{MemoryQueues, MemorySessions, MemoryTables};
use soundoff_common::ports::queues::{Message, QueueName, Receipt};
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};
use soundoff_common::telemetry::Metrics;
use ulid::Ulid;

use crate::late::{ARCHIVE_LATE, Late};
use crate::record::Recorder;
use crate::route::Router;

/// A type with two handlers, which is archived without its body.
pub(crate) const NOTE: &str = "note.make";
/// A type that is archived whole.
pub(crate) const LIKE: &str = "note.like";
/// A type whose body is archived if everybody may read it.
pub(crate) const POST: &str = "note.post";
/// A type that names its sender in `user`.
pub(crate) const EVENT: &str = "note.event";

struct Note<const SECOND: bool>;

impl<const SECOND: bool> MessageType for Note<SECOND> {
    const TYPE: &'static str = NOTE;
    const SUMMARY: &'static str = "a note";
    const QUEUE: Option<&'static str> = if SECOND { Some("note_count_q") } else { None };
    type Body = serde_json::Value;
    type Reply = ();

    async fn handle(_: &Context, _: &Request<Self::Body>) -> Result<Outcome<()>, Failure> {
        Ok(Outcome::read(()))
    }
}

/// An archive that fails as often as it is told.
#[derive(Default)]
pub(crate) struct Failing {
    failures: AtomicUsize,
    records: Mutex<Vec<Record>>,
}

#[async_trait]
impl Archive for Failing {
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable> {
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            return Err(Unavailable("the archive is away".to_owned()));
        }
        lock(&self.records).extend(records);
        Ok(())
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// What tables do that do not answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Here,
    Away,
    Hanging,
}

/// Tables that several routers may share.
pub(crate) struct Moody {
    pub(crate) tables: MemoryTables,
    mood: Mutex<Mood>,
}

impl Moody {
    pub(crate) fn is(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    async fn answers(&self) -> Result<(), TableError> {
        let mood = *lock(&self.mood);
        match mood {
            Mood::Here => Ok(()),
            Mood::Away => Err(TableError::Unavailable("the tables are away".to_owned())),
            Mood::Hanging => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Tables for Moody {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        self.answers().await?;
        self.tables.get_many(keys).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.answers().await?;
        self.tables.write(writes).await
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.tables.query(query).await
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        self.tables.scan(table, segment, segments, after, limit).await
    }
}

pub(crate) fn tables() -> Arc<Moody> {
    Arc::new(Moody { tables: MemoryTables::with_distinct_keys_only(), mood: Mutex::new(Mood::Here) })
}

/// One router process.
pub(crate) struct Stand {
    pub(crate) router: Router,
    pub(crate) late: Late,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) tables: Arc<Moody>,
    archive: Arc<Failing>,
}

pub(crate) fn late_q() -> QueueName {
    QueueName::of_type(ARCHIVE_LATE)
}

pub(crate) fn types() -> [QueueName; 2] {
    [QueueName::new("note_make_q"), QueueName::new("note_count_q")]
}

fn catalog() -> Catalog {
    let other = |message_type, archived| Spec {
        message_type,
        queue: QueueName::of_type(message_type),
        archived,
        ..Spec::of::<Note<false>>()
    };
    let others =
        [other(LIKE, Archived::Whole), other(POST, Archived::Public), other(EVENT, Archived::Keyed("user"))];
    Catalog::new([Spec::of::<Note<false>>(), Spec::of::<Note<true>>()].into_iter().chain(others).collect())
}

impl Stand {
    /// A process whose archive fails so many times.
    pub(crate) fn new(tables: Arc<Moody>, failures: usize) -> Self {
        let catalog = Arc::new(catalog());
        let queues = catalog.queue_names().into_iter().chain([late_q()]);
        let queues = Arc::new(MemoryQueues::new(queues));
        let archive = Arc::new(Failing { failures: AtomicUsize::new(failures), ..Failing::default() });
        let key = InternalKey::new(&[7; 32]).unwrap();
        let replies = Replies::start(Arc::new(MemorySessions::default()), key, Weather::new(Metrics::new()));
        let outward = Outward { queues: queues.clone(), replies, catalog: catalog.clone() };
        let router = Router::new(catalog.clone(), queues.clone(), archive.clone(), tables.clone(), outward);
        let recorder = Recorder::new(tables.clone());
        let late = Late { catalog, archive: archive.clone(), recorder };
        Self { router, late, queues, tables, archive }
    }

    /// How many messages a queue has.
    pub(crate) fn has(&self, queue: &QueueName) -> usize {
        self.queues.bodies(queue).len()
    }

    /// What was archived since this was asked.
    pub(crate) fn archived(&self) -> Vec<Record> {
        std::mem::take(&mut *lock(&self.archive.records))
    }
}

/// A message of a user.
pub(crate) fn sent(n: u128, from: &str, message_type: &str, body: &serde_json::Value) -> Message {
    let envelope = Envelope {
        mid: Ulid(n),
        id: n.to_string(),
        message_type: message_type.to_owned(),
        from: from.parse().unwrap(),
        origin: None,
        at: 1,
        body: raw(body),
    };
    let receipt = Receipt(Bytes::from(n.to_string()));
    Message { receipt, body: envelope.bytes(), attempt: 1, sent_at: 1 }
}

pub(crate) fn waits(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Wait(_))).count()
}
