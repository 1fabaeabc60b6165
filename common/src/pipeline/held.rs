//! Tables and queues that refuse what their tier does not declare, for debug builds: a missing grant fails in a test
//! instead of in a deployment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::holdings::Holding;
use crate::pipeline::grants::Grants;
use crate::pipeline::tier::Tier;
use crate::ports::queues::{DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt};
use crate::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};

/// The tables as one tier may use them.
pub(crate) struct HeldTables {
    tables: Arc<dyn Tables>,
    tier: Tier,
    grants: Arc<Grants>,
    kinds: Arc<[Holding]>,
}

impl HeldTables {
    pub(crate) fn new(
        tables: Arc<dyn Tables>,
        tier: Tier,
        grants: Arc<Grants>,
        kinds: Arc<[Holding]>,
    ) -> Self {
        Self { tables, tier, grants, kinds }
    }

    fn refused(&self, what: &str) -> TableError {
        tracing::error!(tier = %self.tier, what, "not declared: name it in the feature's Touches or holdings");
        TableError::Invalid(format!("the tier {} declares nothing that {what}", self.tier))
    }

    fn may_read(&self, table: Table) -> Result<(), TableError> {
        let may = self.grants.reads.contains(&table);
        if may { Ok(()) } else { Err(self.refused(&format!("reads {}", table.name()))) }
    }

    fn may_write(&self, write: &Write) -> Result<(), TableError> {
        let Write { table, key, .. } = write;
        let Key { pk, sk } = key;
        if !self.grants.writes_to(*table, pk) {
            let what = match self.grants.partitions.contains_key(table) {
                true => format!("writes the partition {pk:?} of {}", table.name()),
                false => format!("writes {}", table.name()),
            };
            return Err(self.refused(&what));
        }
        let Some(kind) = self.kinds.iter().find(|kind| kind.is_at(*table, key)) else {
            return Err(self.refused(&format!("keeps an item at {pk:?} {sk:?} in {}", table.name())));
        };
        match kind.unknown(write) {
            Some(attribute) => {
                Err(self.refused(&format!("keeps the attribute {attribute} of a {}", kind.kind)))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Tables for HeldTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        keys.iter().try_for_each(|(table, _)| self.may_read(*table))?;
        self.tables.get_many(keys).await
    }

    fn judges_in_order(&self) -> bool {
        self.tables.judges_in_order()
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        writes.iter().try_for_each(|write| self.may_write(write))?;
        self.tables.write(writes).await
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.may_read(query.table)?;
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
        if !self.grants.scans.contains(&table) {
            return Err(self.refused(&format!("scans {}", table.name())));
        }
        self.tables.scan(table, segment, segments, after, limit).await
    }
}

/// The queues as one tier may use them.
pub(crate) struct HeldQueues {
    queues: Arc<dyn Queues>,
    tier: Tier,
    grants: Arc<Grants>,
}

impl HeldQueues {
    pub(crate) fn new(queues: Arc<dyn Queues>, tier: Tier, grants: Arc<Grants>) -> Self {
        Self { queues, tier, grants }
    }

    fn refused(&self, does: &str, queue: &QueueName) -> QueueError {
        tracing::error!(tier = %self.tier, does, %queue, "not declared: name it in the causes of the handler, job, page or loop, or give the row its tier");
        QueueError::Unavailable(format!("the tier {} declares nothing that {does} {queue}", self.tier))
    }

    fn may_pull(&self, queue: &QueueName) -> Result<(), QueueError> {
        if self.grants.pulls.contains(queue) { Ok(()) } else { Err(self.refused("pulls", queue)) }
    }

    /// The first queue of a batch that this tier must not send to.
    fn forbidden<'a>(&self, batch: &'a [Outgoing]) -> Option<&'a QueueName> {
        let may = |queue: &QueueName| self.grants.sends.contains(queue) || self.grants.pulls.contains(queue);
        batch.iter().map(|outgoing| &outgoing.queue).find(|queue| !may(queue))
    }
}

