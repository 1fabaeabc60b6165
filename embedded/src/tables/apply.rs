//! Checks and applies one transaction, inside a store transaction that it shares with others.

use redb::{ReadableTable, StorageError, WriteTransaction};
use serde_json::Value;
use soundoff_common::ports::tables::{Action, Change, Condition, Item, Table, TableError, Write, rules};

use super::row;
use super::schema::{DATA, EXPIRY};

/// A write with its key and item already encoded: the caller's thread does that, not the one writer.
#[derive(Debug)]
pub(super) struct Prepared {
    table: usize,
    key: Vec<u8>,
    action: PreparedAction,
    condition: Condition,
}

#[derive(Debug)]
enum PreparedAction {
    Put(Vec<u8>),
    Update(Vec<Change>),
    Delete,
    Check,
}

/// Checks everything that can be checked without the store.
pub(super) fn prepare(writes: Vec<Write>) -> Result<Vec<Prepared>, TableError> {
    rules::transaction(&writes)?;
    let mut prepared = Vec::with_capacity(writes.len());
    for Write { table, key, action, condition } in writes {
        let action = match action {
            Action::Put(item) => PreparedAction::Put(row::encode_item(&item)?),
            Action::Update(changes) => PreparedAction::Update(changes),
            Action::Delete => PreparedAction::Delete,
            Action::Check => PreparedAction::Check,
        };
        prepared.push(Prepared { table: index(table), key: row::encode_key(&key)?, action, condition });
    }
    Ok(prepared)
}

/// The place of a table in [`DATA`].
pub(super) fn index(table: Table) -> usize {
    match table {
        Table::Users => 0,
        Table::Entities => 1,
        Table::Relationships => 2,
        Table::Inbox => 3,
        Table::Dedupe => 4,
    }
}

type StoreTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables of one store transaction, each opened when first needed: opening and closing one costs as much as a
/// write.
pub(super) struct Open<'t> {
    transaction: &'t WriteTransaction,
    data: [Option<StoreTable<'t>>; DATA.len()],
    expiry: Option<redb::Table<'t, &'static [u8], ()>>,
    /// Whether there is anything to commit.
    pub(super) changed: bool,
}

/// What went wrong inside a batch. Only a failure of the store concerns the batch's other transactions.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(TableError),
    Store(redb::Error),
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Refused(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Store(error.into())
    }
}

impl From<redb::TableError> for Failure {
    fn from(error: redb::TableError) -> Self {
        Self::Store(error.into())
    }
}

enum Effect {
    Put(Vec<u8>),
    Delete,
    Nothing,
}

