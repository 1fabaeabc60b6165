//! From a proven identity to a session: finds or makes the account, links the identity and uses the proof up, all in
//! one transaction.

use soundoff_common::model::accounts;
use soundoff_common::model::sign_ins::{self, Closed, Open};
use soundoff_common::ports::tables::{Condition, Item, Query, Table, TableError, Tables, Write};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{Handle, Role, now_ms};
use ulid::Ulid;

use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::sessions::families::{self, Session};
use crate::sessions::refresh::RefreshKey;
use crate::ways::identity::{self, Identity, Linked, Row, list_partition};

/// The most identities of one account.
const MAX_IDENTITIES: usize = 20;
/// How often a sign-in that lost a race is decided again.
const DECISIONS: u32 = 5;

/// Handles that nobody gets: they would seem to speak for the service, or name a page of an app.
const RESERVED: &[&str] = &[
    "abuse",
    "about",
    "account",
    "admin",
    "administrator",
    "all",
    "api",
    "auth",
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

/// A proof, and what the client asks for with it.
pub(crate) struct Proven<'a> {
    pub(crate) identity: &'a Identity,
    /// Uses the proof up.
    pub(crate) spend: Write,
    /// The handle for a new account.
    pub(crate) handle: Option<&'a str>,
    /// The signed-in user who adds the identity.
    pub(crate) signed_in: Option<&'a Claims>,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// How long the session may last, in seconds.
    pub(crate) lifetime_s: u64,
}

/// The outcome.
pub(crate) enum SignedIn {
    /// A new session, perhaps of a new account.
    Session { session: Session, created: bool },
    /// The identity is the signed-in user's from now on.
    Linked { user: Handle },
}

/// The writes to make, and which of them means what if its condition fails.
struct Plan {
    done: SignedIn,
    writes: Vec<Write>,
    /// Where the new account is among the writes.
    account: Option<usize>,
}

/// The place of [`Proven::spend`] among a plan's writes.
const SPEND: usize = 0;

