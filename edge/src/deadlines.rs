//! What a sweep looks at, and what it finds to do.

use soundoff_common::protocol::CloseCode;

/// What time it is for a sweep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds of the edge's clock.
    pub(crate) clock_ms: u64,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// What a sweep finds to do at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Close(CloseCode),
    /// Tell the client that its token lapses in so many milliseconds.
    Auth(u64),
    /// It had its time to close.
    Cut,
}

/// The deadlines a sweep looks at, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) hello: u64,
    pub(crate) silence: u64,
    pub(crate) auth_due: u64,
}
