//! What one socket consists of.
//!
//! Every byte here counts once per idle socket. Between frames a socket owns no buffer: it reads through one buffer
//! that all sockets of a thread share, and it writes the queued frames from where they are.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mio::net::TcpStream;
use soundoff_common::ports::tokens::Token;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::connection::{Arrival, Connection};
use crate::session::Session;
use crate::websocket::{Fragments, Skipped};

pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The network connection is of no more use.
pub(super) struct Ended;

/// What the network says of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end of the stream or an error follows what can be read. The network does not report it a second time.
    pub(crate) ending: bool,
}

/// What only a socket with something under way has.
#[derive(Default)]
pub(super) struct Busy {
    pub(super) fragments: Fragments,
    /// The beginning of a frame whose rest has not come, or frames that wait for their turn.
    pub(super) unread: Vec<u8>,
    /// A frame over the limit whose rest has not come.
    pub(super) skipped: Option<Skipped>,
    /// What the upgrade proved, until `hello`.
    pub(super) bearer: Option<Box<Token>>,
    /// `hello`, or catching up with the inbox.
    pub(super) job: Option<Job>,
    /// `unread` may contain whole frames.
    pub(super) stalled: bool,
    /// Nothing is read until then, in nanoseconds of the edge's clock; 0 for a socket that keeps to its rate.
    pub(super) rests_until_ns: u64,
}

impl Busy {
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.fragments.is_empty()
            && self.unread.is_empty()
            && self.skipped.is_none()
            && self.bearer.is_none()
            && self.job.is_none()
            && self.rests_until_ns == 0
    }
}

/// A socket after its upgrade.
pub(crate) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) connection: Arc<Connection>,
    pub(super) session: Session,
    pub(super) busy: Option<Box<Busy>>,
    pub(super) readiness: Readiness,
    /// What comes is no websocket any more, and is discarded.
    pub(super) deaf: bool,
    pub(super) peer_closed: bool,
    pub(super) shut: bool,
    /// It has begun to close, and the rest of the work for it has begun, too.
    pub(super) left: bool,
    /// The edge's end waits for this socket's.
    _counted: TaskTrackerToken,
}

impl Socket {
    pub(crate) fn new(arrival: Arrival) -> Self {
        let Arrival { connection, stream, leftover, bearer, counted } = arrival;
        let stalled = !leftover.is_empty();
        let busy = Busy { unread: leftover, stalled, bearer, ..Busy::default() };
        Self {
            stream: TcpStream::from_std(stream),
            connection,
            session: Session::default(),
            busy: (!busy.is_over()).then(|| Box::new(busy)),
            readiness: Readiness::default(),
            deaf: false,
            peer_closed: false,
            shut: false,
            left: false,
            _counted: counted,
        }
    }

    /// What the reactor watches.
    pub(crate) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket has its place in the reactor, at which it can be marked.
    pub(crate) fn settle(&self, place: u32) {
        self.connection.settle(place);
    }

    /// Adds what the network reports to what is known.
    pub(crate) fn became(&mut self, news: Readiness) {
        self.readiness.readable |= news.readable;
        self.readiness.writable |= news.writable;
        self.readiness.ending |= news.ending;
    }

    #[inline]
    pub(super) fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    #[inline]
    pub(super) fn has_job(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.job.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_is_small() {
        // Each byte here is paid once per idle socket; `examples/idle_memory.rs` measures the whole.
        assert!(size_of::<Socket>() <= 72, "the reactor holds {} bytes", size_of::<Socket>());
        assert!(size_of::<Connection>() <= 208, "the connection is {} bytes", size_of::<Connection>());
    }
}
