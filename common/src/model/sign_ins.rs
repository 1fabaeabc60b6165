//! Sign-ins: what an access token's `sid` stands for. The User service makes and ends them; every service that takes a
//! token checks here whether the token is still valid.

use hyper::HeaderMap;
use ulid::Ulid;

use crate::model::accounts;
use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Action, Change, Condition, EXPIRES, Item, Key, Table, TableError, Tables, Write};
use crate::ports::tokens::{Claims, Foreign, Token, TokenError, TokenVerifier};
use crate::protocol::Role;
use crate::web::http::bearer;

crate::attributes! {
    /// The attributes of a session: whose it is, since when and when its user last proved who they are (milliseconds
    /// since 1970), its refresh tokens, the account's `revoked_at` as it was when the session began, the way that began
    /// it, the program that did, the passkey by which its user proved who they are, and whether it is in its user's
    /// list. One that stands for a user of the customer's own has no refresh tokens; of their tokens it takes those that
    /// were issued at `tokens_from` (seconds since 1970) or later.
    pub mod attribute {
        USER = "user",
        CREATED_AT = "created_at",
        REFRESH = "refresh",
        BEFORE = "before",
        ROTATED_AT = "rotated_at",
        RETRIED_AT = "retried_at",
        REVOKED_AT = "revoked_at",
        TOKENS_FROM = "tokens_from",
        PROVED_AT = "proved_at",
        WAY = "way",
        CLIENT = "client",
        PASSKEY = "passkey",
        LISTED = "listed",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "session",
    table: Table::Entities,
    pk: "sign-in#<sid>",
    sk: "sign-in",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "A session: hashes of its refresh tokens, and when they changed. When a session ends, its item is removed.",
}];

/// When the user of a session has last proved who they are, in milliseconds since 1970: when it began, or later. One that
/// stands for a user of the customer's own began with a token that may have been theirs for long, which proves nothing
/// new.
fn proved_at(sign_in: &Item) -> u64 {
    let at = |name| sign_in.number(name).unwrap_or(0);
    let proved_at = at(attribute::PROVED_AT);
    match sign_in.number(attribute::TOKENS_FROM) {
        None => proved_at.max(at(attribute::CREATED_AT)),
        Some(_) => proved_at,
    }
}

/// The key of a sign-in in [`Table::Entities`]. The item is there for as long as the sign-in is valid.
#[must_use]
pub fn key(session: Ulid) -> Key {
    Key::new(format!("sign-in#{session}"), "sign-in")
}

/// The time of a revocation now, after the account's last at `before` (both in milliseconds since 1970). Each has a time
/// of its own, whatever the clock says: sessions remember the last one before them.
#[must_use]
pub fn revoked_now(before: u64, now_ms: u64) -> u64 {
    now_ms.max(before + 1)
}

/// Whether a session has been revoked, by the account's `revoked_at` now and as it was when the session began. Only
/// whether it has changed counts: clocks do not. A session of version 0.1.0 does not say; for it, `begun` must be later
/// (milliseconds since 1970).
#[must_use]
pub fn is_revoked(revoked_at: u64, seen: Option<u64>, begun: u64) -> bool {
    match seen {
        Some(seen) => revoked_at != seen,
        None => begun <= revoked_at,
    }
}

/// Why a token that was once valid no longer is.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// There is no such user.
    #[error("there is no such user")]
    NoUser,
    /// The sign-in has ended: logged out, revoked or expired.
    #[error("the session has ended; sign in again")]
    Ended,
    /// It cannot be checked now.
    #[error("the tables do not answer: {0}")]
    Unknown(#[from] TableError),
    /// It cannot be checked before the keys of its issuer are known.
    #[error("the keys of the token's issuer are not known now")]
    NoKeys,
}

impl From<TokenError> for Closed {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown => Closed::NoKeys,
            TokenError::Expired | TokenError::Invalid => Closed::Ended,
        }
    }
}

/// Whom a valid token speaks for. Whether that user's sign-in is still valid is [`check`]'s to say.
///
/// # Errors
/// [`Closed`] when a token of the customer's own is of somebody who has not been introduced, or was issued before the
/// sign-in ended the last time; or when that cannot be checked.
pub async fn whose(tables: &dyn Tables, token: Token) -> Result<Claims, Closed> {
    match token {
        Token::Ours(claims) => Ok(claims),
        Token::Foreign(foreign) => introduced(tables, foreign).await,
    }
}

