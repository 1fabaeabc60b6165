//! The tables behind a breaker.

use std::sync::Arc;

use async_trait::async_trait;

use super::breaker::Breaker;
use crate::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};

/// Tables that refuse at once while their engine is away.
pub struct GuardedTables {
    tables: Arc<dyn Tables>,
    breaker: Arc<Breaker>,
}

impl GuardedTables {
    /// Puts a breaker before `tables`.
    #[must_use]
    pub fn new(tables: Arc<dyn Tables>, breaker: Arc<Breaker>) -> Self {
        Self { tables, breaker }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, TableError>>) -> Result<T, TableError> {
        let absent = |error: &TableError| matches!(error, TableError::Unavailable(_));
        self.breaker.call(call, absent, TableError::Unavailable).await
    }
}

#[async_trait]
impl Tables for GuardedTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        self.call(self.tables.get_many(keys)).await
    }

    async fn get(&self, table: Table, key: Key) -> Result<Option<Item>, TableError> {
        self.call(self.tables.get(table, key)).await
    }

    fn judges_in_order(&self) -> bool {
        self.tables.judges_in_order()
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.call(self.tables.write(writes)).await
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.call(self.tables.query(query)).await
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        self.call(self.tables.scan(table, segment, segments, after, limit)).await
    }
}
