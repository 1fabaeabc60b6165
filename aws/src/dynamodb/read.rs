//! Reads, all strongly consistent.

use std::collections::HashMap;
use std::ops::Bound;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, rules};

use super::expression::Places;
use super::retry::{Fault, Pace, Partition, Twice, fault};
use super::value::{self, Attributes};
use super::{DynamoTables, retry};
use crate::prices;

/// The most keys in one request, by the engine's rule.
const BATCH: usize = 100;
/// The most requests that one call makes in parallel.
const TOGETHER: usize = 8;

/// What was found, by table and key.
type Found = HashMap<(Table, Key), Item>;

impl DynamoTables {
    pub(super) async fn get_all(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        // The engine refuses a request that names a key twice.
        let mut wanted: HashMap<&(Table, Key), usize> = HashMap::with_capacity(keys.len());
        let mut each = Vec::with_capacity(keys.len());
        for key in keys {
            rules::key(&key.1)?;
            let times = wanted.entry(key).or_default();
            if *times == 0 {
                each.push(key.clone());
            }
            *times += 1;
        }
        let mut found = match each.as_slice() {
            [] => Found::new(),
            [one] => self.get_one(one.0, &one.1).await?.map(|item| (one.clone(), item)).into_iter().collect(),
            many => {
                let batches: Vec<_> = many.chunks(BATCH).map(<[_]>::to_vec).collect();
                let batches = stream::iter(batches).map(|batch| self.batch(batch)).buffer_unordered(TOGETHER);
                batches.try_collect::<Vec<_>>().await?.into_iter().flatten().collect()
            }
        };
        Ok(keys
            .iter()
            .map(|key| match wanted.get_mut(key) {
                Some(times) if *times > 1 => {
                    *times -= 1;
                    found.get(key).cloned()
                }
                _ => found.remove(key),
            })
            .collect())
    }

    pub(super) async fn get_one(&self, table: Table, key: &Key) -> Result<Option<Item>, TableError> {
        let about = vec![Partition::of(table, &key.pk)];
        let key = value::key(key)?;
        let found = Pace::run(&self.budgets, about, Twice::IsOnce, || async {
            let request = (self.client.get_item().table_name(self.table(table)))
                .set_key(Some(key.clone()))
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = request.send().await.map_err(|e| fault("GetItem", &e))?;
            self.bill_reads(answer.consumed_capacity.as_slice());
            Ok(answer.item)
        });
        found.await?.map(value::item).transpose()
    }

    /// Asks until no key is left unprocessed.
    async fn batch(&self, keys: Vec<(Table, Key)>) -> Result<Found, TableError> {
        let mut left: HashMap<Table, Vec<Attributes>> = HashMap::new();
        for (table, key) in &keys {
            left.entry(*table).or_default().push(value::key(key)?);
        }
        let mut found = Found::with_capacity(keys.len());
        let about = keys.iter().map(|(table, key)| Partition::of(*table, &key.pk)).collect();
        let mut pace = Pace::new(&self.budgets, about);
        loop {
            let before: usize = left.values().map(Vec::len).sum();
            let fault = match self.batch_once(&left, &mut found).await {
                Ok(unprocessed) if unprocessed.is_empty() => {
                    pace.progress();
                    return Ok(found);
                }
                Ok(unprocessed) => {
                    left = unprocessed;
                    let after: usize = left.values().map(Vec::len).sum();
                    if after < before {
                        pace.progress();
                    }
                    let why = format!("dynamodb: BatchGetItem: {after} keys left unprocessed");
                    Fault::Throttled { why, part: first(&left, &keys) }
                }
                Err(fault) => fault,
            };
            pace.after(fault, Twice::IsOnce).await?;
        }
    }

    /// Makes one request; returns the keys that were left unprocessed.
    async fn batch_once(
        &self,
        keys: &HashMap<Table, Vec<Attributes>>,
        found: &mut Found,
    ) -> Result<HashMap<Table, Vec<Attributes>>, Fault> {
        let mut request =
            self.client.batch_get_item().return_consumed_capacity(ReturnConsumedCapacity::Total);
        for (table, keys) in keys {
            let keys =
                KeysAndAttributes::builder().set_keys(Some(keys.clone())).consistent_read(true).build();
            let keys = keys.map_err(|e| TableError::Invalid(format!("dynamodb: {e}")))?;
            request = request.request_items(self.table(*table), keys);
        }
        let answer = request.send().await.map_err(|e| fault("BatchGetItem", &e))?;
        self.bill_reads(answer.consumed_capacity());
        for (name, items) in answer.responses.into_iter().flatten() {
            let table = self.table_named(&name)?;
            for attributes in items {
                let key = value::key_of(&attributes)?;
                found.insert((table, key), value::item(attributes)?);
            }
        }
        let mut left = HashMap::new();
        for (name, keys) in answer.unprocessed_keys.into_iter().flatten() {
            if !keys.keys.is_empty() {
                left.insert(self.table_named(&name)?, keys.keys);
            }
        }
        Ok(left)
    }

