use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a frame or a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a frame of this protocol.
    BadFrame,
    /// The body does not fit its type.
    BadMessage,
    /// No such message type, or not one that clients send.
    UnknownType,
    /// A part of the message is over its limit.
    TooLarge,
    /// The socket sends faster than allowed.
    RateLimited,
    /// The server has no room now.
    Overloaded,
    /// The token is not valid for this.
    Unauthorized,
    /// The user may not do this.
    Forbidden,
    /// What the message names is not there, or not for this user to see.
    NotFound,
    /// The same `id` was used for another message, or the state forbids it.
    Conflict,
    /// Our own fault; the message is kept for operators.
    Internal,
}

impl ErrorCode {
    /// All of them, in the order of the protocol document.
    pub const ALL: [ErrorCode; 11] = [
        ErrorCode::BadFrame,
        ErrorCode::BadMessage,
        ErrorCode::UnknownType,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Overloaded,
        ErrorCode::Unauthorized,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::Conflict,
        ErrorCode::Internal,
    ];

    /// Whether the same frame may succeed later.
    #[must_use]
    pub fn retry(self) -> bool {
        matches!(self, ErrorCode::RateLimited | ErrorCode::Overloaded)
    }
}

/// The `error` object of frames and replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ErrorBody {
    /// What kind of error.
    pub code: ErrorCode,
    /// What to do about it, for the app's developer.
    pub message: String,
    /// Whether the same frame may succeed later.
    pub retry: bool,
    /// How long to wait before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// An error of `code` with a message for the app's developer.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: code.retry(), retry_after_ms: None }
    }

    /// The same error with a time to wait.
    #[must_use]
    pub fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}
