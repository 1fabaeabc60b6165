use std::collections::BTreeMap;
use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::super::{
    Action, Change, Condition, Item, Key, MAX_WRITES, Page, Query, Table, TableError, Tables, Write,
};
use super::{Harness, partition};

/// The simplest tables that keep all laws, without an engine.
#[derive(Default)]
struct Model(BTreeMap<(Table, Key), Item>);

impl Model {
    /// Returns every valid refusal: a call that is wrong in two ways may be refused for either.
    fn write(&mut self, writes: &[Write]) -> Result<(), Vec<TableError>> {
        assert!(writes.len() <= MAX_WRITES);
        let mut after = self.0.clone();
        let (mut failed, mut invalid) = (None, None);
        for (index, write) in writes.iter().enumerate() {
            let at = (write.table, write.key.clone());
            if !holds(&write.condition, self.0.get(&at)) {
                failed = failed.or(Some(TableError::ConditionFailed { index }));
            }
            match &write.action {
                Action::Put(item) => drop(after.insert(at, item.clone())),
                Action::Delete => drop(after.remove(&at)),
                Action::Check => {}
                Action::Update(changes) => match changed(self.0.get(&at), changes) {
                    Some(item) => drop(after.insert(at, item)),
                    None => invalid = Some(TableError::Invalid(format!("write {index}"))),
                },
            }
        }
        let refusals: Vec<_> = failed.into_iter().chain(invalid).collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        self.0 = after;
        Ok(())
    }

    fn query(&self, query: &Query) -> Page {
        let inside = |sk: &String| {
            let low = match &query.from {
                Bound::Included(from) => sk >= from,
                Bound::Excluded(from) => sk > from,
                Bound::Unbounded => true,
            };
            low && match &query.to {
                Bound::Included(to) => sk <= to,
                Bound::Excluded(to) => sk < to,
                Bound::Unbounded => true,
            }
        };
        let mut items: Vec<_> = (self.0.iter())
            .filter(|((table, key), _)| *table == query.table && key.pk == query.pk && inside(&key.sk))
            .map(|((_, key), item)| (key.sk.clone(), item.clone()))
            .collect();
        if query.descending {
            items.reverse();
        }
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        Page { items, more }
    }
}

fn holds(condition: &Condition, item: Option<&Item>) -> bool {
    let attribute = |name: &str| item.and_then(|item| item.get(name));
    match condition {
        Condition::Always => true,
        Condition::Exists => item.is_some(),
        Condition::Missing => item.is_none(),
        Condition::Equals(name, value) => attribute(name) == Some(value),
        Condition::Absent(name) => attribute(name).is_none(),
        Condition::Below(name, most) => {
            let known = |value: &serde_json::Value| value.as_i64().is_some_and(|n| n < *most as i64);
            attribute(name).is_none_or(known)
        }
        Condition::All(all) => all.iter().all(|condition| holds(condition, item)),
    }
}

fn changed(item: Option<&Item>, changes: &[Change]) -> Option<Item> {
    let mut item = item.cloned().unwrap_or_default();
    for change in changes {
        match change {
            Change::Set(name, value) => drop(item.0.insert((*name).to_owned(), value.clone())),
            Change::Remove(name) => drop(item.0.remove(*name)),
            Change::Add(name, delta) => {
                let before = item.get(name).map_or(Some(0), Value::as_i64)?;
                item.0.insert((*name).to_owned(), json!(before + delta));
            }
        }
    }
    Some(item)
}

fn same_kind(one: &TableError, other: &TableError) -> bool {
    match (one, other) {
        (TableError::Invalid(_), TableError::Invalid(_)) => true,
        (one, other) => one == other,
    }
}

/// What a random test draws from: few keys, so that operations meet.
struct Draw {
    random: StdRng,
    partitions: Vec<String>,
}

impl Draw {
    fn key(&mut self) -> (Table, Key) {
        let table = [Table::Entities, Table::Inbox][self.random.random_range(0..2)];
        let pk = self.random.random_range(0..self.partitions.len());
        (table, Key::new(self.partitions[pk].clone(), self.sk()))
    }

    fn sk(&mut self) -> String {
        let letters = ["a", "B", "0", "~", "é", "#"];
        let length = self.random.random_range(1..=2);
        (0..length).map(|_| letters[self.random.random_range(0..letters.len())]).collect()
    }

    fn value(&mut self) -> Value {
        match self.random.random_range(0..4) {
            0 => json!("text"),
            1 => json!(self.random.random::<bool>()),
            _ => json!(self.random.random_range(0..3)),
        }
    }

