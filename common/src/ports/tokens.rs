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

/// Why a token is refused. The text never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not one of ours: malformed, foreign, altered or not yet valid.
    #[error("the token is not valid")]
    Invalid,
}

/// Judges access tokens.
///
/// It fails closed: everything unclear is [`TokenError::Invalid`].
pub trait TokenVerifier: Send + Sync + 'static {
    /// What the token says, if it is valid at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`TokenError`] when it is not valid.
    fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError>;

    /// Changes when tokens that were valid may no longer be: callers must forget what they remember of tokens.
    fn epoch(&self) -> u64 {
        0
    }
}
