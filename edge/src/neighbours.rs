//! What an edge asks of the other edges that hold sockets of the same user.

use std::sync::Arc;

use soundoff_common::pipeline::deliver::{Delivery, Kind};
use soundoff_common::pipeline::envelope::Origin;
use soundoff_common::pipeline::replies::{Parcel, Replies};
use soundoff_common::ports::sessions::Registration;
use soundoff_common::protocol::Handle;
use tokio::sync::Semaphore;

/// How many requests are on their way at once. More are left out: a socket that should have been asked or closed falls
/// silent by itself, and a client that found no place comes again.
const AT_ONCE: usize = 256;

/// The way to the other edges.
pub(crate) struct Neighbours {
    replies: Replies,
    free: Arc<Semaphore>,
}

impl Neighbours {
    pub(crate) fn new(replies: Replies) -> Self {
        Self { replies, free: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Has a socket closed whose device has said `hello` here.
    pub(crate) fn replace(&self, user: &Handle, old: &Registration) {
        let origin = Origin { boot: old.boot.clone(), connection: old.connection, edge: None };
        self.ask(Kind::Replace, user, Some(origin));
    }

    /// Has the user's sockets asked for a sign of life.
    pub(crate) fn probe(&self, user: &Handle) {
        self.ask(Kind::Probe, user, None);
    }

    fn ask(&self, kind: Kind, user: &Handle, origin: Option<Origin>) {
        let Ok(permit) = self.free.clone().try_acquire_owned() else { return };
        let to = vec![user.clone()];
        let delivery = Delivery::of(kind, to);
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let _permit = permit;
            replies.deliver(vec![Parcel { delivery, origin }]).await;
        });
    }
}
