//! Tables by DynamoDB's rules: a transaction takes its time, and one that comes meanwhile to any of its items is
//! cancelled. DynamoDB Local never cancels any.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::lock::lock;
use soundoff_common::ports::memory::MemoryTables;
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};
use tokio::time::sleep;

const A_TRANSACTION: Duration = Duration::from_millis(10);
const A_READ: Duration = Duration::from_millis(5);

#[derive(Default)]
pub(crate) struct Overlapping {
    pub(crate) memory: MemoryTables,
    busy: Mutex<HashSet<(Table, Key)>>,
    done: AtomicU64,
    cancelled: AtomicU64,
}

impl Overlapping {
    /// How many transactions were judged, and how many were cancelled, since this was asked.
    pub(crate) fn transactions(&self) -> (u64, u64) {
        (self.done.swap(0, Ordering::Relaxed), self.cancelled.swap(0, Ordering::Relaxed))
    }

    /// Makes an item busy for this long, as if others were always faster.
    pub(crate) async fn hold(&self, item: (Table, Key), time: Duration) {
        while !self.takes(std::slice::from_ref(&item)) {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(time).await;
        lock(&self.busy).remove(&item);
    }

    /// Whether all items are free; then they are so no longer.
    fn takes(&self, items: &[(Table, Key)]) -> bool {
        let mut busy = lock(&self.busy);
        let free = !items.iter().any(|item| busy.contains(item));
        if free {
            busy.extend(items.iter().cloned());
        }
        free
    }
}

#[async_trait]
impl Tables for Overlapping {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        sleep(A_READ).await;
        self.memory.get_many(keys).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let items: Vec<_> = writes.iter().map(|write| (write.table, write.key.clone())).collect();
        if !self.takes(&items) {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
            sleep(A_TRANSACTION / 2).await;
            return Err(TableError::Conflict);
        }
        sleep(A_TRANSACTION).await;
        self.done.fetch_add(1, Ordering::Relaxed);
        let judged = self.memory.apply(writes);
        lock(&self.busy).retain(|item| !items.contains(item));
        judged
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        sleep(A_READ).await;
        self.memory.query(query).await
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
