//! Durable queues with visibility: at least once, unordered, bounded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod rounds;

pub use rounds::Rounds;

use crate::protocol::Handle;

/// The suite that every adapter of [`Queues`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// A queue's name, such as `main_q` or `post_create_q`: lower-case letters, digits and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Names a queue.
    ///
    /// # Panics
    /// If `name` holds anything but lower-case letters, digits and `_`: names are written in code, so this is a defect
    /// of ours.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(!name.is_empty() && name.bytes().all(valid), "not a queue name: {name:?}");
        Self(name.into())
    }

    /// The queue of a message type: `post.create` → `post_create_q`.
    #[must_use]
    pub fn of_type(message_type: &str) -> Self {
        Self::new(&format!("{}_q", message_type.replace('.', "_")))
    }

    /// The queue that every message from a client enters first.
    #[must_use]
    pub fn main() -> Self {
        Self::new("main_q")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for QueueName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One body on its way to one queue.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it goes.
    pub queue: QueueName,
    /// UTF-8 JSON, at most [`MAX_BODY_BYTES`].
    pub body: Bytes,
    /// For whom: the user whose message it is, or who caused it. `None` for what the system does by itself.
    pub user: Option<Handle>,
}

/// The largest body that any adapter takes, in bytes: older SQS tools refuse more.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Beyond one of so many parts of what may wait, a user holds at most a share of it (law 11).
pub const ANYBODYS: u8 = 2;
/// Into how many shares it is divided.
pub const SHARES: u8 = 64;

/// Proof of one receive, needed to ack, extend or bury. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub Bytes);

/// One message as received.
#[derive(Debug, Clone)]
pub struct Message {
    /// What acks it.
    pub receipt: Receipt,
    /// The body as it was sent.
    pub body: Bytes,
    /// How often it has been received, this time included: 1 at first.
    pub attempt: u32,
    /// When it was first sent, in milliseconds since 1970.
    pub sent_at: u64,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Messages a receive would find now.
    pub visible: u64,
    /// Messages received and neither acked nor visible again.
    pub in_flight: u64,
    /// Age of the oldest message not yet acked, in milliseconds; 0 when there is none.
    pub oldest_age_ms: u64,
    /// Messages in the queue's dead letter queue.
    pub dead: u64,
}

/// A message that was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Names the letter within its queue; stable while the letter is there.
    pub key: String,
    /// The body as it was sent, as text.
    pub body: String,
    /// Why it was given up.
    pub reason: String,
    /// How often it was received; absent when the engine itself gave it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it was buried, in milliseconds since 1970.
    pub buried_at: u64,
}

/// Why a queue call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// No such queue: the caller's list and the adapter's differ.
    #[error("there is no queue {0}")]
    UnknownQueue(QueueName),
    /// The body is over [`MAX_BODY_BYTES`].
    #[error("a body of {0} bytes is over the limit of {MAX_BODY_BYTES}")]
    TooLarge(usize),
    /// The queues hold as much as they may.
    #[error("the queues are full; retry when workers have caught up")]
    Full,
    /// The queues are more than half full, and of it this user holds as much as one may.
    #[error("the queues hold as much of this user as they may; retry when some of it is done")]
    Share,
    /// The disk of the queues has no room; nothing has changed.
    #[error("the disk of the queues is full; retry when there is room")]
    NoRoom,
    /// The engine did not serve the call.
    #[error("the queues are unavailable: {0}")]
    Unavailable(String),
}

/// Durable queues.
///
/// Laws, each in the contract suite:
/// 1. `send` returns a result for each entry, in order; an entry that is `Ok` survives `kill -9` and power loss from
///    then on. A refused entry leaves the others alone.
/// 2. A message is received again until it is acked, after its visibility timeout, and by nobody before that.
/// 3. `receive` returns at most `max` messages, waits at most `wait` for the first, and returns none when none came. It
///    wakes at once for a new message.
/// 4. `ack` removes for good, is idempotent, and works on messages of any age, also by an older receive's receipt;
///    after a restart nothing acked comes back. Only power loss may bring back what was acked in the last moments: that
///    is one more delivery, which handlers expect anyway. An adapter that packs several bodies into one engine message
///    may, after a crash, bring back acked members of a pack that was not yet settled whole: the same.
/// 5. `extend` replaces the visibility timeout, counted from now; zero makes the message visible at once. A receipt
///    whose message another consumer has received since changes nothing.
/// 6. `attempt` counts receives and survives a restart. `give_back` makes messages visible at once, and takes their
///    receive back.
/// 7. `bury` moves a message to its queue's dead letters in one step: never both, never neither. `redrive` moves it
///    back with `attempt` at 1; receipts from before it are void. An engine that cannot move a message sends first and
///    deletes after: a crash in between may leave both, never neither.
/// 8. Everything unacked is visible after a restart.
/// 9. `forward` is `send` for bodies that follow from a received message: they survive `kill -9` at once, and power
///    loss unless that message's ack is lost as well; then it comes again, and they are forwarded again. So callers ack
///    after they forward, and need not wait for a disk.
/// 10. Users are served in turn: while a user's k-th visible message waits, at most k messages of each other user are
///     received, however many those have. What is sent for nobody counts as one more user's. A message that is visible
///     again has the place in its user's line that its age gives it. An engine that decides by itself what a receive
///     gets serves users in turn by its own measure; then the adapter says which, and keeps the law for what its
///     process holds.
/// 11. Nobody fills the queues: once they are more than half full, `send` refuses with [`QueueError::Share`] a user who
///     would then hold more than 1/64 of the room, and nobody else. A user who holds nothing is not refused for that.
///     An engine without a bound refuses nobody.
#[async_trait]
pub trait Queues: Send + Sync + 'static {
    /// Sends entries to their queues; one result for each entry, in order.
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>>;

    /// Sends entries that follow from a received message which is not acked yet; one result for each entry, in order.
    async fn forward(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.send(batch).await
    }

    /// Sends entries that leave nothing behind when they are done, such as what only reads; one result for each entry, in
    /// order. On a disk that has no room for others they get what room is kept for such.
    async fn send_passing(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.send(batch).await
    }

    /// Receives up to `max` messages and hides them for `visibility`; waits up to `wait` for the first.
    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError>;

    /// Removes messages for good.
    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError>;

    /// Keeps messages hidden for `visibility` from now.
    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError>;

    /// Makes messages visible at once as if they had not been received: nobody could try them. A receipt whose message
    /// another consumer has received since changes nothing.
    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError>;

    /// Moves one message to the dead letters.
    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError>;

    /// How full the queue is.
    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError>;

    /// The oldest dead letters, at most `limit`.
    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Moves up to `limit` of the oldest dead letters back; returns how many.
    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError>;
}
