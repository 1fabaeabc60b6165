//! Sign-ins as they are stored: one item each, with the hashes of its present refresh token and the one before.

use serde::{Deserialize, Serialize};
use soundoff_common::model::sign_ins::attribute::{
    BEFORE, CREATED_AT, LISTED, REFRESH, RETRIED_AT, REVOKED_AT, ROTATED_AT, USER,
};
use soundoff_common::model::{accounts, sign_ins};
use soundoff_common::ports::tables::{
    Change, Condition, EXPIRES, Item, MAX_WRITES, Table, TableError, Tables, Write,
};
use soundoff_common::protocol::{Handle, Role, is_ahead, now_ms};
use ulid::Ulid;

use crate::changes;
use crate::refusal::Refusal;
use crate::sessions::list;
use crate::sessions::refresh::{RefreshKey, RefreshToken, Shown};
use crate::ways::identity::{self, Kind, LinkMark, Linked, Row};

/// How long after a refresh its answer can be asked for once more, in milliseconds.
pub(crate) const RETRY_MS: u64 = 10_000;

pub(crate) const ENDED: Refusal =
    Refusal::Unauthorized("the refresh token is no longer valid; sign in again");

/// A sign-in's item. When the sign-in ends, the item is removed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SignIn {
    pub(crate) user: Handle,
    pub(crate) created_at: u64,
    /// The hash of the present refresh token; a development token's session has none.
    #[serde(default)]
    refresh: String,
    /// The hash of the refresh token before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(default)]
    rotated_at: u64,
    /// When the last refresh was repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retried_at: Option<u64>,
    /// The account's `revoked_at` when the sign-in began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<u64>,
    /// When its user last proved who they are, if later than at its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proved_at: Option<u64>,
    /// The identity that began it. A session of version 0.1.0 does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<LinkMark>,
    /// The program that began it, such as `Firefox on Linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// The passkey by which its user proved who they are, at its beginning or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passkey: Option<LinkMark>,
    /// Whether it is in its user's list; one of version 0.1.0 gets there with its next refresh.
    #[serde(default)]
    listed: bool,
    /// Of one that stands for a user of the customer's own: from when on their tokens must have been issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_from: Option<u64>,
    /// Such a one lasts until it is ended.
    #[serde(default = "never")]
    pub(crate) expires: u64,
}

/// Later than any session ends, in seconds since 1970; and still a date.
pub(crate) const NEVER: u64 = 253_402_300_799;

fn never() -> u64 {
    NEVER
}

impl SignIn {
    /// When it was last refreshed, in milliseconds since 1970; at first, when it began.
    pub(crate) fn used_at(&self) -> u64 {
        self.rotated_at.max(self.created_at)
    }

    /// Whether nobody has used it for `idle_s` seconds.
    pub(crate) fn is_idle(&self, idle_s: u64, now: u64) -> bool {
        // What nobody refreshes does not say when it was used.
        self.tokens_from.is_none() && now >= self.used_at().saturating_add(idle_s.saturating_mul(1000))
    }

    /// Whether the identity that began it is still among its user's. One of version 0.1.0 does not say which that was:
    /// then none may have been taken away since.
    async fn has_its_way(&self, tables: &dyn Tables, mine: &[(Row, Linked)]) -> Result<bool, Refusal> {
        match &self.way {
            None => changes::none_taken_since(tables, &self.user, self.created_at).await,
            Some(way) => Ok(identity::is_among(mine, way.text())),
        }
    }

    /// When it began (milliseconds since 1970) and when it ends at the latest (seconds), as of `now`. One that would
    /// have begun in the future was made by a clock that was wrong: it begins now, and lasts as long as it was to.
    fn dated(&self, now: u64) -> (u64, u64) {
        if !is_ahead(self.created_at, now) {
            return (self.created_at, self.expires);
        }
        (now, now / 1000 + self.expires.saturating_sub(self.created_at / 1000))
    }
}

