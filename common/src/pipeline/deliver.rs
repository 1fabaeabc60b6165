//! What workers send to an edge's internal port, and how they prove that they are ours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::protocol::Handle;

mod judge;
mod key;
mod numbers;
mod signer;

pub use judge::{Judge, Promised, Refused, is_fresh};
pub use key::{InternalKey, KeyTooShort, SignedAddress};
pub use signer::{SIGNED_HEADER, Signer};

/// The path at which an edge takes deliveries.
pub const DELIVER_PATH: &str = "/deliver";

/// The largest request an edge reads, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// The kind of a delivery. It decides how an edge treats it when a socket is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The outcome of one message, for the socket that asked.
    Reply,
    /// An inbox entry; `seq` is set. Without a frame it only says that `seq` exists.
    Push,
    /// A live event; may be dropped.
    Event,
    /// Closes the user's sockets, or those of one `session`: it was revoked.
    Revoke,
    /// Closes the user's sockets so that they come back with a fresh token: what the user may do has changed.
    Renew,
    /// Closes the socket `connection`: its device has said `hello` on another one.
    Replace,
    /// Asks the user's sockets for a sign of life, and closes those that give none: another socket wants a place.
    Probe,
}

/// One frame for some users' sockets on this edge. `F` is a `&RawValue` where a frame is borrowed from a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery<F = Box<RawValue>> {
    /// What it is.
    pub kind: Kind,
    /// Whose sockets.
    pub to: Vec<Handle>,
    /// Only this socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// Only the sockets of this sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Ulid>,
    /// Not the sockets of this sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<Ulid>,
    /// A push's place in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The whole frame as the client gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<F>,
}

impl<F> Delivery<F> {
    /// Nothing but a kind, for all sockets of some users.
    #[must_use]
    pub fn of(kind: Kind, to: Vec<Handle>) -> Self {
        Self { kind, to, connection: None, session: None, except: None, seq: None, frame: None }
    }
}

/// The body of `POST /deliver`. Its signature names the edge process that is meant: another process at a recycled
/// address refuses with 409.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliverRequest<D = Delivery> {
    /// The same name for edges of 0.1.0, which look for it here.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Arc<str>>,
    /// What to deliver, in order.
    pub deliveries: Vec<D>,
}

/// The answer to `POST /deliver`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DeliverAnswer {
    /// Which users had no socket here (or not the one named): the delivery's index and the user.
    pub missing: Vec<(usize, Handle)>,
}
