//! Who has blocked whom. Across a block nothing of one user reaches the other, in both directions.

use crate::model::holdings::{Holding, Of};
use crate::model::relations::attribute;
use crate::ports::tables::{Condition, Item, Key, Table, TableError, Tables, Write};
use crate::protocol::Handle;

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "block",
    table: Table::Relationships,
    pk: "block#<from>",
    sk: "s#<to>",
    attributes: attribute::ALL,
    of: Of::Two,
    summary: "The state of a block.",
}];

/// The key of the state of one block.
#[must_use]
pub fn key(blocker: &Handle, blocked: &Handle) -> Key {
    Key::new(["block#", blocker.as_str()].concat(), ["s#", blocked.as_str()].concat())
}

/// The keys of both states between two users, for callers that read more in the same call and then [`judge`].
#[must_use]
pub fn keys(a: &Handle, b: &Handle) -> [(Table, Key); 2] {
    [(Table::Relationships, key(a, b)), (Table::Relationships, key(b, a))]
}

/// Whether a block stands, by both states as they were read, and their `mid`s for [`unchanged`].
#[must_use]
pub fn judge(found: &[Option<Item>]) -> (bool, [Option<String>; 2]) {
    let blocked = found.iter().flatten().any(|item| item.flag(attribute::ON));
    let mid = |at: usize| found.get(at)?.as_ref()?.text(attribute::MID).map(str::to_owned);
    (blocked, [mid(0), mid(1)])
}

/// For each of `others`, whether a block stands between it and `user`, in either direction. Nobody blocks themselves.
///
/// # Errors
/// When the tables do not answer.
pub async fn between(tables: &dyn Tables, user: &Handle, others: &[Handle]) -> Result<Vec<bool>, TableError> {
    let keys: Vec<_> = others.iter().flat_map(|other| keys(user, other)).collect();
    let found = tables.get_many(&keys).await?;
    Ok(found.chunks(2).map(|pair| judge(pair).0).collect())
}

/// Checks that make a transaction fail when a block stands between the two by the time it commits.
///
/// `seen` are the `mid`s of the two states as the caller read them (`None`: no such item), in the order of [`keys`].
#[must_use]
pub fn unchanged(a: &Handle, b: &Handle, seen: [Option<String>; 2]) -> Vec<Write> {
    let checks = keys(a, b).into_iter().zip(seen).map(|((table, key), mid)| {
        let condition = match mid {
            Some(mid) => Condition::Equals(attribute::MID, mid.into()),
            None => Condition::Missing,
        };
        Write::check(table, key, condition)
    });
    checks.collect()
}