    fn attribute(&mut self) -> &'static str {
        ["n", "m", "t"][self.random.random_range(0..3)]
    }

    fn condition(&mut self, depth: u32) -> Condition {
        match self.random.random_range(0..10) {
            0 => Condition::Exists,
            1 => Condition::Missing,
            2 => Condition::Equals(self.attribute(), self.value()),
            3 => Condition::Absent(self.attribute()),
            4 => Condition::Below(self.attribute(), self.random.random_range(0..4)),
            5 if depth > 0 => Condition::All(vec![self.condition(depth - 1), self.condition(depth - 1)]),
            _ => Condition::Always,
        }
    }

    fn action(&mut self) -> Action {
        match self.random.random_range(0..8) {
            0 => Action::Delete,
            1 => Action::Check,
            2..5 => Action::Put(Item::new().with(self.attribute(), self.value()).with("n", 1)),
            _ => {
                let changes = [
                    Change::Add("n", self.random.random_range(-3..3)),
                    Change::Set(self.attribute(), self.value()),
                    Change::Remove(self.attribute()),
                ];
                // One change for each attribute: engines refuse two.
                let change = changes.into_iter().nth(self.random.random_range(0..3)).expect("one of three");
                Action::Update(vec![change])
            }
        }
    }

    fn writes(&mut self) -> Vec<Write> {
        let count = self.random.random_range(1..=4);
        let mut writes: Vec<Write> = Vec::new();
        for _ in 0..count {
            let (table, key) = self.key();
            if writes.iter().all(|write| (write.table, &write.key) != (table, &key)) {
                let (action, condition) = (self.action(), self.condition(2));
                writes.push(Write { table, key, action, condition });
            }
        }
        writes
    }

    fn bound(&mut self) -> Bound<String> {
        match self.random.random_range(0..3) {
            0 => Bound::Included(self.sk()),
            1 => Bound::Excluded(self.sk()),
            _ => Bound::Unbounded,
        }
    }

    fn query(&mut self) -> Query {
        let (table, Key { pk, .. }) = self.key();
        let (from, to) = (self.bound(), self.bound());
        Query {
            table,
            pk,
            from,
            to,
            descending: self.random.random(),
            limit: self.random.random_range(1..20),
        }
    }
}

/// All laws together: 5,000 random operations give the results of a plain sorted map.
///
/// # Panics
/// When a law is broken; `seed` is in the message.
pub async fn random_operations_agree_with_a_model(harness: &impl Harness, seed: u64) {
    let tables = harness.open().await;
    let base = partition("model");
    let partitions = ["", "a", "b"].map(|end| format!("{base}{end}")).to_vec();
    let mut draw = Draw { random: StdRng::seed_from_u64(seed), partitions };
    let mut model = Model::default();
    let (mut written, mut refused) = (0, 0);
    for step in 0..5_000 {
        match draw.random.random_range(0..10) {
            0..6 => {
                let writes = draw.writes();
                let expected = model.write(&writes);
                let answer = tables.write(writes.clone()).await;
                let alike = match (&answer, &expected) {
                    (Ok(()), Ok(())) => true,
                    (Err(error), Err(valid)) => valid.iter().any(|valid| same_kind(error, valid)),
                    _ => false,
                };
                assert!(alike, "seed {seed}, step {step}: {writes:?}: {answer:?}, and by law {expected:?}");
                if answer.is_ok() { written += 1 } else { refused += 1 }
            }
            6..8 => {
                let keys: Vec<_> = (0..5).map(|_| draw.key()).collect();
                let expected: Vec<_> = keys.iter().map(|key| model.0.get(key).cloned()).collect();
                let answer = tables.get_many(&keys).await;
                assert_eq!(answer, Ok(expected), "seed {seed}, step {step}: law 3: {keys:?}");
            }
            _ => {
                let query = draw.query();
                let answer = tables.query(query.clone()).await;
                let expected = Ok(model.query(&query));
                assert_eq!(answer, expected, "seed {seed}, step {step}: law 5: {query:?}");
            }
        }
    }
    assert!(written > 500 && refused > 500, "the draw had both: {written} written, {refused} refused");
    for table in Table::ALL {
        let found = scan_of(&*tables, table, &base).await;
        let expected: BTreeMap<_, _> = model
            .0
            .iter()
            .filter(|((t, _), _)| *t == table)
            .map(|((_, k), i)| (k.clone(), i.clone()))
            .collect();
        assert_eq!(found, expected, "seed {seed}: law 6: the scan of {table:?} answers all that is there");
    }
}

async fn scan_of(tables: &dyn Tables, table: Table, base: &str) -> BTreeMap<Key, Item> {
    let mut found = BTreeMap::new();
    for segment in 0..3 {
        let mut after = None;
        loop {
            let page = tables.scan(table, segment, 3, after.clone(), 50).await.expect("law 6: a scan is Ok");
            let again = after.is_some_and(|after| page.iter().any(|(key, _)| *key == after));
            assert!(!again, "law 6: a page goes on after the last one's end, not at it");
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.into_iter().filter(|(key, _)| key.pk.starts_with(base)));
        }
    }
    found
}