impl<'t> Open<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, data: [const { None }; DATA.len()], expiry: None, changed: false }
    }

    fn table(&mut self, index: usize) -> Result<&mut StoreTable<'t>, Failure> {
        if self.data[index].is_none() {
            self.data[index] = Some(self.transaction.open_table(DATA[index])?);
        }
        Ok(self.data[index].as_mut().expect("opened above"))
    }

    fn expiry(&mut self) -> Result<&mut redb::Table<'t, &'static [u8], ()>, Failure> {
        if self.expiry.is_none() {
            self.expiry = Some(self.transaction.open_table(EXPIRY)?);
        }
        Ok(self.expiry.as_mut().expect("opened above"))
    }

    /// Checks every condition and computes every new item before the first change, so that a refusal changes nothing.
    pub(super) fn run(&mut self, writes: Vec<Prepared>) -> Result<(), Failure> {
        let mut effects = Vec::with_capacity(writes.len());
        for (index, write) in writes.into_iter().enumerate() {
            effects.push((
                write.table,
                self.effect(index, write.action, write.table, &write.key, &write.condition)?,
                write.key,
            ));
        }
        for (table, effect, key) in effects {
            match effect {
                Effect::Put(value) => self.put(table, &key, &value)?,
                Effect::Delete => self.delete(table, &key)?,
                Effect::Nothing => {}
            }
        }
        Ok(())
    }

    fn effect(
        &mut self,
        index: usize,
        action: PreparedAction,
        table: usize,
        key: &[u8],
        condition: &Condition,
    ) -> Result<Effect, Failure> {
        let updates = matches!(action, PreparedAction::Update(_));
        if updates || *condition != Condition::Always {
            let stored = self.table(table)?.get(key)?;
            let stored = stored.as_ref().map(redb::AccessGuard::value);
            // Whether an item exists can be said without parsing it; most conditions ask only that.
            let before = match stored {
                Some(value) if updates || looks_inside(condition) => Some(row::decode_item(value)?),
                Some(_) => Some(Item::new()),
                None => None,
            };
            if !condition.holds(before.as_ref()) {
                return Err(TableError::ConditionFailed { index }.into());
            }
            if let PreparedAction::Update(changes) = action {
                let after = change(before.unwrap_or_default(), changes)?;
                return Ok(Effect::Put(row::encode_item(&after)?));
            }
        }
        Ok(match action {
            PreparedAction::Put(value) => Effect::Put(value),
            PreparedAction::Delete => Effect::Delete,
            PreparedAction::Check | PreparedAction::Update(_) => Effect::Nothing,
        })
    }

    fn put(&mut self, table: usize, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let before = self.table(table)?.insert(key, value)?.map_or(row::NEVER, |v| row::expiry(v.value()));
        self.changed = true;
        self.move_expiry(table, key, before, row::expiry(value))
    }

    fn delete(&mut self, table: usize, key: &[u8]) -> Result<(), Failure> {
        let before = self.table(table)?.remove(key)?.map(|v| row::expiry(v.value()));
        if let Some(before) = before {
            self.changed = true;
            self.move_expiry(table, key, before, row::NEVER)?;
        }
        Ok(())
    }

    fn move_expiry(&mut self, table: usize, key: &[u8], before: u64, after: u64) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        if before != row::NEVER {
            self.expiry()?.remove(row::expiry_row(before, table, key).as_slice())?;
        }
        if after != row::NEVER {
            self.expiry()?.insert(row::expiry_row(after, table, key).as_slice(), ())?;
        }
        Ok(())
    }

    /// Removes up to `limit` items that expired by `now`, the longest expired first.
    pub(super) fn sweep(&mut self, now: u64, limit: usize) -> Result<usize, Failure> {
        let due = row::expiry_row(now.saturating_add(1), 0, &[]);
        let mut rows = Vec::new();
        for entry in self.expiry()?.range(..due.as_slice())?.take(limit) {
            rows.push(entry?.0.value().to_vec());
        }
        let mut removed = 0;
        for expiry_row in rows {
            self.expiry()?.remove(expiry_row.as_slice())?;
            self.changed = true;
            let (expires, table, key) = row::split_expiry_row(&expiry_row)
                .filter(|(_, table, _)| *table < DATA.len())
                .ok_or_else(|| TableError::Corrupt("a row of the expiry index is cut".to_owned()))?;
            let stored = self.table(table)?.get(key)?.map(|v| row::expiry(v.value()));
            // The index follows every write; an item with another expiry was renewed and stays.
            if stored == Some(expires) {
                self.table(table)?.remove(key)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn looks_inside(condition: &Condition) -> bool {
    match condition {
        Condition::Always | Condition::Exists | Condition::Missing => false,
        Condition::Equals(..) | Condition::Absent(_) | Condition::Below(..) => true,
        Condition::All(conditions) => conditions.iter().any(looks_inside),
    }
}

fn change(mut item: Item, changes: Vec<Change>) -> Result<Item, TableError> {
    for change in changes {
        match change {
            Change::Set(attribute, value) => {
                item.0.insert(attribute.to_owned(), value);
            }
            Change::Add(attribute, delta) => {
                let sum = sum(attribute, item.get(attribute), delta)?;
                item.0.insert(attribute.to_owned(), sum);
            }
            Change::Remove(attribute) => {
                item.0.remove(attribute);
            }
        }
    }
    Ok(item)
}

fn sum(attribute: &str, before: Option<&Value>, delta: i64) -> Result<Value, TableError> {
    let before = match before {
        None => 0,
        Some(value) => value
            .as_i64()
            .map(i128::from)
            .or_else(|| value.as_u64().map(i128::from))
            .ok_or_else(|| TableError::Invalid(format!("{attribute} is no whole number to add to")))?,
    };
    let after = before + i128::from(delta);
    i64::try_from(after)
        .map(Value::from)
        .or_else(|_| u64::try_from(after).map(Value::from))
        .map_err(|_| TableError::Invalid(format!("{attribute} would not fit 64 bits")))
}

#[cfg(test)]
mod tests {
    use redb::TableHandle;

    use super::*;

    #[test]
    fn every_table_of_the_port_has_its_own() {
        for (place, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(index(table), place);
            assert_eq!(DATA[place].name(), table.name());
        }
    }
}
