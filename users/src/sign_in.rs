//! From a proven identity to a session: finds or makes the account, links the identity and uses the proof up, all in
//! one transaction.

use soundoff_common::model::accounts;
use soundoff_common::ports::tables::{Condition, MAX_WRITES, Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, Role};
use ulid::Ulid;

use crate::keys::seal::Seal;
use crate::linking::{link, linking, proving, still_nobodys};
use crate::proof::{ALSO, DECISIONS, Plan, Proven, SPEND, SignedIn};
use crate::refusal::Refusal;
use crate::sessions::families::{self, Beginning, Session};
use crate::sessions::list;
use crate::sessions::refresh::RefreshKey;
use crate::ways::identity::{self, Identity, Kind, LinkMark, Linked, Row};

const NO_PASSKEY: Refusal = Refusal::Unauthorized("this passkey was removed; sign in otherwise");

/// The most sessions that a sign-in ends: the writes are one transaction.
const MAX_DISPLACED: usize = MAX_WRITES / 4;

/// Handles that nobody gets: they would seem to speak for the service, name a page of an app, or mean something to
/// programs that keep people by their handle. Who has one already keeps it.
const RESERVED: &[&str] = &[
    "__proto__",
    "abuse",
    "about",
    "account",
    "admin",
    "administrator",
    "all",
    "api",
    "auth",
    "constructor",
    "everyone",
    "help",
    "here",
    "hostmaster",
    "info",
    "login",
    "logout",
    "mod",
    "moderator",
    "null",
    "official",
    "ops",
    "postmaster",
    "privacy",
    "prototype",
    "root",
    "security",
    "settings",
    "signup",
    "soundoff",
    "sound_off",
    "staff",
    "support",
    "system",
    "team",
    "undefined",
    "webmaster",
];

