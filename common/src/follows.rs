//! The two lists of follows as they are stored: written by workers, read by whoever needs to know who follows whom.

use serde::{Deserialize, Serialize};

use crate::protocol::Handle;

/// What every list row's `sk` starts with; the message that made the follow comes after it, so that lists sort by time.
pub const PREFIX: &str = "l#";

/// A list row's item.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The other user.
    pub who: Handle,
}

/// Whom `user` follows.
#[must_use]
pub fn following(user: &Handle) -> String {
    format!("follow#{user}")
}

/// Who follows `user`.
#[must_use]
pub fn followers(user: &Handle) -> String {
    format!("followers#{user}")
}
