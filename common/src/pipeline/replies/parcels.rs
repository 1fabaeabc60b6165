//! What is on its way to sockets, and who waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::pipeline::deliver::Delivery;
use crate::pipeline::envelope::Origin;
use crate::ports::sessions::Registration;
use crate::protocol::Handle;

/// A delivery and, for a reply, the socket that asked.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What to deliver; `connection` is filled in later.
    pub delivery: Delivery,
    /// Deliver to this socket; to all of the user's when it is gone.
    pub origin: Option<Origin>,
}

/// Its receiver resolves when the last clone is dropped: when all parts of what a caller handed in are delivered or
/// given up.
pub(super) type Ticket = Arc<oneshot::Sender<()>>;

/// A parcel whose edges are not known yet.
pub(super) struct Waiting {
    pub(super) parcel: Parcel,
    pub(super) ticket: Ticket,
}

/// A part of a parcel: the users of it who are on one edge.
pub(super) struct Part {
    pub(super) delivery: Delivery,
    /// What the Session Cache knows of them there; nothing when the origin said where its socket is.
    pub(super) registrations: Vec<(Handle, Registration)>,
    pub(super) ticket: Ticket,
}

impl Part {
    pub(super) fn frame_bytes(&self) -> usize {
        self.delivery.frame.as_ref().map_or(0, |frame| frame.get().len())
    }
}

/// One edge process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EdgeProcess {
    pub(super) address: Arc<str>,
    pub(super) boot: Arc<str>,
}

impl From<&Registration> for EdgeProcess {
    fn from(r: &Registration) -> Self {
        Self { address: r.edge.clone(), boot: r.boot.clone() }
    }
}
