//! What all users of a run share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::cast::{Cast, Posts};
use super::check::{Flaw, Flaws};
use super::record::Recorder;

/// What all users share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Which run this is: texts of others are not judged.
    pub(super) run: u64,
    /// All users.
    pub(super) cast: Arc<Cast>,
    /// What they have written.
    pub(super) posts: Arc<Posts>,
    /// Records what they see.
    pub(super) recorder: Recorder,
    /// And what was wrong with it.
    pub(super) flaws: Flaws,
    /// What is still to come.
    pub(super) open: Open,
    /// Replies, marked as duplicates, beyond those that were expected.
    pub(super) told_again: AtomicU64,
    /// Pushes that overtook others of the same sender, as they may when both were under way together.
    pub(super) overtaken: AtomicU64,
    /// Messages that had nobody to go to.
    pub(super) without_target: AtomicU64,
}

impl Shared {
    /// Counts a wrong answer.
    pub(super) fn wrong(&self, flaw: Flaw, example: impl FnOnce() -> String) {
        self.recorder.count(|counts| counts.wrong += 1);
        self.flaws.note(flaw, example);
    }

    /// A user's handle.
    pub(super) fn handle(&self, user: u32) -> &str {
        self.cast.handles[user as usize].as_str()
    }
}

/// What is still to come.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Messages without a reply.
    pub(super) unreplied: AtomicI64,
    /// Things done that have not reached their receiver. A push may overtake its reply: then it is below zero.
    pub(super) undelivered: AtomicI64,
    /// Replies to repeated sends.
    pub(super) unrepeated: AtomicI64,
}

impl Open {
    /// Whether nothing is.
    pub(super) fn is_settled(&self) -> bool {
        [&self.unreplied, &self.undelivered, &self.unrepeated].iter().all(|count| count.load(Relaxed) <= 0)
    }
}