#[async_trait]
impl Queues for HeldQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        match self.forbidden(&batch) {
            Some(queue) => vec![Err(self.refused("sends to", queue)); batch.len()],
            None => self.queues.send(batch).await,
        }
    }

    async fn forward(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        match self.forbidden(&batch) {
            Some(queue) => vec![Err(self.refused("sends to", queue)); batch.len()],
            None => self.queues.forward(batch).await,
        }
    }

    async fn send_passing(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        match self.forbidden(&batch) {
            Some(queue) => vec![Err(self.refused("sends to", queue)); batch.len()],
            None => self.queues.send_passing(batch).await,
        }
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        self.may_pull(queue)?;
        self.queues.receive(queue, max, wait, visibility).await
    }

    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.may_pull(queue)?;
        self.queues.ack(queue, receipts).await
    }

    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        self.may_pull(queue)?;
        self.queues.extend(queue, receipts, visibility).await
    }

    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.may_pull(queue)?;
        self.queues.give_back(queue, receipts).await
    }

    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError> {
        self.may_pull(queue)?;
        self.queues.bury(queue, receipt, reason).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError> {
        self.queues.depth(queue).await
    }

    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.may_pull(queue)?;
        self.queues.dead_letters(queue, limit).await
    }

    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError> {
        self.may_pull(queue)?;
        self.queues.redrive(queue, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::Of;
    use crate::pipeline::grants::Touches;
    use crate::ports::memory::{MemoryQueues, MemoryTables};
    use crate::ports::tables::{Change, Condition};

    /// Notes in the entities: read, scanned and written; the users are read only.
    fn tables() -> HeldTables {
        let grants = Grants {
            reads: [Table::Entities, Table::Users].into(),
            scans: [Table::Entities].into(),
            writes: [Table::Entities].into(),
            ..Grants::default()
        };
        let note = Holding {
            kind: "note",
            table: Table::Entities,
            pk: "note#<id>",
            sk: "note",
            attributes: &["text", "n"],
            of: Of::User,
            summary: "A note.",
        };
        HeldTables::new(Arc::new(MemoryTables::default()), Tier::Workers, Arc::new(grants), [note].into())
    }

    fn key() -> Key {
        Key::new("note#1", "note")
    }

    fn put(table: Table, key: Key, attribute: &str) -> Write {
        Write::put(table, key, Item::new().with(attribute, 1))
    }

    fn refusal<T: std::fmt::Debug>(what: &str) -> impl Fn(&Result<T, TableError>) -> bool {
        let text = format!("the tier workers declares nothing that {what}");
        move |answer| matches!(answer, Err(TableError::Invalid(found)) if *found == text)
    }

    #[tokio::test]
    async fn writes_are_held_to_table_kind_and_attributes() {
        let note = |changes| Write::update(Table::Entities, key(), changes);
        let set = |name| Change::Set(name, 1.into());
        for write in [
            put(Table::Entities, key(), "text"),
            note(vec![set("text"), Change::Add("n", 1), Change::Remove("text")]),
            Write::check(Table::Entities, key(), Condition::Exists),
            Write::delete(Table::Entities, key()),
        ] {
            let tables = tables();
            tables.write(vec![put(Table::Entities, key(), "n")]).await.unwrap();
            assert_eq!(tables.write(vec![write.clone()]).await, Ok(()), "{write:?}");
        }
        let elsewhere = Key::new("letter#1", "note");
        for (write, what) in [
            (put(Table::Users, key(), "text"), "writes users"),
            (Write::delete(Table::Users, key()), "writes users"),
            (Write::check(Table::Users, key(), Condition::Exists), "writes users"),
            (put(Table::Entities, elsewhere, "text"), r#"keeps an item at "letter#1" "note" in entities"#),
            (put(Table::Entities, key(), "colour"), "keeps the attribute colour of a note"),
            (note(vec![set("text"), set("colour")]), "keeps the attribute colour of a note"),
            (note(vec![Change::Add("likes", 1)]), "keeps the attribute likes of a note"),
            (note(vec![Change::Remove("colour")]), "keeps the attribute colour of a note"),
        ] {
            let tables = tables();
            let answer =
                tables.write(vec![put(Table::Entities, Key::new("note#2", "note"), "n"), write]).await;
            assert!(refusal(what)(&answer), "{what}: {answer:?}");
            let beside = tables.get(Table::Entities, Key::new("note#2", "note")).await;
            assert_eq!(beside, Ok(None), "nothing of a refused transaction is written");
        }
    }

    /// Sign-ins and token keys are in one table with clocks and posts: a process that writes the ones must not be able
    /// to write the others.
    #[tokio::test]
    async fn writes_are_held_to_the_partitions_of_what_the_features_of_the_tier_keep() {
        let kind = |kind, pk| {
            let (table, attributes) = (Table::Entities, &["n"] as &[&str]);
            Holding { kind, table, pk, sk: "<id>", attributes, of: Of::Nobody, summary: "" }
        };
        let (clock, note, keys) = (kind("clock", "clock"), kind("note", "note#<id>"), kind("keys", "keys"));
        let own = Touches { own: true, ..Touches::default() };
        let all = Touches { writes: &[Table::Entities], ..Touches::default() };
        let held = |touched: &[(Touches, Holding)]| {
            let mut grants = Grants::default();
            touched.iter().for_each(|(touches, kind)| grants.add(touches, &[*kind]));
            let tables = Arc::new(MemoryTables::default());
            HeldTables::new(tables, Tier::Edge, Arc::new(grants), [clock, note, keys].into())
        };
        let at = |pk: &str| Key::new(pk, "1");
        for pk in ["clock", "note#1"] {
            let tables = held(&[(own, clock), (own, note)]);
            assert_eq!(tables.write(vec![put(Table::Entities, at(pk), "n")]).await, Ok(()), "{pk}");
        }
        for write in [
            put(Table::Entities, at("keys"), "n"),
            Write::update(Table::Entities, at("keys"), vec![Change::Add("n", 1)]),
            Write::check(Table::Entities, at("keys"), Condition::Missing),
            Write::delete(Table::Entities, at("keys")),
        ] {
            let tables = held(&[(own, clock), (own, note), (Touches::default(), keys)]);
            let text = r#"the tier edge declares nothing that writes the partition "keys" of entities"#;
            let answer = tables.write(vec![write.clone()]).await;
            assert_eq!(answer, Err(TableError::Invalid(text.to_owned())), "{write:?}");
        }
        let tables = held(&[(own, clock), (all, keys), (own, note)]);
        for pk in ["clock", "note#1", "keys"] {
            let answer = tables.write(vec![put(Table::Entities, at(pk), "n")]).await;
            assert_eq!(answer, Ok(()), "{pk}: who writes all of a table needs no partition");
        }
    }

    #[tokio::test]
    async fn reads_and_scans_are_held_to_tables() {
        let tables = tables();
        for (table, reads, scans) in [
            (Table::Entities, true, true),
            (Table::Users, true, false),
            (Table::Inbox, false, false),
            (Table::Relationships, false, false),
        ] {
            let name = table.name();
            let got = tables.get_many(&[(Table::Entities, key()), (table, Key::new("p", "s"))]).await;
            let queried = tables.query(Query::prefix(table, "p", "", 1)).await;
            let scanned = tables.scan(table, 0, 1, None, 1).await;
            assert_eq!((got.is_ok(), queried.is_ok(), scanned.is_ok()), (reads, reads, scans), "{name}");
            assert!(reads || refusal(&format!("reads {name}"))(&got), "{got:?}");
            assert!(reads || refusal(&format!("reads {name}"))(&queried), "{queried:?}");
            assert!(scans || refusal(&format!("scans {name}"))(&scanned), "{scanned:?}");
        }
    }

    #[tokio::test]
    async fn queues_are_held_to_what_is_pulled_and_sent() {
        let [pulled, sent, other] = ["pulled_q", "sent_q", "other_q"].map(QueueName::new);
        let grants =
            Grants { pulls: [pulled.clone()].into(), sends: [sent.clone()].into(), ..Grants::default() };
        let all = [pulled.clone(), sent.clone(), other.clone()];
        let queues = HeldQueues::new(Arc::new(MemoryQueues::new(all)), Tier::Workers, Arc::new(grants));
        let outgoing = |queue: &QueueName| Outgoing { queue: queue.clone(), body: "{}".into(), user: None };
        let receipt = || Receipt("1:1".into());
        for (queue, pulls, sends) in [(&pulled, true, true), (&sent, false, true), (&other, false, false)] {
            let answers = [
                queues.send(vec![outgoing(&pulled), outgoing(queue)]).await,
                queues.forward(vec![outgoing(&pulled), outgoing(queue)]).await,
            ];
            for answer in answers.into_iter().flatten() {
                assert!(refuses(&answer, sends, &format!("sends to {queue}")), "{answer:?}");
            }
            assert!(queues.depth(queue).await.is_ok(), "every tier may look at every depth");
            let got = queues.receive(queue, 1, Duration::ZERO, Duration::ZERO).await.map(drop);
            let rest = [
                got,
                queues.extend(queue, vec![receipt()], Duration::ZERO).await,
                queues.bury(queue, receipt(), "why").await,
                queues.dead_letters(queue, 1).await.map(drop),
                queues.redrive(queue, 1).await.map(drop),
                queues.ack(queue, vec![receipt()]).await,
            ];
            for answer in rest {
                assert!(refuses(&answer, pulls, &format!("pulls {queue}")), "{answer:?}");
            }
        }
    }

    /// Whether an answer is `Ok` where it `may` be, and otherwise the refusal of `what`.
    fn refuses(answer: &Result<(), QueueError>, may: bool, what: &str) -> bool {
        let text = format!("the tier workers declares nothing that {what}");
        match answer {
            Ok(()) => may,
            Err(QueueError::Unavailable(found)) => !may && *found == text,
            Err(_) => false,
        }
    }
}
