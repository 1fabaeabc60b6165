//! A user's list of sessions. It only names them: what is known of each is in its own item.

use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::model::ids;
use soundoff_common::ports::tables::{EXPIRES, Item, Key, Query, Table, Tables, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::refusal::Refusal;

/// The most sessions of one user: with one more, the oldest ends.
pub(crate) const MAX_SESSIONS: usize = 100;

pub(crate) const HOLDING: Holding = Holding {
    kind: "row of a session",
    table: Table::Entities,
    pk: "sign-ins#<h>",
    sk: "<sid>",
    attributes: &[EXPIRES],
    of: Of::User,
    summary: "The user's list of sessions.",
};

fn partition(user: &Handle) -> String {
    format!("sign-ins#{user}")
}

fn key(user: &Handle, session: Ulid) -> Key {
    Key::new(partition(user), session.to_string())
}

/// The write that puts a session into its user's list, until it expires (seconds since 1970).
pub(crate) fn row(user: &Handle, session: Ulid, expires: u64) -> Write {
    Write::put(Table::Entities, key(user, session), Item::new().with(EXPIRES, expires))
}

/// The same, of one that lasts until it is ended.
pub(crate) fn standing_row(user: &Handle, session: Ulid) -> Write {
    Write::put(Table::Entities, key(user, session), Item::new())
}

/// The write that takes a session from its user's list.
pub(crate) fn no_row(user: &Handle, session: Ulid) -> Write {
    Write::delete(Table::Entities, key(user, session))
}

/// The names in a user's list, oldest first; they may have ended.
pub(crate) async fn named(tables: &dyn Tables, user: &Handle) -> Result<Vec<Ulid>, Refusal> {
    // Sign-ins at the same moment may each have room for one more.
    let rows = Query::prefix(Table::Entities, partition(user), "", MAX_SESSIONS * 2);
    let rows = tables.query(rows).await?.items;
    Ok(rows.iter().filter_map(|(sk, _)| ids::parse(sk)).collect())
}
