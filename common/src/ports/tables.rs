//! Items under a partition and a range key: DynamoDB's model, no more than it can do.

use std::ops::Bound;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The suite that every adapter of [`Tables`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod rules;

/// Every table. `docs/data-model.md` lists their keys and access patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Accounts, and nothing else: they are scanned.
    Users,
    /// Posts, comments, direct messages, media; and of the User service: sign-ins, identities, codes, nonces, exchanges
    /// and token keys.
    Entities,
    /// Who relates to whom: the states and lists of follows, likes and blocks, and affinities.
    Relationships,
    /// Durable pushes of each user, and the cursor of each of their devices.
    Inbox,
    /// What each message with an effect did, so that its repetition does nothing.
    Dedupe,
}

impl Table {
    /// All of them, for adapters that must create each.
    pub const ALL: [Table; 5] =
        [Table::Users, Table::Entities, Table::Relationships, Table::Inbox, Table::Dedupe];

    /// The name, as in the data model.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Users => "users",
            Table::Entities => "entities",
            Table::Relationships => "relationships",
            Table::Inbox => "inbox",
            Table::Dedupe => "dedupe",
        }
    }
}

/// The attribute that says when an item may be removed: seconds since 1970.
///
/// An engine removes it at some time after that; a reader that cares must look at the value itself.
pub const EXPIRES: &str = "expires";

/// The key of an item: partition `pk`, and `sk` within it, ordered by bytes. Neither is empty or holds a NUL; at most
/// 1,024 bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The partition.
    pub pk: String,
    /// The range key.
    pub sk: String,
}

impl Key {
    /// A key of its two parts.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }
}

/// An item's attributes: text, integers, booleans, and JSON below them. At most 400 KB, as in DynamoDB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Item(pub serde_json::Map<String, Value>);

impl Item {
    /// An empty item.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The item of anything that serialises to a JSON object.
    ///
    /// # Panics
    /// If it does not: only our own types come here.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Object(map)) => Self(map),
            other => panic!("an item must be a JSON object, not {other:?}"),
        }
    }

    /// The same item with one more attribute.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.0.insert(attribute.to_owned(), value.into());
        self
    }

    /// An attribute, if it is there.
    #[must_use]
    pub fn get(&self, attribute: &str) -> Option<&Value> {
        self.0.get(attribute)
    }

    /// A text attribute.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.get(attribute).and_then(Value::as_str)
    }

    /// A whole, non-negative number.
    #[must_use]
    pub fn number(&self, attribute: &str) -> Option<u64> {
        self.get(attribute).and_then(Value::as_u64)
    }

    /// Whether the attribute is `true`.
    #[must_use]
    pub fn flag(&self, attribute: &str) -> bool {
        self.get(attribute).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The item as one of our types.
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when it does not fit: we wrote it, so the corruption is ours.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, TableError> {
        serde_json::from_value(Value::Object(self.0)).map_err(|e| TableError::Corrupt(e.to_string()))
    }
}

/// What must hold of the item at the key for a write to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The item is there.
    Exists,
    /// The item is not there.
    Missing,
    /// The attribute is there and equals the value. False when the item is missing.
    Equals(&'static str, Value),
    /// The attribute is not there. True when the item is missing.
    Absent(&'static str),
    /// The attribute is not there, or a whole number less than this. True when the item is missing.
    Below(&'static str, u64),
    /// All of these hold.
    All(Vec<Condition>),
}

impl Condition {
    /// Whether it holds of an item, or of none.
    #[must_use]
    pub fn holds(&self, item: Option<&Item>) -> bool {
        match self {
            Condition::Always => true,
            Condition::Exists => item.is_some(),
            Condition::Missing => item.is_none(),
            Condition::Equals(attribute, value) => item.and_then(|item| item.get(attribute)) == Some(value),
            Condition::Absent(attribute) => item.is_none_or(|item| item.get(attribute).is_none()),
            Condition::Below(attribute, most) => match item.and_then(|item| item.get(attribute)) {
                None => true,
                Some(value) => value.as_u64().map_or(value.is_i64(), |number| number < *most),
            },
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(item)),
        }
    }
}

/// One attribute's change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Sets it.
    Set(&'static str, Value),
    /// Adds to a whole number; an absent attribute counts as 0.
    Add(&'static str, i64),
    /// Removes it.
    Remove(&'static str),
}

impl Change {
    /// The attribute that it changes.
    #[must_use]
    pub fn attribute(&self) -> &'static str {
        match self {
            Change::Set(name, _) | Change::Add(name, _) | Change::Remove(name) => name,
        }
    }
}

/// What a write does when its condition holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Replaces the whole item.
    Put(Item),
    /// Changes attributes; an item that is not there is created.
    Update(Vec<Change>),
    /// Removes the item, if there is one.
    Delete,
    /// Nothing: the condition is all that counts.
    Check,
}

/// One write under a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The table.
    pub table: Table,
    /// The item.
    pub key: Key,
    /// What happens.
    pub action: Action,
    /// What must hold.
    pub condition: Condition,
}