/// How a session begins.
pub(crate) struct Beginning<'a> {
    pub(crate) user: &'a Handle,
    pub(crate) token: &'a RefreshToken,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// It ends after so many seconds at the latest.
    pub(crate) lifetime_s: u64,
    /// It ends with the next revocation after this one, the account's last.
    pub(crate) revoked_at: u64,
    /// The identity that begins it.
    pub(crate) way: LinkMark,
    /// The program that does, if it said.
    pub(crate) client: Option<&'a str>,
}

/// The writes that begin a session, and put it into its user's list.
pub(crate) fn begin(beginning: Beginning<'_>) -> [Write; 2] {
    let Beginning { user, token, now, lifetime_s, revoked_at, way, client } = beginning;
    let sign_in = SignIn {
        user: user.clone(),
        created_at: now,
        refresh: token.hash(),
        before: None,
        rotated_at: now,
        retried_at: None,
        revoked_at: Some(revoked_at),
        proved_at: None,
        passkey: (way.kind() == Kind::Passkey.name()).then(|| way.clone()),
        way: Some(way),
        client: client.map(str::to_owned),
        listed: true,
        tokens_from: None,
        expires: now / 1000 + lifetime_s,
    };
    let key = sign_ins::key(token.session);
    let item = Write::put(Table::Entities, key, Item::of(&sign_in)).when(Condition::Missing);
    [item, list::row(user, token.session, sign_in.expires)]
}

/// The write of a sign-in that has no refresh token, for `lifetime_s` seconds. Its user's list does not have it.
pub(crate) fn without_refresh(
    user: &Handle,
    session: Ulid,
    (now, lifetime_s): (u64, u64),
    revoked_at: u64,
) -> Write {
    let expires = (now / 1000).saturating_add(lifetime_s);
    let item = Item::new().with(USER, user.as_str()).with(CREATED_AT, now).with(EXPIRES, expires);
    let item = item.with(REVOKED_AT, revoked_at);
    Write::put(Table::Entities, sign_ins::key(session), item)
}

/// A session with its newest refresh token.
pub(crate) struct Session {
    pub(crate) user: Handle,
    /// The account's.
    pub(crate) role: Role,
    /// Whether its user proved who they are by a passkey.
    pub(crate) has_passkey: bool,
    pub(crate) token: RefreshToken,
    /// When it ends at the latest, in seconds since 1970.
    pub(crate) ends: u64,
}

/// The outcome of a refresh.
pub(crate) enum Refreshed {
    /// The session continues, with the next token.
    Next(Session),
    /// An old token was used again: somebody has a copy. The family must end.
    Reused { user: Handle, session: Ulid },
}

