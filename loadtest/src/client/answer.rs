//! What a session reports.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::value::RawValue;
use soundoff_common::protocol::ErrorBody;

use crate::socket::{End, Push};

/// What had to be repeated, counted over all sessions of a run.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    /// Sends refused because the socket was too fast.
    pub(crate) rate_limited: AtomicU64,
    /// Sends refused because the server had no room.
    pub(crate) overloaded: AtomicU64,
    /// Sends repeated because nothing came back in time.
    pub(crate) unanswered: AtomicU64,
    /// Sends repeated because the socket was gone.
    pub(crate) cut_off: AtomicU64,
    /// Sockets opened in place of lost ones.
    pub(crate) reconnects: AtomicU64,
    /// Why the last socket was lost or could not be opened.
    pub(crate) last_end: Mutex<Option<End>>,
}

/// What happened to a message, or what is new in the inbox.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is durable. Reported once.
    Accepted {
        /// The message's id.
        id: String,
        /// From the time it was due, or else first sent, until it was accepted.
        after: Duration,
    },
    /// It is finished.
    Done {
        /// The message's id.
        id: String,
        /// What the worker said, or why the edge or the worker refused for good.
        outcome: Result<Box<RawValue>, ErrorBody>,
        /// It had taken effect before.
        duplicate: bool,
        /// From the time it was due, or else first sent, until now.
        after: Duration,
        /// How often it was sent and not refused. The server owes as many replies, this one included.
        sends: u32,
        /// Whether all of that was on the socket that is open now.
        unbroken: bool,
    },
    /// Another reply to a finished message: it was sent more than once, or the server answers twice.
    Again {
        /// The message's id.
        id: String,
        /// What it says this time.
        outcome: Result<Box<RawValue>, ErrorBody>,
        /// It had taken effect before.
        duplicate: bool,
    },
    /// An entry of the inbox. Each comes once and in its order, however often the server sends it.
    Push {
        /// The entry.
        push: Push,
        /// How many entries between the last one and this one never came.
        missing: u64,
    },
}
