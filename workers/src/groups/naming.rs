//! What a group is called and about, and the rows by which it is found.

use soundoff_common::model::groups::{self, Group, Sight};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Item, Key, Table, Write};
use soundoff_common::protocol::ErrorCode;
use ulid::Ulid;

use crate::rules::texts;

/// The fewest characters of a name, as it is looked for.
pub(crate) const FEWEST: usize = 2;

/// Checks a group's name: one line of two characters and more. Returns it as it is stored.
pub(crate) fn name(text: &str) -> Result<String, Failure> {
    let name = texts::name(text)?;
    if groups::folded(&name).chars().count() < FEWEST {
        let message = format!("name has at least {FEWEST} characters, spaces around it not counted");
        return Err(Failure::reject(ErrorCode::BadMessage, message));
    }
    Ok(name)
}

/// The row by which a group is found; nobody finds a secret one.
fn row(id: Ulid, group: &Group) -> Option<Key> {
    (group.sight != Sight::Secret).then(|| groups::name_key(&group.name, id))
}

/// The writes that move a group's row.
pub(crate) fn moved(id: Ulid, before: Option<&Group>, after: Option<&Group>) -> Vec<Write> {
    let (before, after) = (before.and_then(|group| row(id, group)), after.and_then(|group| row(id, group)));
    if before == after {
        return Vec::new();
    }
    let gone = before.map(|key| Write::delete(Table::Entities, key));
    let new = after.map(|key| Write::put(Table::Entities, key, Item::new()));
    gone.into_iter().chain(new).collect()
}
