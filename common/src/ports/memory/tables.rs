use std::collections::{BTreeMap, HashSet};
use std::ops::{Bound, RangeBounds};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::lock::lock;
use crate::ports::tables::{Action, Change, Item, Key, Page, Query, Table, TableError, Tables, Write, rules};

type Rows = BTreeMap<(Table, Key), Item>;

/// Tables in memory. Every call yields once, so that callers on one thread interleave as they do on a slow engine.
#[derive(Default)]
pub struct MemoryTables {
    rows: Mutex<Rows>,
    before_write: Mutex<Option<BoxFuture<'static, ()>>>,
    reads: AtomicU64,
    writes: AtomicU64,
    distinct_keys_only: bool,
}

impl MemoryTables {
    /// Tables that refuse one key twice in a read, as DynamoDB does, so that no caller depends on an adapter that
    /// allows it.
    #[must_use]
    pub fn with_distinct_keys_only() -> Self {
        Self { distinct_keys_only: true, ..Self::default() }
    }

    /// Runs `other` once, before the next write: between the reads of its caller and the write itself.
    pub fn before_next_write(&self, other: BoxFuture<'static, ()>) {
        *lock(&self.before_write) = Some(other);
    }

    /// Whether the future of [`Self::before_next_write`] has been run.
    pub fn has_come_between(&self) -> bool {
        lock(&self.before_write).is_none()
    }

    /// All items.
    pub fn all(&self) -> BTreeMap<(Table, Key), Item> {
        lock(&self.rows).clone()
    }

    /// One item, without being counted as a call.
    pub fn peek(&self, table: Table, key: Key) -> Option<Item> {
        lock(&self.rows).get(&(table, key)).cloned()
    }

    /// One transaction at once, without being counted as a call.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn apply(&self, writes: Vec<Write>) -> Result<(), TableError> {
        apply(&mut lock(&self.rows), writes)
    }

    /// The numbers of read calls and write calls since the last time this was asked.
    pub fn calls(&self) -> (u64, u64) {
        (self.reads.swap(0, Ordering::Relaxed), self.writes.swap(0, Ordering::Relaxed))
    }
}

fn add(item: &Item, name: &str, delta: i64) -> Result<Value, TableError> {
    let invalid = || TableError::Invalid(format!("{delta} cannot be added to {name}"));
    let before = match item.get(name) {
        None => 0,
        Some(value) => {
            let signed = value.as_i64().map(i128::from);
            signed.or(value.as_u64().map(i128::from)).ok_or_else(invalid)?
        }
    };
    let sum = before + i128::from(delta);
    let signed = i64::try_from(sum).map(Value::from);
    signed.or_else(|_| u64::try_from(sum).map(Value::from)).map_err(|_| invalid())
}

fn change(item: &mut Item, change: Change) -> Result<(), TableError> {
    match change {
        Change::Set(name, value) => drop(item.0.insert(name.to_owned(), value)),
        Change::Add(name, delta) => {
            let sum = add(item, name, delta)?;
            item.0.insert(name.to_owned(), sum);
        }
        Change::Remove(name) => drop(item.0.remove(name)),
    }
    Ok(())
}

fn sized(item: Item) -> Result<Item, TableError> {
    let bytes = serde_json::to_vec(&item).map_err(|error| TableError::Invalid(error.to_string()))?;
    rules::size(bytes.len())?;
    Ok(item)
}

fn apply(rows: &mut Rows, writes: Vec<Write>) -> Result<(), TableError> {
    rules::transaction(&writes)?;
    writes.iter().try_for_each(|write| rules::key(&write.key))?;
    let holds = |write: &Write| write.condition.holds(rows.get(&(write.table, write.key.clone())));
    if let Some(index) = writes.iter().position(|write| !holds(write)) {
        return Err(TableError::ConditionFailed { index });
    }
    let mut made = Vec::with_capacity(writes.len());
    for Write { table, key, action, .. } in writes {
        let at = (table, key);
        match action {
            Action::Put(item) => made.push((at, Some(sized(item)?))),
            Action::Update(changes) => {
                let mut item = rows.get(&at).cloned().unwrap_or_default();
                changes.into_iter().try_for_each(|c| change(&mut item, c))?;
                made.push((at, Some(sized(item)?)));
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
        keys.iter().try_for_each(|(_, key)| rules::key(key))?;
        if self.distinct_keys_only && keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(TableError::Invalid(format!("a key twice in {keys:?}")));
        }
        let rows = lock(&self.rows);
        Ok(keys.iter().map(|at| rows.get(at).cloned()).collect())
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let other = lock(&self.before_write).take();
        if let Some(other) = other {
            other.await;
        }
        tokio::task::yield_now().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.apply(writes)
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        rules::query(&query)?;
        let range: (Bound<&String>, Bound<&String>) = (query.from.as_ref(), query.to.as_ref());
        let rows = lock(&self.rows);
        let start = (query.table, Key::new(query.pk.as_str(), ""));
        let partition = rows.range(start..).take_while(|((t, k), _)| *t == query.table && k.pk == query.pk);
        let mut items: Vec<_> = partition
            .filter(|((_, key), _)| RangeBounds::<String>::contains(&range, &key.sk))
            .map(|((_, key), item)| (key.sk.clone(), item.clone()))
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
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        tokio::task::yield_now().await;
        rules::scan(segment, segments, limit)?;
        if segment != 0 {
            return Ok(Vec::new()); // All items are in the first segment.
        }
        let rows = lock(&self.rows);
        let from = match after {
            Some(after) => Bound::Excluded((table, after)),
            None => Bound::Included((table, Key::new("", ""))),
        };
        let all = rows.range((from, Bound::Unbounded)).take_while(|((of, _), _)| *of == table);
        Ok(all.take(limit).map(|((_, key), item)| (key.clone(), item.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::tables::contract::{self, Harness};

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
    async fn keeps_the_laws_of_tables() {
        contract::survives_reopening(&Fresh).await;
        contract::transactions_are_all_or_nothing(&Fresh).await;
        contract::conditions_hold_as_they_say(&Fresh).await;
        contract::changes_do_what_they_say(&Fresh).await;
        contract::invalid_writes_change_nothing(&Fresh).await;
        contract::unexpired_items_stay(&Fresh).await;
        contract::handed_over_writes_are_judged_in_order(&Fresh).await;
        contract::get_many_answers_in_order(&Fresh).await;
        contract::query_orders_by_bytes(&Fresh).await;
        contract::query_bounds_and_limits(&Fresh).await;
        contract::partitions_are_apart(&Fresh).await;
        contract::reads_refuse_invalid_calls(&Fresh).await;
        for seed in [1, 20_261_122] {
            contract::random_operations_agree_with_a_model(&Fresh, seed).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_laws_of_tables_when_many_call() {
        contract::increments_add_up(&Fresh).await;
        contract::compare_and_set_has_one_winner(&Fresh).await;
        contract::writes_are_seen_at_once(&Fresh).await;
        contract::scan_answers_everything_once(&Fresh).await;
    }

    #[tokio::test]
    async fn refuses_one_key_twice_where_asked_to() {
        let tables = MemoryTables::with_distinct_keys_only();
        let twice = [(Table::Users, Key::new("p", "s")), (Table::Users, Key::new("p", "s"))];
        assert!(matches!(tables.get_many(&twice).await, Err(TableError::Invalid(_))));
        assert_eq!(tables.get_many(&twice[..1]).await, Ok(vec![None]));
    }
}