/// Signs in, signs up or links, as the tables decide.
pub(crate) async fn sign_in(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
) -> Result<SignedIn, Refusal> {
    for _ in 0..DECISIONS {
        let plan = match (known(tables, seal, proven.identity).await?, proven.signed_in) {
            (Some(known), Some(claims)) if known.linked.user == claims.user => {
                proving(tables, proven, claims, &known.linked.mark(&known.row)).await?
            }
            // It is added by a call of its own, and taken away at this moment.
            (None, _) if proven.identity.kind == Kind::Passkey => return Err(NO_PASSKEY),
            (Some(_), Some(_)) => {
                let message = "this is another account's; sign in with it and remove it there first";
                return Err(Refusal::Conflict(message.into()));
            }
            (Some(known), None) => returning(tables, seal, proven, known).await?,
            (None, Some(claims)) => linking(tables, seal, proven, claims).await?,
            (None, None) => joining(seal, proven)?,
        };
        let Plan { done, writes, account } = plan;
        match tables.write(writes).await {
            Ok(()) => return Ok(done),
            Err(TableError::ConditionFailed { index: SPEND }) => {
                return Err(Refusal::Unauthorized("this proof was used already; begin the sign-in again"));
            }
            Err(TableError::ConditionFailed { index: ALSO }) if proven.also.is_some() => {
                return Err(Refusal::Conflict(
                    "this was used elsewhere at the same moment; try again".into(),
                ));
            }
            Err(TableError::ConditionFailed { index }) if Some(index) == account => {
                return Err(Refusal::Conflict("the handle is taken; choose another".into()));
            }
            // The identity was linked at the same moment: decide again.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::Unavailable(anyhow::anyhow!("lost {DECISIONS} races for the same identity")))
}

/// An identity that is somebody's, and where it was found.
pub(crate) struct Known {
    pub(crate) row: Row,
    pub(crate) linked: Linked,
}

/// Whose an identity is: by its spelling and the secret in use, or else by others of before.
pub(crate) async fn known(
    tables: &dyn Tables,
    seal: &Seal,
    identity: &Identity,
) -> Result<Option<Known>, Refusal> {
    let mut rows = vec![identity.row(seal)];
    rows.extend(identity.former_rows(seal));
    let keys: Vec<_> = rows.iter().map(|row| (Table::Entities, row.key())).collect();
    let found = tables.get_many(&keys).await?;
    let first = rows.into_iter().zip(found).find_map(|(row, item)| Some((row, item?)));
    Ok(first.map(|(row, item)| item.parse().map(|linked| Known { row, linked })).transpose()?)
}

/// The account that an identity is of.
pub(crate) async fn account_of(tables: &dyn Tables, user: &Handle) -> Result<accounts::Account, Refusal> {
    let account = tables.get(Table::Users, accounts::key(user)).await?;
    let missing = || TableError::Corrupt("an identity without its account".to_owned());
    Ok(account.ok_or_else(missing)?.parse()?)
}

/// A new session of an account that was last revoked at `revoked_at`, by an identity that was linked at `linked_at`; and
/// the writes that begin it.
fn session(
    proven: &Proven<'_>,
    user: Handle,
    role: Role,
    (revoked_at, linked_at): (u64, u64),
) -> (Session, [Write; 2]) {
    let token = RefreshKey::first(Ulid::generate());
    let Proven { now, lifetime_s, client, .. } = *proven;
    let way = LinkMark::new(proven.identity.kind.name(), linked_at);
    let has_passkey = proven.identity.kind == Kind::Passkey;
    let begin =
        families::begin(Beginning { user: &user, token: &token, now, lifetime_s, revoked_at, way, client });
    (Session { user, role, has_passkey, token, ends: now / 1000 + lifetime_s }, begin)
}

async fn returning(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
    Known { row, linked }: Known,
) -> Result<Plan, Refusal> {
    let user = linked.user;
    let account = account_of(tables, &user).await?;
    // It may be removed from them at this moment.
    let theirs = Condition::Equals(identity::USER, user.as_str().into());
    let mut writes = proven.writes();
    // What is stored of a passkey lies beside its row: only `reseal` moves both.
    if row == proven.identity.row(seal) || proven.identity.kind == Kind::Passkey {
        writes.push(Write::check(Table::Entities, row.key(), theirs));
    } else {
        // From now on every spelling of it finds the account.
        writes.push(Write::delete(Table::Entities, row.key()).when(theirs));
        writes.push(Write::delete(Table::Entities, row.key_in(&user)));
        writes.extend(link(seal, proven.identity, &user, linked.linked_at)?);
    }
    // With this one there are as many as there may be: the oldest end.
    let named = list::named(tables, &user).await?;
    let too_many = (named.len() + 1).saturating_sub(list::MAX_SESSIONS);
    let displaced = named[..too_many.min(MAX_DISPLACED)].to_vec();
    writes.extend(displaced.iter().flat_map(|session| families::ending(&user, *session)));
    let (session, begin) = session(proven, user, account.role, (account.revoked_at, linked.linked_at));
    writes.extend(begin);
    let done = SignedIn::Session { session, created: false, displaced };
    Ok(Plan { done, writes, account: None })
}

/// A handle that a new account may have, if nobody has it.
pub(crate) fn new_handle(text: &str) -> Result<Handle, Refusal> {
    let user: Handle = text
        .parse()
        .map_err(|_| Refusal::BadMessage("`handle` must be 3 to 30 of a-z, 0-9 and _".to_owned()))?;
    if RESERVED.contains(&user.as_str()) {
        return Err(Refusal::Conflict("the handle is reserved; choose another".into()));
    }
    Ok(user)
}

fn joining(seal: &Seal, proven: &Proven<'_>) -> Result<Plan, Refusal> {
    let user = new_handle(proven.handle.ok_or(Refusal::HandleRequired)?)?;
    let mut writes = vec![proven.spend.clone(), accounts::create(&user, proven.now)];
    writes.extend(link(seal, proven.identity, &user, proven.now)?);
    let (session, begin) = session(proven, user, Role::User, (0, proven.now));
    writes.extend(begin);
    writes.extend(still_nobodys(seal, proven.identity));
    let done = SignedIn::Session { session, created: true, displaced: Vec::new() };
    Ok(Plan { done, writes, account: Some(SPEND + 1) })
}

#[cfg(test)]
#[path = "sign_in_tests.rs"]
mod tests;