impl Write {
    /// Puts an item and replaces one that was there.
    #[must_use]
    pub fn put(table: Table, key: Key, item: Item) -> Self {
        Self { table, key, action: Action::Put(item), condition: Condition::Always }
    }

    /// Changes an item's attributes.
    #[must_use]
    pub fn update(table: Table, key: Key, changes: Vec<Change>) -> Self {
        Self { table, key, action: Action::Update(changes), condition: Condition::Always }
    }

    /// Removes an item.
    #[must_use]
    pub fn delete(table: Table, key: Key) -> Self {
        Self { table, key, action: Action::Delete, condition: Condition::Always }
    }

    /// Only checks a condition.
    #[must_use]
    pub fn check(table: Table, key: Key, condition: Condition) -> Self {
        Self { table, key, action: Action::Check, condition }
    }

    /// The same write under a condition.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// The most writes in one transaction, as in DynamoDB.
pub const MAX_WRITES: usize = 100;

/// A range of one partition, in order of `sk`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The table.
    pub table: Table,
    /// The partition.
    pub pk: String,
    /// The lowest `sk`.
    pub from: Bound<String>,
    /// The highest `sk`.
    pub to: Bound<String>,
    /// Highest `sk` first.
    pub descending: bool,
    /// The most items, 1 to 1,000.
    pub limit: usize,
}

impl Query {
    /// All items of a partition whose `sk` starts with `prefix`, in rising order.
    #[must_use]
    pub fn prefix(table: Table, pk: impl Into<String>, prefix: &str, limit: usize) -> Self {
        // U+10FFFF sorts after every text that can follow the prefix, as UTF-8 orders bytes like code points.
        let end = format!("{prefix}\u{10FFFF}");
        let (from, to) = (Bound::Included(prefix.to_owned()), Bound::Excluded(end));
        Self { table, pk: pk.into(), from, to, descending: false, limit }
    }

    /// The same range, highest first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Only items below `sk`.
    #[must_use]
    pub fn below(mut self, sk: impl Into<String>) -> Self {
        self.to = Bound::Excluded(sk.into());
        self
    }

    /// Only items above `sk`.
    #[must_use]
    pub fn above(mut self, sk: impl Into<String>) -> Self {
        self.from = Bound::Excluded(sk.into());
        self
    }
}

/// Some items in order, and whether the range holds more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// `sk` and item.
    pub items: Vec<(String, Item)>,
    /// The limit was reached and the range goes on.
    pub more: bool,
}

/// Why a table call failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    /// The condition of the write at this index did not hold; nothing was written.
    #[error("the condition of write {index} does not hold")]
    ConditionFailed {
        /// The first write whose condition failed.
        index: usize,
    },
    /// Another transaction was at the same items; nothing was written, try again.
    #[error("another transaction was at the same items")]
    Conflict,
    /// The call breaks the port's rules: too many writes, two on one item, a bad key.
    #[error("not a valid call: {0}")]
    Invalid(String),
    /// What is stored does not fit our types.
    #[error("corrupt item: {0}")]
    Corrupt(String),
    /// The disk of the tables has no room; nothing was written, and reads go on.
    #[error("the disk of the tables is full; retry when there is room")]
    NoRoom,
    /// The engine did not serve the call.
    #[error("the tables are unavailable: {0}")]
    Unavailable(String),
}

/// Tables.
///
/// Laws, each in the contract suite:
/// 1. `write` does all of its writes or none, each under its condition, and is durable once `Ok`.
/// 2. Conditions are judged against the state before the call, in one step with the writes: of two writers that expect
///    the same state, one fails.
/// 3. A read that starts after a write has returned sees it.
/// 4. At most [`MAX_WRITES`] writes in a call and one for each item, valid keys, items of at most 400 KB, and sums of
///    whole numbers that fit 64 bits; anything else is [`TableError::Invalid`] and changes nothing. A call that is
///    wrong in two ways is refused for one of them.
/// 5. `query` returns items in order of `sk` by bytes, never another partition's items.
/// 6. `scan` over all segments and pages returns every item that was there all the time exactly once.
/// 7. Where `judges_in_order`, writes are judged in the order in which they were handed over, each against the state
///    that those before it leave.
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// Items by key: one result for each key, in order. Any number of keys.
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError>;

    /// One item.
    async fn get(&self, table: Table, key: Key) -> Result<Option<Item>, TableError> {
        Ok(self.get_many(&[(table, key)]).await?.pop().flatten())
    }

    /// Whether transactions of this process are judged in the order in which their futures were first polled, each
    /// against the state that those before it leave. Callers may then build on a write that has not returned yet.
    fn judges_in_order(&self) -> bool {
        false
    }

    /// One transaction.
    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError>;

    /// A range of one partition.
    async fn query(&self, query: Query) -> Result<Page, TableError>;

    /// One page of one of `segments` disjoint parts of a table; `after` is the last page's last key. Only an empty page
    /// is the end: an engine may return fewer than `limit` before it.
    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError>;
}