/// Uses a refresh token up, for a request that arrived at `arrived` (milliseconds since 1970). A session that nobody has
/// used for `idle_s` seconds has ended, and so has one whose identity is no longer the user's.
///
/// A request that arrived before the same token was answered cannot have stolen that answer. So of requests that come
/// together, one gets the next token and the others get a conflict; the session continues.
pub(crate) async fn refresh(
    tables: &dyn Tables,
    key: &RefreshKey,
    text: &str,
    (arrived, idle_s): (u64, u64),
) -> Result<Refreshed, Refusal> {
    let first = || Refusal::Conflict("another refresh of this token came first; use its answer".into());
    let Shown { token, is_marked } = key.parse(text).ok_or(ENDED)?;
    let at = sign_ins::key(token.session);
    let Some(item) = tables.get(Table::Entities, at.clone()).await? else { return Err(ENDED) };
    let sign_in: SignIn = item.parse()?;
    if sign_in.expires <= arrived / 1000 || sign_in.is_idle(idle_s, arrived) {
        return Err(ENDED);
    }
    let account = tables.get(Table::Users, accounts::key(&sign_in.user)).await?;
    let account: accounts::Account = account.ok_or(ENDED)?.parse()?;
    if sign_ins::is_revoked(account.revoked_at, sign_in.revoked_at, sign_in.created_at) {
        return Err(ENDED);
    }
    let mine = identity::of_user(tables, &sign_in.user).await?;
    if !sign_in.has_its_way(tables, &mine).await? {
        return Err(ENDED);
    }
    let has_passkey = sign_in.passkey.as_ref().is_some_and(|mark| identity::is_among(&mine, mark.text()));
    let (hash, mut next) = (token.hash(), key.next(&token));
    let present = Condition::Equals(REFRESH, sign_in.refresh.clone().into());
    let answered = sign_in.retried_at.unwrap_or(sign_in.rotated_at);
    let last = sign_in.before.as_ref() == Some(&hash);
    let now = now_ms();
    let (begun, ends) = sign_in.dated(arrived);
    let mut listing = None;
    let write = if hash == sign_in.refresh {
        let mut changes = vec![
            Change::Set(REFRESH, next.hash().into()),
            Change::Set(BEFORE, hash.into()),
            Change::Set(ROTATED_AT, now.into()),
            Change::Remove(RETRIED_AT),
        ];
        if begun != sign_in.created_at {
            changes.extend([Change::Set(CREATED_AT, begun.into()), Change::Set(EXPIRES, ends.into())]);
        }
        if !sign_in.listed {
            changes.push(Change::Set(LISTED, true.into()));
            listing = Some(list::row(&sign_in.user, token.session, ends));
        }
        Write::update(Table::Entities, at, changes).when(present)
    } else if last && arrived < answered && !is_ahead(answered, arrived) {
        return Err(first());
    } else if last && sign_in.retried_at.is_none() && (answered..answered + RETRY_MS).contains(&arrived) {
        // Its answer may have been made with a key that is forgotten by now.
        next = key.followed(&token, &sign_in.refresh).ok_or_else(first)?;
        let once = Condition::All(vec![present, Condition::Absent(RETRIED_AT)]);
        Write::update(Table::Entities, at, vec![Change::Set(RETRIED_AT, now.into())]).when(once)
    } else if is_marked || last {
        return Ok(Refreshed::Reused { user: sign_in.user, session: token.session });
    } else {
        return Err(ENDED);
    };
    let mut writes = vec![write];
    writes.extend(listing);
    match tables.write(writes).await {
        Ok(()) => {
            let session = Session { user: sign_in.user, role: account.role, has_passkey, token: next, ends };
            Ok(Refreshed::Next(session))
        }
        // Both were valid when they arrived: the other has the next token, and this one did no harm.
        Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Err(first()),
        Err(error) => Err(error.into()),
    }
}

/// The user and the sign-in of a refresh token, present or past, while the sign-in lasts.
pub(crate) async fn owner(
    tables: &dyn Tables,
    key: &RefreshKey,
    text: &str,
) -> Result<Option<(Handle, Ulid)>, TableError> {
    let Some(Shown { token, is_marked }) = key.parse(text) else { return Ok(None) };
    let found = tables.get(Table::Entities, sign_ins::key(token.session)).await?;
    let found: Option<SignIn> = found.map(Item::parse).transpose()?;
    let hash = Some(token.hash());
    let is_of =
        |sign_in: &SignIn| is_marked || hash.as_ref() == Some(&sign_in.refresh) || hash == sign_in.before;
    Ok(found.filter(is_of).map(|sign_in| (sign_in.user, token.session)))
}

/// Ends sessions of a user: from now on neither their refresh tokens nor their access tokens are valid.
pub(crate) async fn end(tables: &dyn Tables, user: &Handle, sessions: &[Ulid]) -> Result<(), TableError> {
    for some in sessions.chunks(MAX_WRITES / 2) {
        tables.write(some.iter().flat_map(|session| ending(user, *session)).collect()).await?;
    }
    Ok(())
}

/// The writes that end a session.
pub(crate) fn ending(user: &Handle, session: Ulid) -> [Write; 2] {
    [Write::delete(Table::Entities, sign_ins::key(session)), list::no_row(user, session)]
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`SignIn` spells it out");

#[cfg(test)]
#[path = "families_tests.rs"]
mod tests;
