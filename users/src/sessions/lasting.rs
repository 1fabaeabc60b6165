//! The sessions in which a user is signed in.

use soundoff_common::model::{accounts, sign_ins};
use soundoff_common::ports::tables::{Item, Table, Tables};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::refusal::Refusal;
use crate::sessions::families::SignIn;
use crate::sessions::list::named;

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