    pub(super) async fn range(&self, query: &Query) -> Result<Page, TableError> {
        rules::query(query)?;
        if is_empty(&query.from, &query.to) {
            return Ok(Page::default());
        }
        let mut places = Places::default();
        let condition = places.range(&query.pk, lowest(&query.from), highest(&query.to));
        let inside = (query.from.as_ref().map(String::as_str), query.to.as_ref().map(String::as_str));
        // One more item shows whether there are more. Excluded bounds are read too, and left out.
        let ends =
            [&query.from, &query.to].into_iter().filter(|end| matches!(end, Bound::Excluded(_))).count();
        let mut page = Page::default();
        let mut after = None;
        loop {
            let wanted = query.limit + 1 - page.items.len() + ends;
            let about = vec![Partition::of(query.table, &query.pk)];
            let answer = Pace::run(&self.budgets, about, Twice::IsOnce, || async {
                self.range_once(query, &condition, &places, wanted, after.clone()).await
            });
            let answer = answer.await?;
            for attributes in answer.items.unwrap_or_default() {
                let sk = value::key_of(&attributes)?.sk;
                if !std::ops::RangeBounds::<str>::contains(&inside, sk.as_str()) {
                    continue;
                }
                if page.items.len() == query.limit {
                    page.more = true;
                    return Ok(page);
                }
                page.items.push((sk, value::item(attributes)?));
            }
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(page);
            }
        }
    }

    async fn range_once(
        &self,
        query: &Query,
        condition: &str,
        places: &Places,
        limit: usize,
        after: Option<Attributes>,
    ) -> Result<QueryOutput, Fault> {
        let request = (self.client.query().table_name(self.table(query.table)))
            .key_condition_expression(condition)
            .set_expression_attribute_names(places.names())
            .set_expression_attribute_values(places.values())
            .scan_index_forward(!query.descending)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(|e| fault("Query", &e))?;
        self.bill_reads(answer.consumed_capacity.as_slice());
        Ok(answer)
    }

    pub(super) async fn part(
        &self,
        table: Table,
        (segment, segments): (u32, u32),
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        rules::scan(segment, segments, limit)?;
        let whole = |n: u32| i32::try_from(n).map_err(|_| TableError::Invalid(format!("{n} segments")));
        let (segment, segments) = (whole(segment)?, whole(segments)?);
        let mut after = after.as_ref().map(value::key).transpose()?;
        loop {
            let answer = Pace::run(&self.budgets, Vec::new(), Twice::IsOnce, || async {
                let request = (self.client.scan().table_name(self.table(table)))
                    .segment(segment)
                    .total_segments(segments)
                    .consistent_read(true)
                    .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(after.clone())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let answer = request.send().await.map_err(|e| retry::fault("Scan", &e))?;
                self.bill_reads(answer.consumed_capacity.as_slice());
                Ok(answer)
            });
            let answer = answer.await?;
            let items = answer.items.unwrap_or_default().into_iter();
            let items: Result<Vec<_>, TableError> =
                items.map(|attributes| Ok((value::key_of(&attributes)?, value::item(attributes)?))).collect();
            let items = items?;
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            // The caller takes an empty page for the end, but the engine may have more.
            if !items.is_empty() || after.is_none() {
                return Ok(items);
            }
        }
    }

    fn bill_reads<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.meter.bill(prices::DYNAMODB_READ, units);
    }
}

/// The place among `keys` of one that was left.
fn first(left: &HashMap<Table, Vec<Attributes>>, keys: &[(Table, Key)]) -> Option<usize> {
    let (table, attributes) = left.iter().find_map(|(table, keys)| Some((*table, keys.first()?)))?;
    let key = value::key_of(attributes).ok()?;
    keys.iter().position(|(of, one)| (*of, one) == (table, &key))
}

/// Whether no text is between the bounds. Engines refuse a range whose bounds are reversed, and no key is empty.
fn is_empty(from: &Bound<String>, to: &Bound<String>) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match (from, to) {
        (_, Included(to) | Excluded(to)) if to.is_empty() => true,
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(from), Included(to)) => from > to,
        (Included(from) | Excluded(from), Included(to) | Excluded(to)) => from >= to,
    }
}

/// A lower bound that the engine accepts: no higher, and neither empty nor longer than a key.
fn lowest(from: &Bound<String>) -> Option<String> {
    let (Bound::Included(text) | Bound::Excluded(text)) = from else { return None };
    (!text.is_empty()).then(|| text[..text.floor_char_boundary(rules::MAX_KEY_BYTES)].to_owned())
}

/// An upper bound that the engine accepts: no lower, as the last character sorts after every other. `None` where only
/// that character is left.
fn highest(to: &Bound<String>) -> Option<String> {
    let (Bound::Included(text) | Bound::Excluded(text)) = to else { return None };
    if text.len() <= rules::MAX_KEY_BYTES {
        return Some(text.clone());
    }
    let last = '\u{10FFFF}';
    let (kept, rest) = text.split_at(text.floor_char_boundary(rules::MAX_KEY_BYTES - last.len_utf8()));
    (!rest.starts_with(last)).then(|| format!("{kept}{last}"))
}

#[cfg(test)]
mod tests {
    use Bound::{Excluded, Included, Unbounded};

    use super::*;

    #[test]
    fn bounds_beyond_a_key_are_widened_to_what_the_engine_takes() {
        let long = "é".repeat(600);
        let low = lowest(&Excluded(long.clone())).unwrap();
        assert!(low.len() <= rules::MAX_KEY_BYTES && low <= long);
        let high = highest(&Excluded(long.clone())).unwrap();
        assert!(high.len() <= rules::MAX_KEY_BYTES && high > long);
        let last = "\u{10FFFF}".repeat(300);
        assert_eq!(highest(&Included(last)), None, "what is between is read and then left out");
        assert_eq!(highest(&Included("short".to_owned())).as_deref(), Some("short"));
        assert_eq!((lowest(&Included(String::new())), highest(&Unbounded)), (None, None));
    }

    #[test]
    fn ranges_that_hold_nothing_are_known() {
        let text = |text: &str| text.to_owned();
        assert!(is_empty(&Included(text("b")), &Included(text("a"))));
        assert!(is_empty(&Excluded(text("a")), &Included(text("a"))));
        assert!(is_empty(&Unbounded, &Excluded(text(""))));
        assert!(!is_empty(&Included(text("a")), &Included(text("a"))));
        assert!(!is_empty(&Included(text("a")), &Unbounded));
    }
}
