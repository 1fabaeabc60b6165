//! Sign-ins: what an access token's `sid` stands for. The User service makes and ends them; whoever takes a token looks here whether
//! it still opens anything.

use ulid::Ulid;

use crate::accounts;
use crate::ports::tables::{Key, Table, TableError, Tables};
use crate::ports::tokens::Claims;
use crate::protocol::Role;

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

/// What the token's user may do now: what the token says, and no more than what the account says.
///
/// # Errors
/// [`Closed`] when it opens nothing, or nobody can tell.
pub async fn check(tables: &dyn Tables, claims: &Claims) -> Result<Role, Closed> {
    let keys = [(Table::Users, accounts::key(&claims.user)), (Table::Entities, key(claims.session))];
    let mut found = tables.get_many(&keys).await?.into_iter();
    let (account, sign_in) = (found.next().flatten(), found.next().flatten());
    let account = account.ok_or(Closed::NoUser)?;
    let sign_in = sign_in.filter(|sign_in| sign_in.text("user") == Some(claims.user.as_str()));
    let begun = sign_in.ok_or(Closed::Ended)?.number("created_at").unwrap_or(0);
    if account.number("revoked_at").is_some_and(|revoked| begun <= revoked) {
        return Err(Closed::Ended);
    }
    let role = account.text("role").map_or(Ok(Role::User), str::parse).map_err(TableError::Corrupt)?;
    Ok(role.min(claims.role))
}
