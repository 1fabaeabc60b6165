//! From the network to whole frames: reading, gathering, and pausing while the client must wait.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _};
use std::sync::Arc;

use soundoff_common::protocol::CloseCode;

use super::layout::{Ended, Socket};
use crate::edge::Edge;
use crate::state::{Phase, State};
use crate::websocket::Violation;

/// The size of the buffer that all sockets of a thread read through.
const READ_BYTES: usize = 32 * 1024;
/// How often a socket reads before it writes.
const READS: usize = 2;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

impl Socket {
    #[inline]
    fn is_paused(&self, edge: &Edge) -> bool {
        self.pauses(&self.connection.state(), edge)
    }

    /// Whether the client must wait: for its `welcome`, or until it has read what waits for it.
    #[inline]
    fn pauses(&self, state: &State, edge: &Edge) -> bool {
        match state.phase {
            Phase::Silent => self.has_job() || state.has_output(),
            Phase::Joining => true,
            Phase::Open => state.is_half_full(edge.room()),
            Phase::Closing => false,
        }
    }

    /// Reads for a while; returns whether anything came.
    #[inline]
    pub(super) fn read(&mut self, edge: &Arc<Edge>) -> Result<bool, Ended> {
        let mut progress = false;
        for _ in 0..READS {
            if self.is_paused(edge) {
                break;
            }
            if let Some(busy) = &mut self.busy
                && std::mem::take(&mut busy.stalled)
            {
                let waited = std::mem::take(&mut busy.unread);
                self.digest(edge, waited);
                progress = true;
                continue;
            }
            if !self.readiness.readable {
                break;
            }
            progress = true;
            READ.with_borrow_mut(|buffer| match self.stream.read(buffer) {
                Ok(0) => Err(Ended),
                Ok(n) => {
                    // A read that does not fill the buffer took all there was; the network reports more data, and the
                    // end, again.
                    self.readiness.readable = n == buffer.len() || self.readiness.ending;
                    self.take_in(edge, &mut buffer[..n]);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readiness.readable = false;
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
                Err(_) => Err(Ended),
            })?;
        }
        Ok(progress)
    }

    /// Takes in what was read; keeps a copy only of what is no whole frame yet.
    #[inline]
    fn take_in(&mut self, edge: &Arc<Edge>, bytes: &mut [u8]) {
        let waited = self.busy.as_mut().map(|busy| std::mem::take(&mut busy.unread));
        match waited.filter(|waited| !waited.is_empty()) {
            None => {
                let taken = self.frames(edge, bytes);
                if taken < bytes.len() {
                    self.busy().unread = bytes[taken..].to_vec();
                }
            }
            Some(mut waited) => {
                waited.extend_from_slice(bytes);
                self.digest(edge, waited);
            }
        }
    }

    fn digest(&mut self, edge: &Arc<Edge>, mut bytes: Vec<u8>) {
        let taken = self.frames(edge, &mut bytes);
        if taken < bytes.len() {
            bytes.drain(..taken);
            self.busy().unread = bytes;
        }
    }

    /// Acts on all whole frames, unless the client must wait; returns how many bytes they took.
    fn frames(&mut self, edge: &Arc<Edge>, bytes: &mut [u8]) -> usize {
        // What came together came at one time.
        let now_ns = edge.clock_ns();
        let mut heard = 0;
        let mut fragments = self.busy.as_mut().map(|b| std::mem::take(&mut b.fragments)).unwrap_or_default();
        let mut taken = 0;
        while !self.deaf {
            // One look for each frame: its lock is a good part of what a short frame costs.
            let state = self.connection.state();
            let (is_paused, role) = (self.pauses(&state, edge), state.role);
            let is_closing = state.phase == Phase::Closing;
            drop(state);
            if is_paused {
                if taken < bytes.len() {
                    self.busy().stalled = true;
                }
                break;
            }
            match fragments.decode(&mut bytes[taken..], edge.config.frame_bytes) {
                Ok(None) => break,
                Ok(Some((len, inbound))) => {
                    taken += len;
                    heard += 1;
                    if is_closing {
                        self.hear_last(inbound);
                    } else {
                        self.act(edge, inbound, now_ns, role);
                    }
                }
                Err(Violation(what)) => {
                    tracing::debug!(connection = self.connection.id, what, "a protocol violation");
                    self.deaf = true;
                    edge.close(&self.connection, CloseCode::ProtocolViolation);
                }
            }
        }
        if heard > 0 {
            edge.metrics.edge_frames_in.inc_by(heard);
            self.connection.heard(now_ns / 1_000_000);
        }
        if !fragments.is_empty() {
            self.busy().fragments = fragments;
        }
        if self.deaf { bytes.len() } else { taken }
    }
}
