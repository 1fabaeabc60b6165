//! A socket's turn: its job, then reading and writing, until nothing is left to do or the turn is over.

use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use socket2::SockRef;

use super::layout::{Ended, Socket};
use crate::catch_up::catch_up;
use crate::edge::Edge;
use crate::registration;
use crate::state::Phase;

/// How often a socket reads and writes before another socket's turn.
const ROUNDS: usize = 8;

/// How often a socket whose connection has ended is read at most: more than the kernel keeps for it.
const LAST_READS: usize = 256;

/// What a reactor must do about a socket it has driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    /// Nothing until it is marked or the network is ready.
    Waits,
    /// It has had its turn and could go on.
    Again,
    Over,
}

impl Socket {
    /// Runs the job on; starts one when the inbox is ahead. Returns whether it came to an end.
    fn poll_job(&mut self, edge: &Arc<Edge>) -> bool {
        if !self.has_job() && self.connection.state().is_catching_up() {
            let job = catch_up(edge.clone(), self.connection.clone());
            self.busy().job = Some(Box::pin(job));
        }
        let Some(busy) = &mut self.busy else { return false };
        let Some(job) = &mut busy.job else { return false };
        let waker = Waker::from(self.connection.clone());
        let ended = job.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ended || self.connection.state().phase == Phase::Closing {
            busy.job = None;
            return true;
        }
        false
    }

    /// Whether both sides have said all they had to say.
    fn is_over(&mut self, edge: &Arc<Edge>) -> bool {
        let state = self.connection.state();
        let is_closing = state.phase == Phase::Closing;
        let (closed, abrupt) = (is_closing && state.queue.is_empty(), state.abrupt);
        drop(state);
        if is_closing {
            self.leave(edge);
        }
        if closed && self.deaf && !self.shut {
            // A peer that does not speak the protocol need not answer the close: the end of the stream says the same.
            self.shut = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        closed && (self.peer_closed || abrupt)
    }

    /// Does what there is to do, for a while.
    pub(crate) fn drive(&mut self, edge: &Arc<Edge>) -> Driven {
        // Until the last look, nobody needs to say that there is something to do, least of all the socket itself.
        self.connection.keep_marked();
        let mut last = false;
        for _ in 0..ROUNDS {
            if self.connection.is_cut() {
                if self.connection.state().has_output() {
                    // The kernel, too, discards what this peer does not take.
                    let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                }
                return Driven::Over;
            }
            let mut progress = self.poll_job(edge);
            match self.read(edge).and_then(|read| Ok(read | self.write(edge)?)) {
                Ok(moved) => progress |= moved,
                Err(Ended) => {
                    self.hear_out(edge);
                    return Driven::Over;
                }
            }
            if self.is_over(edge) {
                return Driven::Over;
            }
            if progress {
                continue;
            }
            if last {
                // An idle socket keeps nothing.
                self.busy.take_if(|busy| busy.is_over());
                return Driven::Waits;
            }
            // Before the last look: what comes after it marks again.
            self.connection.unmark();
            last = true;
        }
        Driven::Again
    }

    /// Reads what the client had said before its connection ended: an ack counts, also one that had to wait because the
    /// client did not read.
    fn hear_out(&mut self, edge: &Arc<Edge>) {
        self.connection.echo_close(None, 0);
        if let Some(busy) = &mut self.busy {
            busy.rests_until_ns = 0;
        }
        for _ in 0..LAST_READS {
            if !matches!(self.read(edge), Ok(true)) {
                return;
            }
        }
    }

    /// Begins the rest of the work for a closing socket, once: it is gone for everybody else, however long it takes to
    /// close.
    fn leave(&mut self, edge: &Arc<Edge>) {
        if !std::mem::replace(&mut self.left, true) && self.connection.identity().is_some() {
            edge.tasks.spawn(registration::leave(edge.clone(), self.connection.clone()));
        }
    }

    /// Forgets the socket.
    pub(crate) fn end(mut self, edge: &Arc<Edge>) {
        self.connection.echo_close(None, 0);
        edge.registry.leave(&self.connection);
        edge.metrics.edge_sockets.dec();
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        if self.left && self.connection.has_unsaved() {
            // It acked while it was closing.
            edge.tasks.spawn(registration::leave(edge.clone(), self.connection.clone()));
        }
        self.leave(edge);
    }
}
