//! Sign-ins as they are stored: one item each, with the hashes of its present refresh token and the one before.

use serde::{Deserialize, Serialize};
use soundoff_common::ports::tables::{Change, Condition, EXPIRES, Item, Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, Role};
use soundoff_common::{accounts, sign_ins};
use ulid::Ulid;

use crate::refresh::{RefreshKey, RefreshToken};
use crate::refusal::Refusal;

/// How long the answer of a refresh can be asked for once more, in milliseconds.
pub(crate) const RETRY_MS: u64 = 10_000;

pub(crate) const ENDED: Refusal =
    Refusal::Unauthorized("the refresh token opens nothing any more; sign in again");

/// A sign-in's item. Its end is its absence.
#[derive(Debug, Serialize, Deserialize)]
struct SignIn {
    user: Handle,
    created_at: u64,
    generation: u32,
    /// The hash of the present refresh token.
    refresh: String,
    /// The hash of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    rotated_at: u64,
    /// The last refresh was asked for once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retried: bool,
    #[serde(rename = "expires")]
    expires: u64,
}

/// The write of a new sign-in at `now` (milliseconds since 1970), which ends for good after `lifetime_s` seconds.
pub(crate) fn begin(user: &Handle, token: &RefreshToken, now: u64, lifetime_s: u64) -> Write {
    let sign_in = SignIn {
        user: user.clone(),
        created_at: now,
        generation: token.generation,
        refresh: token.hash(),
        before: None,
        rotated_at: now,
        retried: false,
        expires: now / 1000 + lifetime_s,
    };
    let key = sign_ins::key(token.session);
    Write::put(Table::Entities, key, Item::of(&sign_in)).when(Condition::Missing)
}

/// The write of a sign-in that has no refresh token, for `lifetime_s` seconds.
pub(crate) fn without_refresh(user: &Handle, session: Ulid, now: u64, lifetime_s: u64) -> Write {
    let item = Item::new().with("user", user.as_str()).with(EXPIRES, (now / 1000).saturating_add(lifetime_s));
    Write::put(Table::Entities, sign_ins::key(session), item)
}

/// What a refresh has come to.
pub(crate) enum Refreshed {
    /// The next token, and for whom.
    Next { user: Handle, role: Role, token: RefreshToken },
    /// An old token was used again: somebody has a copy. The family is to end.
    Reused { user: Handle, session: Ulid },
}

/// Spends a refresh token.
pub(crate) async fn refresh(
    tables: &dyn Tables,
    key: &RefreshKey,
    text: &str,
    now: u64,
) -> Result<Refreshed, Refusal> {
    let token = key.parse(text).ok_or(ENDED)?;
    let at = sign_ins::key(token.session);
    let Some(item) = tables.get(Table::Entities, at.clone()).await? else { return Err(ENDED) };
    let sign_in: SignIn = item.parse()?;
    if sign_in.expires <= now / 1000 {
        return Err(ENDED);
    }
    let account = tables.get(Table::Users, accounts::key(&sign_in.user)).await?;
    let account: accounts::Account = account.ok_or(ENDED)?.parse()?;
    if account.revoked_at > sign_in.created_at / 1000 {
        return Err(ENDED);
    }
    let (hash, next) = (token.hash(), key.next(&token));
    let present = Condition::Equals("refresh", sign_in.refresh.clone().into());
    let lost_answer = sign_in.before.as_ref() == Some(&hash) && now < sign_in.rotated_at + RETRY_MS;
    let write = if hash == sign_in.refresh {
        let changes = vec![
            Change::Set("refresh", next.hash().into()),
            Change::Set("before", hash.into()),
            Change::Set("generation", next.generation.into()),
            Change::Set("rotated_at", now.into()),
            Change::Remove("retried"),
        ];
        Write::update(Table::Entities, at, changes).when(present)
    } else if lost_answer && !sign_in.retried {
        let once = Condition::All(vec![present, Condition::Absent("retried")]);
        Write::update(Table::Entities, at, vec![Change::Set("retried", true.into())]).when(once)
    } else {
        return Ok(Refreshed::Reused { user: sign_in.user, session: token.session });
    };
    match tables.write(vec![write]).await {
        Ok(()) => Ok(Refreshed::Next { user: sign_in.user, role: account.role, token: next }),
        // Both were good when they came: the other has the next token, and this one has harmed nothing.
        Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
            Err(Refusal::Conflict("another refresh of this token came first; use its answer".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whose sign-in a refresh token is of, present or past, while it lives.
pub(crate) async fn owner(
    tables: &dyn Tables,
    key: &RefreshKey,
    text: &str,
) -> Result<Option<(Handle, Ulid)>, TableError> {
    let Some(token) = key.parse(text) else { return Ok(None) };
    let found = tables.get(Table::Entities, sign_ins::key(token.session)).await?;
    let found: Option<SignIn> = found.map(Item::parse).transpose()?;
    Ok(found.map(|sign_in| (sign_in.user, token.session)))
}

/// Ends a sign-in: neither its refresh tokens nor its access tokens open anything from here on.
pub(crate) async fn end(tables: &dyn Tables, session: Ulid) -> Result<(), TableError> {
    tables.write(vec![Write::delete(Table::Entities, sign_ins::key(session))]).await
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`SignIn` spells it out");
