//! Tables and sessions in memory, for tests: the ports' laws without a disk, and a way to come between a handler's read and its commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::Value;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::{
    Action, Change, Condition, Item, Key, MAX_WRITES, Page, Query, Table, TableError, Tables, Write,
};
use soundoff_common::protocol::Handle;

type Rows = BTreeMap<(Table, Key), Item>;

/// Tables in memory.
#[derive(Default)]
pub(crate) struct MemoryTables {
    rows: Mutex<Rows>,
    before_write: Mutex<Option<BoxFuture<'static, ()>>>,
    reads: AtomicU64,
    writes: AtomicU64,
    distinct_keys_only: bool,
}

impl MemoryTables {
    /// Tables that refuse one key twice in a read, as DynamoDB does: handlers need no adapter that is kinder.
    pub(crate) fn with_distinct_keys_only() -> Self {
        Self { distinct_keys_only: true, ..Self::default() }
    }

    /// Runs `other` once, between the reads of whoever writes next and that write.
    pub(crate) fn before_next_write(&self, other: BoxFuture<'static, ()>) {
        *self.before_write.lock().unwrap() = Some(other);
    }

    /// Whether what was to come between has come.
    pub(crate) fn has_come_between(&self) -> bool {
        self.before_write.lock().unwrap().is_none()
    }

    /// Everything.
    pub(crate) fn all(&self) -> BTreeMap<(Table, Key), Item> {
        self.rows.lock().unwrap().clone()
    }

    /// Read calls and write calls since the last question.
    pub(crate) fn calls(&self) -> (u64, u64) {
        (self.reads.swap(0, Ordering::Relaxed), self.writes.swap(0, Ordering::Relaxed))
    }
}

fn holds(condition: &Condition, item: Option<&Item>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Exists => item.is_some(),
        Condition::Missing => item.is_none(),
        Condition::Equals(name, value) => item.and_then(|i| i.get(name)) == Some(value),
        Condition::Absent(name) => item.is_none_or(|i| i.get(name).is_none()),
        Condition::All(all) => all.iter().all(|c| holds(c, item)),
    }
}

fn change(item: &mut Item, change: Change) -> Result<(), TableError> {
    match change {
        Change::Set(name, value) => {
            item.0.insert(name.to_owned(), value);
        }
        Change::Add(name, delta) => {
            let now = item.get(name).map_or(Some(0), Value::as_i64);
            let sum = now.and_then(|n| n.checked_add(delta));
            let sum = sum.ok_or_else(|| TableError::Invalid(format!("{name} is no number to add to")))?;
            item.0.insert(name.to_owned(), sum.into());
        }
        Change::Remove(name) => {
            item.0.remove(name);
        }
    }
    Ok(())
}

fn lawful(key: &Key) -> bool {
    [&key.pk, &key.sk].iter().all(|part| (1..=1024).contains(&part.len()) && !part.contains('\0'))
}

fn apply(rows: &mut Rows, writes: Vec<Write>) -> Result<(), TableError> {
    let mut touched = HashSet::new();
    let apart = writes.iter().all(|w| lawful(&w.key) && touched.insert((w.table, w.key.clone())));
    if !apart || writes.len() > MAX_WRITES {
        return Err(TableError::Invalid(format!("{writes:?}")));
    }
    for (index, write) in writes.iter().enumerate() {
        if !holds(&write.condition, rows.get(&(write.table, write.key.clone()))) {
            return Err(TableError::ConditionFailed { index });
        }
    }
    let mut made = Vec::new();
    for Write { table, key, action, .. } in writes {
        let at = (table, key);
        match action {
            Action::Put(item) => made.push((at, Some(item))),
            Action::Update(changes) => {
                let mut item = rows.get(&at).cloned().unwrap_or_default();
                changes.into_iter().try_for_each(|c| change(&mut item, c))?;
                made.push((at, Some(item)));
            }
            Action::Delete => made.push((at, None)),
            Action::Check => {}
        }
    }
    for (at, item) in made {
        match item {
            Some(item) => rows.insert(at, item),
            None => rows.remove(&at),
        };
    }
    Ok(())
}

