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
    /// The user's role when it was issued.
    pub role: Role,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

/// What a valid token of the customer's own says: a user of theirs, who may have an account here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// The sign-in that stands for this user of theirs. It is there once they have been introduced, and names their
    /// account.
    pub session: Ulid,
    /// When the token was issued, in seconds since 1970.
    pub issued_at: u64,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

/// A valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// One of ours.
    Ours(Claims),
    /// One of the customer's own, where the operator has said whose those are.
    Foreign(Foreign),
}

impl Token {
    /// When it expires, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        match self {
            Token::Ours(claims) => claims.expires_at,
            Token::Foreign(foreign) => foreign.expires_at,
        }
    }
}

/// Why a token is refused. The text never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not one of ours: malformed, foreign, altered or not yet valid.
    #[error("the token is not valid")]
    Invalid,
    /// The keys of its issuer are not known now: it may be valid, and opens nothing.
    #[error("the token cannot be checked now")]
    Unknown,
}

/// Judges access tokens.
///
/// It fails closed: everything unclear is [`TokenError::Invalid`].
pub trait TokenVerifier: Send + Sync + 'static {
    /// What the token says, if it is valid at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`TokenError`] when it is not valid.
    fn verify(&self, token: &str, now: u64) -> Result<Token, TokenError>;

    /// Changes when tokens that were valid may no longer be: callers must forget what they remember of tokens.
    fn epoch(&self) -> u64 {
        0
    }
}
