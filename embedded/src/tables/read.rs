//! Reads, all from a snapshot of the last commit.

use std::sync::{Arc, RwLock};

use redb::{Database, ReadOnlyTable, ReadableDatabase};
use soundoff_common::lock::{read, write};
use soundoff_common::ports::tables::{Item, Key, Page, Query, TableError};

use super::apply::index;
use super::row;
use super::schema::DATA;

/// The tables as they were right after one commit.
pub(super) struct Snapshot {
    tables: [ReadOnlyTable<&'static [u8], &'static [u8]>; DATA.len()],
}

/// The newest snapshot. Taking it costs a reference count; to open a read transaction and its tables for each read
/// would cost more than the read itself.
pub(super) struct Snapshots(RwLock<Arc<Snapshot>>);

impl Snapshots {
    pub(super) fn new(database: &Database) -> Result<Self, redb::Error> {
        Ok(Self(RwLock::new(Arc::new(Snapshot::of(database)?))))
    }

    pub(super) fn renew(&self, database: &Database) -> Result<(), redb::Error> {
        let newest = Arc::new(Snapshot::of(database)?);
        *write(&self.0) = newest;
        Ok(())
    }

    pub(super) fn newest(&self) -> Arc<Snapshot> {
        read(&self.0).clone()
    }
}

fn unavailable(error: &redb::StorageError) -> TableError {
    match error {
        redb::StorageError::Corrupted(what) => TableError::Corrupt(what.clone()),
        other => TableError::Unavailable(other.to_string()),
    }
}

impl Snapshot {
    fn of(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let [a, b, c, d, e] = DATA.map(|table| transaction.open_table(table));
        Ok(Self { tables: [a?, b?, c?, d?, e?] })
    }

    pub(super) fn get(&self, table: usize, key: &[u8]) -> Result<Option<Item>, TableError> {
        let stored = self.tables[table].get(key).map_err(|e| unavailable(&e))?;
        stored.map(|value| row::decode_item(value.value())).transpose()
    }

    pub(super) fn query(&self, query: &Query) -> Result<Page, TableError> {
        let Some((low, high)) = row::range(&query.pk, &query.from, &query.to)? else {
            return Ok(Page::default());
        };
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let mut rows = self.tables[index(query.table)].range::<&[u8]>(bounds).map_err(|e| unavailable(&e))?;
        let mut page = Page { items: Vec::with_capacity(query.limit.min(64)), more: false };
        loop {
            let next = if query.descending { rows.next_back() } else { rows.next() };
            let Some(entry) = next else { return Ok(page) };
            if page.items.len() == query.limit {
                page.more = true;
                return Ok(page);
            }
            let (key, value) = entry.map_err(|e| unavailable(&e))?;
            let sk = row::split_key(key.value())?.1.to_owned();
            page.items.push((sk, row::decode_item(value.value())?));
        }
    }

    /// Items of one part of a table after a stored key. A partition's part follows from a hash of its name, so the
    /// parts are disjoint, and stay so while items are added and removed.
    pub(super) fn scan(
        &self,
        table: usize,
        segment: u32,
        segments: u32,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let rows = self.tables[table].range::<&[u8]>((from, Unbounded)).map_err(|e| unavailable(&e))?;
        let mut items = Vec::with_capacity(limit.min(1_024));
        for entry in rows {
            let (key, value) = entry.map_err(|e| unavailable(&e))?;
            if segments > 1 && crc32fast::hash(row::partition_of(key.value())) % segments != segment {
                continue;
            }
            let (pk, sk) = row::split_key(key.value())?;
            items.push((Key::new(pk, sk), row::decode_item(value.value())?));
            if items.len() == limit {
                break;
            }
        }
        Ok(items)
    }
}
