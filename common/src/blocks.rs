//! Who has blocked whom: nothing of one reaches the other, both ways.

use crate::ports::tables::{Condition, Item, Key, Table, TableError, Tables, Write};
use crate::protocol::Handle;

/// Where the state of one block lies.
#[must_use]
pub fn key(blocker: &Handle, blocked: &Handle) -> Key {
    Key::new(format!("block#{blocker}"), format!("s#{blocked}"))
}

/// For each of `others`, whether a block stands between it and `user`, in either direction. Nobody blocks themselves.
///
/// # Errors
/// When the tables do not answer.
pub async fn between(tables: &dyn Tables, user: &Handle, others: &[Handle]) -> Result<Vec<bool>, TableError> {
    let keys: Vec<_> = others
        .iter()
        .flat_map(|other| {
            [(Table::Relationships, key(user, other)), (Table::Relationships, key(other, user))]
        })
        .collect();
    let states = tables.get_many(&keys).await?;
    let on = |state: &Option<Item>| state.as_ref().is_some_and(|item| item.flag("on"));
    Ok(states.chunks(2).map(|pair| pair.iter().any(on)).collect())
}

/// Checks that make a transaction fail when a block stands between the two by the time it commits.
///
/// `seen` are the `mid`s of the two states as the caller read them (`None`: no such item), in the order of [`states`].
#[must_use]
pub fn unchanged(a: &Handle, b: &Handle, seen: [Option<String>; 2]) -> Vec<Write> {
    let keys = [key(a, b), key(b, a)];
    keys.into_iter()
        .zip(seen)
        .map(|(key, mid)| {
            let condition = match mid {
                Some(mid) => Condition::Equals("mid", mid.into()),
                None => Condition::Missing,
            };
            Write::check(Table::Relationships, key, condition)
        })
        .collect()
}

/// Whether a block stands between two users, and the `mid`s of both states for [`unchanged`].
///
/// # Errors
/// When the tables do not answer.
pub async fn states(
    tables: &dyn Tables,
    a: &Handle,
    b: &Handle,
) -> Result<(bool, [Option<String>; 2]), TableError> {
    let keys = [(Table::Relationships, key(a, b)), (Table::Relationships, key(b, a))];
    let mut found = tables.get_many(&keys).await?.into_iter();
    let mut blocked = false;
    let mut seen = [None, None];
    for slot in &mut seen {
        if let Some(item) = found.next().flatten() {
            blocked |= item.flag("on");
            *slot = item.text("mid").map(str::to_owned);
        }
    }
    Ok((blocked, seen))
}
