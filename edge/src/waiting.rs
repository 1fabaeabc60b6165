//! Messages that wait for main_q: how many there are, and who sent each of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use soundoff_common::lock::lock;
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::connection::Connection;

/// An amount of what waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Taken {
    /// Whether it is as much as `most` in one way or the other.
    #[inline]
    pub(crate) fn reaches(self, most: Self) -> bool {
        self.messages >= most.messages || self.bytes >= most.bytes
    }

    /// How much it is of `most`, in one way or the other: 1 is all of it.
    pub(crate) fn share_of(self, most: Self) -> f64 {
        let messages = self.messages as f64 / most.messages.max(1) as f64;
        messages.max(self.bytes as f64 / most.bytes.max(1) as f64)
    }

    /// One of so many equal parts, but something.
    #[inline]
    pub(crate) fn part(self, parts: usize) -> Self {
        Self { messages: (self.messages / parts).max(1), bytes: (self.bytes / parts).max(1) }
    }
}

/// What waits for main_q, over all sockets.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Of that, what each user has taken while it was crowded.
    of_users: Mutex<HashMap<Handle, Taken>>,
}

impl Waiting {
    #[inline]
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// What a user has taken while it was crowded.
    pub(crate) fn of(&self, user: &Handle) -> Taken {
        lock(&self.of_users).get(user).copied().unwrap_or_default()
    }

    fn count(&self, user: &Handle, bytes: usize) {
        let mut of_users = lock(&self.of_users);
        let taken = of_users.entry(user.clone()).or_default();
        taken.messages += 1;
        taken.bytes += bytes;
    }

    fn uncount(&self, user: &Handle, bytes: usize) {
        let mut of_users = lock(&self.of_users);
        let Some(taken) = of_users.get_mut(user) else { return };
        taken.messages -= 1;
        taken.bytes -= bytes;
        if taken.messages == 0 {
            of_users.remove(user);
        }
        if of_users.is_empty() {
            *of_users = HashMap::new();
        }
    }
}

/// The socket that waits for a message's `accepted` or error. Counts the message as unconfirmed until dropped.
pub(crate) struct Sender {
    pub(crate) connection: Arc<Connection>,
    /// The client's own id of the message.
    pub(crate) id: Box<str>,
}

impl Sender {
    #[inline]
    pub(crate) fn new(connection: &Arc<Connection>, id: &str) -> Self {
        connection.unconfirmed.fetch_add(1, Ordering::AcqRel);
        Self { connection: connection.clone(), id: id.into() }
    }
}

impl Drop for Sender {
    #[inline]
    fn drop(&mut self) {
        self.connection.unconfirmed.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who sent a message.
pub(crate) enum Source {
    Client(Sender),
    /// The edge, because of a user: no client hears of it, and no socket's bound or end waits for it.
    Edge(Handle),
}

/// One message on its way to main_q. Counts as waiting until dropped, whatever happens to it.
pub(crate) struct Publish {
    pub(crate) source: Source,
    pub(crate) mid: Ulid,
    pub(crate) body: Bytes,
    pub(crate) came: Instant,
    waiting: Arc<Waiting>,
    /// Whether it is counted as its user's as well.
    counted: bool,
}

impl Publish {
    /// A message that came now, and counts in `waiting` from now on.
    #[inline]
    pub(crate) fn new(waiting: &Arc<Waiting>, source: Source, mid: Ulid, body: Bytes) -> Self {
        waiting.bytes.fetch_add(body.len(), Ordering::AcqRel);
        waiting.messages.fetch_add(1, Ordering::AcqRel);
        Self { source, mid, body, came: Instant::now(), waiting: waiting.clone(), counted: false }
    }

    /// The user who sent it, or because of whom it was sent.
    #[inline]
    pub(crate) fn user(&self) -> Option<&Handle> {
        match &self.source {
            Source::Client(sender) => sender.connection.identity().map(|identity| &identity.user),
            Source::Edge(user) => Some(user),
        }
    }

    /// Counts it as its user's as well.
    #[cold]
    pub(crate) fn count(&mut self) {
        if let Some(user) = self.user() {
            self.waiting.count(user, self.body.len());
            self.counted = true;
        }
    }

    #[cold]
    fn uncount(&self) {
        if let Some(user) = self.user() {
            self.waiting.uncount(user, self.body.len());
        }
    }
}

impl Drop for Publish {
    #[inline]
    fn drop(&mut self) {
        self.waiting.bytes.fetch_sub(self.body.len(), Ordering::AcqRel);
        self.waiting.messages.fetch_sub(1, Ordering::AcqRel);
        if self.counted {
            self.uncount();
        }
    }
}
