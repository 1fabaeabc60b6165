//! Deadlines of sockets, and what is due when one has passed.

use soundoff_common::protocol::CloseCode;

/// The time of a sweep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds of the edge's clock.
    pub(crate) clock_ms: u64,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// What a sweep must do about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Close(CloseCode),
    /// Tell the client that its token expires in this many milliseconds.
    Auth(u64),
    /// Its time to close is over.
    Cut,
}

/// How long a socket has for each thing, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) hello: u64,
    pub(crate) silence: u64,
    pub(crate) auth_due: u64,
    pub(crate) probe: u64,
    pub(crate) linger: u64,
}
