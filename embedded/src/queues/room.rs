//! Who may send what to a log that fills.

use std::collections::HashMap;

use soundoff_common::ports::queues::{ANYBODYS, QueueError, SHARES};
use soundoff_common::protocol::Handle;

use super::log::Log;

/// The room that is left while the writer sends one group of messages, none of which is counted in the state yet.
pub(super) struct Room<'a> {
    log: &'a Log,
    live: u64,
    /// What this group adds to what each user holds; empty while half of the room cannot be passed by it.
    added: Option<HashMap<Handle, u64>>,
}

impl<'a> Room<'a> {
    /// The room for a group of messages of `bytes` in all.
    pub(super) fn new(log: &'a Log, bytes: u64) -> Self {
        // Only the writer adds messages that a full log refuses, so no more of them can be live than these and what is
        // added here.
        let live = log.state().live;
        let is_near = live + bytes > log.options.live_bytes / u64::from(ANYBODYS);
        Self { log, live, added: is_near.then(HashMap::new) }
    }

    /// Whether there is room for a new message.
    pub(super) fn check(&self, user: Option<&Handle>, size: u64) -> Result<(), QueueError> {
        let most = self.log.options.live_bytes;
        if self.live + size > most {
            return Err(QueueError::Full);
        }
        let (Some(added), Some(user)) = (&self.added, user) else { return Ok(()) };
        if self.live + size <= most / u64::from(ANYBODYS) {
            return Ok(());
        }
        let held = self.log.state().users.bytes_of(user) + added.get(user).copied().unwrap_or(0);
        if held > 0 && held + size > most / u64::from(SHARES) { Err(QueueError::Share) } else { Ok(()) }
    }

    /// Counts a message that is sent.
    pub(super) fn take(&mut self, user: Option<&Handle>, size: u64) {
        self.live += size;
        if let (Some(added), Some(user)) = (&mut self.added, user) {
            *added.entry(user.clone()).or_default() += size;
        }
    }
}