/// Signs in, signs up or links, as the tables decide.
pub(crate) async fn sign_in(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
) -> Result<SignedIn, Refusal> {
    for _ in 0..DECISIONS {
        let plan = match (known(tables, seal, proven.identity).await?, proven.signed_in) {
            (Some(known), Some(claims)) if known.linked.user == claims.user => {
                let done = SignedIn::Linked { user: known.linked.user };
                Plan { done, writes: vec![proven.spend.clone()], account: None }
            }
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
struct Known {
    row: Row,
    linked: Linked,
}

/// Whose an identity is: by its spelling and the secret in use, or else by others of before.
async fn known(tables: &dyn Tables, seal: &Seal, identity: &Identity) -> Result<Option<Known>, Refusal> {
    let mut rows = vec![identity.row(seal)];
    rows.extend(identity.former_rows(seal));
    let keys: Vec<_> = rows.iter().map(|row| (Table::Entities, row.key())).collect();
    let found = tables.get_many(&keys).await?;
    let first = rows.into_iter().zip(found).find_map(|(row, item)| Some((row, item?)));
    Ok(first.map(|(row, item)| item.parse().map(|linked| Known { row, linked })).transpose()?)
}

/// A new session of an account that was last revoked at `revoked_at`, and the write that begins it.
fn session(proven: &Proven<'_>, user: Handle, role: Role, revoked_at: u64) -> (Session, Write) {
    let token = RefreshKey::first(Ulid::generate());
    let write = families::begin(&user, &token, (proven.now, proven.lifetime_s), revoked_at);
    (Session { user, role, token, ends: proven.now / 1000 + proven.lifetime_s }, write)
}

async fn returning(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
    Known { row, linked }: Known,
) -> Result<Plan, Refusal> {
    let user = linked.user;
    let account = tables.get(Table::Users, accounts::key(&user)).await?;
    let account = account.ok_or_else(|| TableError::Corrupt("an identity without its account".to_owned()))?;
    let account: accounts::Account = account.parse()?;
    // It may be removed from them at this moment.
    let theirs = Condition::Equals(identity::USER, user.as_str().into());
    let mut writes = vec![proven.spend.clone()];
    if row == proven.identity.row(seal) {
        writes.push(Write::check(Table::Entities, row.key(), theirs));
    } else {
        // From now on every spelling of it finds the account.
        writes.push(Write::delete(Table::Entities, row.key()).when(theirs));
        writes.push(Write::delete(Table::Entities, row.key_in(&user)));
        writes.extend(link(seal, proven.identity, &user, linked.linked_at)?);
    }
    let (session, begin) = session(proven, user, account.role, account.revoked_at);
    writes.push(begin);
    let done = SignedIn::Session { session, created: false };
    Ok(Plan { done, writes, account: None })
}

/// The checks that an identity is still nobody's elsewhere: a process of version 0.1.0 may run beside this one, or one
/// that uses another generation of the secret.
fn still_nobodys(seal: &Seal, identity: &Identity) -> impl Iterator<Item = Write> {
    let rows = identity.former_rows(seal).into_iter();
    rows.map(|row| Write::check(Table::Entities, row.key(), Condition::Missing))
}

/// The writes that make an identity a user's.
fn link(seal: &Seal, identity: &Identity, user: &Handle, linked_at: u64) -> Result<[Write; 2], Refusal> {
    let context = Identity::context(identity.kind.name(), user);
    let sealed = seal.seal(identity.value.as_bytes(), &context)?;
    let linked = Item::of(&Linked { user: user.clone(), linked_at, sealed });
    let row = identity.row(seal);
    Ok([
        Write::put(Table::Entities, row.key(), linked.clone()).when(Condition::Missing),
        Write::put(Table::Entities, row.key_in(user), linked),
    ])
}

async fn still_open(tables: &dyn Tables, claims: &Claims) -> Result<Open, Refusal> {
    sign_ins::check(tables, claims, now_ms() / 1000).await.map_err(|closed| match closed {
        Closed::Unknown(error) => error.into(),
        Closed::NoUser | Closed::Ended => Refusal::Unauthorized("the session has ended; sign in again"),
    })
}

/// Adds the identity to the account of a session. The transaction checks that the session has not ended meanwhile: a
/// request may take long.
async fn linking(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
    claims: &Claims,
) -> Result<Plan, Refusal> {
    let user = &claims.user;
    let open = still_open(tables, claims).await?;
    let page = tables.query(Query::prefix(Table::Entities, list_partition(user), "", MAX_IDENTITIES)).await?;
    if page.items.len() >= MAX_IDENTITIES {
        let message = format!("an account has at most {MAX_IDENTITIES} ways to sign in");
        return Err(Refusal::Conflict(message));
    }
    let mut writes = vec![proven.spend.clone()];
    writes.extend(link(seal, proven.identity, user, proven.now)?);
    writes.extend(still_nobodys(seal, proven.identity));
    writes.extend(open.still());
    Ok(Plan { done: SignedIn::Linked { user: user.clone() }, writes, account: None })
}

fn joining(seal: &Seal, proven: &Proven<'_>) -> Result<Plan, Refusal> {
    let text = proven.handle.ok_or(Refusal::HandleRequired)?;
    let user: Handle = text
        .parse()
        .map_err(|_| Refusal::BadMessage("`handle` must be 3 to 30 of a-z, 0-9 and _".to_owned()))?;
    if RESERVED.contains(&user.as_str()) {
        return Err(Refusal::Conflict("the handle is reserved; choose another".into()));
    }
    let mut writes = vec![proven.spend.clone(), accounts::create(&user, proven.now)];
    writes.extend(link(seal, proven.identity, &user, proven.now)?);
    let (session, begin) = session(proven, user, Role::User, 0);
    writes.push(begin);
    writes.extend(still_nobodys(seal, proven.identity));
    let done = SignedIn::Session { session, created: true };
    Ok(Plan { done, writes, account: Some(SPEND + 1) })
}

/// Removes one of a user's ways to sign in; `row` names it in their list. The last one stays, also with many requests
/// at once.
pub(crate) async fn unlink(tables: &dyn Tables, claims: &Claims, row: &Row) -> Result<(), Refusal> {
    let no_such = || Refusal::NotFound("you have no such way to sign in; GET /v1/auth/identities lists them");
    for _ in 0..DECISIONS {
        let open = still_open(tables, claims).await?;
        let list = list_partition(&claims.user);
        let page = tables.query(Query::prefix(Table::Entities, list, "", MAX_IDENTITIES)).await?;
        let (this, others): (Vec<Row>, Vec<Row>) =
            page.items.into_iter().map(|(sk, _)| Row::of_key(sk)).partition(|listed| listed == row);
        if this.is_empty() {
            return Err(no_such());
        }
        let Some(other) = others.first() else {
            return Err(Refusal::Conflict("this is your only way to sign in; add another first".into()));
        };
        let mine = Condition::Equals(identity::USER, claims.user.as_str().into());
        let mut writes = vec![
            Write::delete(Table::Entities, row.key()).when(mine),
            Write::delete(Table::Entities, row.key_in(&claims.user)).when(Condition::Exists),
            Write::check(Table::Entities, other.key_in(&claims.user), Condition::Exists),
        ];
        writes.extend(open.still());
        match tables.write(writes).await {
            Ok(()) => return Ok(()),
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::Unavailable(anyhow::anyhow!("lost {DECISIONS} races for one user's identities")))
}

#[cfg(test)]
#[path = "sign_in_tests.rs"]
mod tests;