async fn introduced(tables: &dyn Tables, foreign: Foreign) -> Result<Claims, Closed> {
    let Foreign { session, issued_at, expires_at } = foreign;
    let sign_in = tables.get(Table::Entities, key(session)).await?.ok_or(Closed::Ended)?;
    let from = sign_in.number(attribute::TOKENS_FROM).ok_or(Closed::Ended)?;
    let user = sign_in.text(attribute::USER).and_then(|user| user.parse().ok());
    let user = user.ok_or_else(|| TableError::Corrupt("a sign-in without its user".to_owned()))?;
    if issued_at < from {
        return Err(Closed::Ended);
    }
    // Their token says nothing of roles here: the account alone does.
    Ok(Claims { user, session, role: Role::Admin, expires_at })
}

/// What the bearer token of a request says, if it is valid at `now_s` (seconds since 1970); `None` when there is none.
///
/// # Errors
/// [`Closed`] when there is one that is not valid, or when that cannot be checked.
pub async fn of_bearer(
    tables: &dyn Tables,
    verifier: &dyn TokenVerifier,
    headers: &HeaderMap,
    now_s: u64,
) -> Result<Option<Claims>, Closed> {
    let Some(token) = bearer(headers) else { return Ok(None) };
    let claims = whose(tables, verifier.verify(token, now_s)?).await?;
    check(tables, &claims, now_s).await?;
    Ok(Some(claims))
}

/// A valid token.
#[derive(Debug)]
pub struct Open {
    /// What its user may do now: the lesser of what the token and the account say.
    pub role: Role,
    /// When its user has last proved who they are, in milliseconds since 1970.
    pub proved_at: u64,
    /// When all sessions of the account were last revoked, in milliseconds since 1970; 0 when never.
    pub revoked_at: u64,
    /// What the account may do, whatever the token says.
    pub account_role: Role,
    /// The mark of the passkey by which the session's user proved who they are, if they did.
    pub passkey: Option<String>,
    still: [Write; 2],
}

impl Open {
    /// Checks that make a transaction fail when the token is no longer valid at its commit.
    #[must_use]
    pub fn still(self) -> [Write; 2] {
        self.still
    }

    /// The same checks, with changes of the session's item.
    #[must_use]
    pub fn changed(self, changes: Vec<Change>) -> [Write; 2] {
        let [mut session, account] = self.still;
        session.action = Action::Update(changes);
        [session, account]
    }

    /// The same checks, with changes of the account's item and of the session's.
    #[must_use]
    pub fn both_changed(self, session_changes: Vec<Change>, account_changes: Vec<Change>) -> [Write; 2] {
        let [session, mut account] = self.changed(session_changes);
        account.action = Action::Update(account_changes);
        [session, account]
    }
}

/// Checks that a token whose signature is good is still valid at `now_s` (seconds since 1970).
///
/// # Errors
/// [`Closed`] when it is not, or when that cannot be checked.
pub async fn check(tables: &dyn Tables, claims: &Claims, now_s: u64) -> Result<Open, Closed> {
    let (user, session) = (accounts::key(&claims.user), key(claims.session));
    let keys = [(Table::Users, user.clone()), (Table::Entities, session.clone())];
    let mut found = tables.get_many(&keys).await?.into_iter();
    let (account, sign_in) = (found.next().flatten(), found.next().flatten());
    let account = account.ok_or(Closed::NoUser)?;
    let sign_in = sign_in.filter(|sign_in| sign_in.text(attribute::USER) == Some(claims.user.as_str()));
    let sign_in = sign_in.ok_or(Closed::Ended)?;
    // Engines remove expired items late.
    let expired = sign_in.number(EXPIRES).is_some_and(|at| at <= now_s);
    let begun = sign_in.number(attribute::CREATED_AT);
    let revoked_at = account.number(accounts::attribute::REVOKED_AT);
    // A revocation at time 0 never was.
    let revoked =
        is_revoked(revoked_at.unwrap_or(0), sign_in.number(attribute::REVOKED_AT), begun.unwrap_or(1));
    if expired || revoked {
        return Err(Closed::Ended);
    }
    let role = account
        .text(accounts::attribute::ROLE)
        .map_or(Ok(Role::User), str::parse)
        .map_err(TableError::Corrupt)?;
    let unrevoked = match revoked_at {
        Some(at) => Condition::Equals(accounts::attribute::REVOKED_AT, at.into()),
        None => Condition::All(vec![Condition::Exists, Condition::Absent(accounts::attribute::REVOKED_AT)]),
    };
    let still = [
        Write::check(
            Table::Entities,
            session,
            Condition::Equals(attribute::USER, claims.user.as_str().into()),
        ),
        Write::check(Table::Users, user, unrevoked),
    ];
    let (proved_at, revoked_at) = (proved_at(&sign_in), revoked_at.unwrap_or(0));
    let passkey = sign_in.text(attribute::PASSKEY).map(str::to_owned);
    Ok(Open { role: role.min(claims.role), proved_at, revoked_at, account_role: role, passkey, still })
}
