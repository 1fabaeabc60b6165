//! A user's list of sessions. It names them; what is known of each is in its own item, which says whether it still lasts.

use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::model::{accounts, ids, sign_ins};
use soundoff_common::ports::tables::{EXPIRES, Item, Key, Query, Table, Tables, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::refusal::Refusal;
use crate::sessions::families::SignIn;

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

/// The user's sessions that last at `now` (milliseconds since 1970), oldest first, and `current` in any case.
pub(crate) async fn lasting(
    tables: &dyn Tables,
    user: &Handle,
    current: Ulid,
    (idle_s, now): (u64, u64),
) -> Result<Vec<(Ulid, SignIn)>, Refusal> {
    let mut named = named(tables, user).await?;
    if !named.contains(&current) {
        named.push(current);
    }
    let mut keys = vec![(Table::Users, accounts::key(user))];
    keys.extend(named.iter().map(|session| (Table::Entities, sign_ins::key(*session))));
    let mut found = tables.get_many(&keys).await?.into_iter();
    let account: Option<accounts::Account> = found.next().flatten().map(Item::parse).transpose()?;
    let revoked_at = account.map_or(0, |account| account.revoked_at);
    let mut lasting = Vec::with_capacity(named.len());
    for (session, item) in named.into_iter().zip(found) {
        let Some(item) = item else { continue };
        let sign_in: SignIn = item.parse()?;
        let ended = sign_in.user != *user
            || sign_in.expires <= now / 1000
            || sign_ins::is_revoked(revoked_at, sign_in.revoked_at, sign_in.created_at);
        if !ended && (session == current || !sign_in.is_idle(idle_s, now)) {
            lasting.push((session, sign_in));
        }
    }
    Ok(lasting)
}
