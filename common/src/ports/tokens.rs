//! Who a token speaks for.

use ulid::Ulid;

use crate::protocol::{Handle, Role};

/// What a valid access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub user: Handle,
    /// The sign-in this token came from (`sid`).
    pub session: Ulid,
    /// What the user was when it was issued.
    pub role: Role,
    /// When it lapses, in seconds since 1970.
    pub expires_at: u64,
}

/// A token that opens nothing. The text never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It is not one of ours: malformed, foreign, altered or not yet valid.
    #[error("the token is not valid")]
    Invalid,
}

/// Judges access tokens.
///
/// Fails closed: anything unclear is [`TokenError::Invalid`].
pub trait TokenVerifier: Send + Sync + 'static {
    /// What the token says, if it is good at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`TokenError`] when it opens nothing.
    fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError>;

    /// Changes when tokens that were good before may open nothing any more: what was remembered of them is to be forgotten.
    fn epoch(&self) -> u64 {
        0
    }
}
