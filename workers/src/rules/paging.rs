//! Lists: newest first by `mid`, with a cursor that stays valid whatever is added or removed meanwhile.

use std::ops::Bound;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Item, Query, Table, TableError, Tables};
use soundoff_common::{model::ids, pipeline::lists};
use ulid::Ulid;

/// The most reads for one page, where some rows must not be shown. A page that is still short after that has its
/// cursor.
const MAX_READS: u32 = 5;

/// One page of a list, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct List<T> {
    /// The items, newest first.
    items: Vec<T>,
    /// Give it as `before` for the page after this one; null at the end.
    next: Option<String>,
}

/// Which part of a list, of the sender's own.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Part {
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl Part {
    /// The part that it names.
    pub(crate) fn window(&self) -> Result<Window, Failure> {
        Window::of(self.before.as_deref(), self.limit)
    }
}

/// What part of a list a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    before: Option<Ulid>,
    limit: usize,
}

impl Window {
    /// The part that `before` and `limit` of a body name.
    pub(crate) fn of(before: Option<&str>, limit: Option<u32>) -> Result<Self, Failure> {
        let limit = lists::limit(limit)?;
        let before = match before {
            Some(text) => Some(ids::parse(text).ok_or_else(lists::bad_cursor)?),
            None => None,
        };
        Ok(Self { before, limit })
    }
}

/// A page that is being built: read, keep what may be shown, read on while it is not full.
pub(crate) struct Pages<T> {
    query: Query,
    prefix: &'static str,
    kept: Vec<T>,
    last: Option<Ulid>,
    more: bool,
    reads: u32,
}

impl<T> Pages<T> {
    /// The part `window` of all rows of a partition whose `sk` is `prefix` and an id.
    pub(crate) fn new(table: Table, pk: String, prefix: &'static str, window: Window) -> Self {
        let mut query = Query::prefix(table, pk, prefix, window.limit).newest_first();
        if prefix.is_empty() {
            // Keys are never empty, so a bound should not be.
            (query.from, query.to) = (Bound::Unbounded, Bound::Unbounded);
        }
        if let Some(before) = window.before {
            query = query.below(format!("{prefix}{before}"));
        }
        Self { query, prefix, kept: Vec::new(), last: None, more: false, reads: 0 }
    }

    /// The next rows.
    pub(crate) async fn read(&mut self, tables: &dyn Tables) -> Result<Vec<(Ulid, Item)>, TableError> {
        let mut query = self.query.clone();
        if let Some(last) = self.last {
            query = query.below(format!("{}{last}", self.prefix));
        }
        let page = tables.query(query).await?;
        self.reads += 1;
        self.more = page.more;
        let rows = page.items.into_iter().map(|(sk, item)| {
            let id = sk.strip_prefix(self.prefix).and_then(ids::parse);
            id.map(|id| (id, item)).ok_or_else(|| TableError::Corrupt(format!("not a list key: {sk}")))
        });
        rows.collect()
    }

    /// Takes the rows just read, `None` for what must not be shown. Returns whether to read on.
    pub(crate) fn keep(&mut self, rows: impl IntoIterator<Item = (Ulid, Option<T>)>) -> bool {
        for (id, item) in rows {
            if self.kept.len() == self.query.limit {
                self.more = true;
                return false;
            }
            self.last = Some(id);
            self.kept.extend(item);
        }
        self.more && self.kept.len() < self.query.limit && self.reads < MAX_READS
    }

    /// The page.
    pub(crate) fn list(self) -> List<T> {
        let next = if self.more { self.last.map(|id| id.to_string()) } else { None };
        List { items: self.kept, next }
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::tables::{Key, Write};

    use super::*;
    use soundoff_common::ports::memory::MemoryTables;

    async fn page(tables: &MemoryTables, window: Window, shown: impl Fn(u128) -> bool) -> (List<u128>, u32) {
        let mut pages = Pages::new(Table::Relationships, "p".to_owned(), "l#", window);
        loop {
            let rows = pages.read(tables).await.unwrap();
            let judged = rows.into_iter().map(|(id, _)| (id, Some(id.0).filter(|n| shown(*n))));
            if !pages.keep(judged) {
                let reads = pages.reads;
                return (pages.list(), reads);
            }
        }
    }

    #[tokio::test]
    async fn pages_join_without_gap_or_repeat_and_hidden_rows_do_not_shorten_them() {
        let tables = MemoryTables::default();
        for n in 1..=50_u128 {
            let key = Key::new("p", format!("l#{}", Ulid(n)));
            tables.write(vec![Write::put(Table::Relationships, key, Item::new())]).await.unwrap();
        }
        let neighbour = Key::new("p", "s#someone");
        tables.write(vec![Write::put(Table::Relationships, neighbour, Item::new())]).await.unwrap();
        for limit in 1..=52_u32 {
            let (mut all, mut before) = (Vec::new(), None);
            loop {
                let window = Window::of(before.as_deref(), Some(limit)).unwrap();
                let (list, _) = page(&tables, window, |n| n % 3 != 0).await;
                assert!(list.items.len() == limit as usize || list.next.is_none());
                all.extend(list.items);
                assert!(all.len() <= 50, "a list without end");
                before = list.next;
                if before.is_none() {
                    break;
                }
            }
            assert!(all.iter().copied().eq((1..=50).rev().filter(|n| n % 3 != 0)), "limit {limit}: {all:?}");
        }
        let (list, reads) = page(&tables, Window::of(None, Some(2)).unwrap(), |_| false).await;
        assert_eq!((list.items.len(), reads), (0, MAX_READS), "reading on is bounded");
        assert!(list.next.is_some());
    }

    #[test]
    fn bad_limits_and_cursors_are_refused() {
        for (before, limit) in [(None, Some(0)), (None, Some(101)), (Some(""), None), (Some("l#x"), None)] {
            assert!(Window::of(before, limit).is_err(), "{before:?} {limit:?}");
        }
        assert_eq!(Window::of(None, None).unwrap().limit, 20);
    }
}
