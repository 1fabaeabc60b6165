//! Messages that wait for main_q: how many there are, and who sent each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ulid::Ulid;

use crate::connection::Connection;

/// What waits for main_q, over all sockets.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
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
}

/// Counts one message as waiting until dropped, whatever happens to it.
struct Place {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Place {
    #[inline]
    fn take(waiting: &Arc<Waiting>, bytes: usize) -> Self {
        waiting.bytes.fetch_add(bytes, Ordering::AcqRel);
        waiting.messages.fetch_add(1, Ordering::AcqRel);
        Self { waiting: waiting.clone(), bytes }
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.waiting.messages.fetch_sub(1, Ordering::AcqRel);
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

/// One message on its way to main_q.
pub(crate) struct Publish {
    /// The edge's own messages have none: no client hears of them, and no socket's bound or end waits for them.
    pub(crate) sender: Option<Sender>,
    pub(crate) mid: Ulid,
    pub(crate) body: Bytes,
    pub(crate) came: Instant,
    _place: Place,
}

impl Publish {
    /// A message that came now, and counts in `waiting` from now on.
    #[inline]
    pub(crate) fn new(waiting: &Arc<Waiting>, sender: Option<Sender>, mid: Ulid, body: Bytes) -> Self {
        let place = Place::take(waiting, body.len());
        Self { sender, mid, body, came: Instant::now(), _place: place }
    }
}
