//! Tables and queues that refuse what their tier does not declare, for debug builds: a missing grant fails a test instead of a deployment.

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
        if !self.grants.writes.contains(table) {
            return Err(self.refused(&format!("writes {}", table.name())));
        }
        let Key { pk, sk } = key;
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
        tracing::error!(tier = %self.tier, does, %queue, "not declared: name it in CAUSES, or give the row its tier");
        QueueError::Unavailable(format!("the tier {} declares nothing that {does} {queue}", self.tier))
    }

    fn may_pull(&self, queue: &QueueName) -> Result<(), QueueError> {
        if self.grants.pulls.contains(queue) { Ok(()) } else { Err(self.refused("pulls", queue)) }
    }

    /// The first queue of a batch that may not be sent to.
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