#[async_trait]
impl Tables for MemoryTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        if let Some((_, key)) = keys.iter().find(|(_, key)| !lawful(key)) {
            return Err(TableError::Invalid(format!("{key:?}")));
        }
        if self.distinct_keys_only && keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(TableError::Invalid(format!("a key twice in {keys:?}")));
        }
        let rows = self.rows.lock().unwrap();
        Ok(keys.iter().map(|at| rows.get(at).cloned()).collect())
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let other = self.before_write.lock().unwrap().take();
        if let Some(other) = other {
            other.await;
        }
        tokio::task::yield_now().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        apply(&mut self.rows.lock().unwrap(), writes)
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        if !(1..=1000).contains(&query.limit) || query.pk.is_empty() {
            return Err(TableError::Invalid(format!("{query:?}")));
        }
        let inside = |sk: &str| {
            let low = match &query.from {
                Bound::Included(b) => sk >= b.as_str(),
                Bound::Excluded(b) => sk > b.as_str(),
                Bound::Unbounded => true,
            };
            low && match &query.to {
                Bound::Included(b) => sk <= b.as_str(),
                Bound::Excluded(b) => sk < b.as_str(),
                Bound::Unbounded => true,
            }
        };
        let rows = self.rows.lock().unwrap();
        let start = (query.table, Key::new(query.pk.as_str(), ""));
        let partition = rows.range(start..).take_while(|((t, k), _)| *t == query.table && k.pk == query.pk);
        let mut items: Vec<_> = partition
            .filter(|((_, k), _)| inside(&k.sk))
            .map(|((_, k), i)| (k.sk.clone(), i.clone()))
            .collect();
        if query.descending {
            items.reverse();
        }
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        Ok(Page { items, more })
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        _segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        let rows = self.rows.lock().unwrap();
        let all = rows.iter().filter(|((t, k), _)| {
            segment == 0 && *t == table && after.as_ref().is_none_or(|after| k > after)
        });
        Ok(all.take(limit).map(|((_, k), i)| (k.clone(), i.clone())).collect())
    }
}

/// A session cache in memory that forgets nothing by time.
#[derive(Default)]
pub(crate) struct MemorySessions(Mutex<HashMap<Handle, Vec<Registration>>>);

#[async_trait]
impl Sessions for MemorySessions {
    async fn put_many(&self, entries: &[(Handle, Registration)], _: Duration) -> Result<(), Unavailable> {
        let mut all = self.0.lock().unwrap();
        for (handle, registration) in entries {
            all.entry(handle.clone()).or_default().push(registration.clone());
        }
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        let all = self.0.lock().unwrap();
        Ok(handles.iter().map(|handle| all.get(handle).cloned().unwrap_or_default()).collect())
    }

    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        let mut all = self.0.lock().unwrap();
        let Some(list) = all.get_mut(handle) else { return Ok(false) };
        let before = list.len();
        list.retain(|r| r != registration);
        Ok(list.len() < before)
    }
}

/// The laws that handlers lean on hold here as they hold in every adapter.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use soundoff_common::ports::tables::contract::{self, Harness};

    use super::*;

    struct Fresh;

    #[async_trait]
    impl Harness for Fresh {
        async fn open(&self) -> Arc<dyn Tables> {
            Arc::new(MemoryTables::default())
        }

        async fn reopen(&self, tables: Arc<dyn Tables>) -> Arc<dyn Tables> {
            tables
        }
    }

    #[tokio::test]
    async fn the_laws_that_handlers_lean_on_hold_here_too() {
        contract::conditions_hold_as_they_say(&Fresh).await;
        contract::changes_do_what_they_say(&Fresh).await;
        contract::transactions_are_all_or_nothing(&Fresh).await;
        contract::compare_and_set_has_one_winner(&Fresh).await;
        contract::query_orders_by_bytes(&Fresh).await;
        contract::query_bounds_and_limits(&Fresh).await;
        contract::partitions_are_apart(&Fresh).await;
        contract::get_many_answers_in_order(&Fresh).await;
    }
}
