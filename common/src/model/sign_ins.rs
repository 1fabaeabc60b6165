//! Sign-ins: what an access token's `sid` stands for. The User service makes and ends them; whoever takes a token looks here whether
//! it still opens anything.

use hyper::HeaderMap;
use ulid::Ulid;

use crate::model::accounts;
use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, EXPIRES, Key, Table, TableError, Tables, Write};
use crate::ports::tokens::{Claims, TokenVerifier};
use crate::protocol::Role;
use crate::web::http::bearer;

/// The attributes of a session: whose it is, since when (milliseconds since 1970), and its refresh tokens.
pub mod attribute {
    #![expect(missing_docs, reason = "each is the name it holds")]
    pub use crate::ports::tables::EXPIRES;
    pub const USER: &str = "user";
    pub const CREATED_AT: &str = "created_at";
    pub const REFRESH: &str = "refresh";
    pub const BEFORE: &str = "before";
    pub const ROTATED_AT: &str = "rotated_at";
    pub const RETRIED_AT: &str = "retried_at";
    pub(super) const ALL: &[&str] = &[USER, CREATED_AT, REFRESH, BEFORE, ROTATED_AT, RETRIED_AT, EXPIRES];
}

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "session",
    table: Table::Entities,
    pk: "sign-in#<sid>",
    sk: "sign-in",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "A session: hashes of its refresh tokens, and when they changed. Its end is its absence.",
}];

/// Where a sign-in lies in [`Table::Entities`], for as long as it lives: `user` says whose it is, `created_at` since when (milliseconds since
/// 1970).
#[must_use]
pub fn key(session: Ulid) -> Key {
    Key::new(format!("sign-in#{session}"), "sign-in")
}

/// Why a token that was once good opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// There is no such user.
    #[error("there is no such user")]
    NoUser,
    /// The sign-in has ended: logged out, revoked or lapsed.
    #[error("the session has ended; sign in again")]
    Ended,
    /// Nobody knows now.
    #[error("the tables do not answer: {0}")]
    Unknown(#[from] TableError),
}

/// What the bearer token of a request says, if it opens anything at `now_s` (seconds since 1970); `None` when there is none.
///
/// # Errors
/// [`Closed`] when there is one that does not, or nobody can tell.
pub async fn of_bearer(
    tables: &dyn Tables,
    verifier: &dyn TokenVerifier,
    headers: &HeaderMap,
    now_s: u64,
) -> Result<Option<Claims>, Closed> {
    let Some(token) = bearer(headers) else { return Ok(None) };
    let claims = token.ok().and_then(|token| verifier.verify(token, now_s).ok()).ok_or(Closed::Ended)?;
    check(tables, &claims, now_s).await?;
    Ok(Some(claims))
}

/// A token that opens something.
#[derive(Debug)]
pub struct Open {
    /// What its user may do now: what the token says, and no more than what the account says.
    pub role: Role,
    still: [Write; 2],
}

impl Open {
    /// Holds a transaction to its being so still.
    #[must_use]
    pub fn still(self) -> [Write; 2] {
        self.still
    }
}

/// Whether a token that was found good opens anything at `now_s` (seconds since 1970).
///
/// # Errors
/// [`Closed`] when it does not, or nobody can tell.
pub async fn check(tables: &dyn Tables, claims: &Claims, now_s: u64) -> Result<Open, Closed> {
    let (user, session) = (accounts::key(&claims.user), key(claims.session));
    let keys = [(Table::Users, user.clone()), (Table::Entities, session.clone())];
    let mut found = tables.get_many(&keys).await?.into_iter();
    let (account, sign_in) = (found.next().flatten(), found.next().flatten());
    let account = account.ok_or(Closed::NoUser)?;
    let sign_in = sign_in.filter(|sign_in| sign_in.text(attribute::USER) == Some(claims.user.as_str()));
    let sign_in = sign_in.ok_or(Closed::Ended)?;
    // Engines remove what has expired late.
    let lapsed = sign_in.number(EXPIRES).is_some_and(|at| at <= now_s);
    let begun = sign_in.number(attribute::CREATED_AT).unwrap_or(0);
    let revoked_at = account.number("revoked_at");
    if lapsed || revoked_at.is_some_and(|revoked| begun <= revoked) {
        return Err(Closed::Ended);
    }
    let role = account.text("role").map_or(Ok(Role::User), str::parse).map_err(TableError::Corrupt)?;
    let unrevoked = match revoked_at {
        Some(at) => Condition::Equals("revoked_at", at.into()),
        None => Condition::All(vec![Condition::Exists, Condition::Absent("revoked_at")]),
    };
    let still = [
        Write::check(
            Table::Entities,
            session,
            Condition::Equals(attribute::USER, claims.user.as_str().into()),
        ),
        Write::check(Table::Users, user, unrevoked),
    ];
    Ok(Open { role: role.min(claims.role), still })
}
