//! From the network to whole frames: reading, gathering, and pausing while the client must wait.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::task::Wake as _;
use std::time::Duration;

use soundoff_common::protocol::CloseCode;

use super::layout::{Ended, Socket};
use crate::edge::Edge;
use crate::state::{Phase, State};
use crate::websocket::{Inbound, Skipped, Violation};

/// The size of the buffer that all sockets of a thread read through.
const READ_BYTES: usize = 32 * 1024;
/// The largest frame before `hello`: an access token has at most 4 KiB.
const HELLO_BYTES: usize = 6 * 1024;
/// How many frames are acted on before they are counted: so many more than the rate may come once.
const FRAMES_AT_ONCE: u32 = 32;
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
        if self.busy.as_ref().is_some_and(|busy| busy.rests_until_ns > 0) {
            return true;
        }
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
        if let Some(busy) = &mut self.busy
            && busy.rests_until_ns > 0
            && busy.rests_until_ns <= edge.clock_ns()
        {
            busy.rests_until_ns = 0;
        }
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
    fn take_in(&mut self, edge: &Arc<Edge>, mut bytes: &mut [u8]) {
        if self.busy.as_ref().is_some_and(|busy| busy.skipped.is_some()) {
            let now_ns = edge.clock_ns();
            let skipped = self.skip_on(edge, bytes, now_ns);
            self.pay(edge, now_ns, 1);
            self.connection.heard(now_ns / 1_000_000);
            bytes = &mut bytes[skipped..];
        }
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
        let hello_bytes = HELLO_BYTES.min(edge.config.frame_bytes);
        let (mut frames, mut unpaid) = (0, 0);
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
            let limit = if self.session.has_greeted() { edge.config.frame_bytes } else { hello_bytes };
            match fragments.decode(&mut bytes[taken..], limit) {
                Ok(None) => break,
                Ok(Some((_, Inbound::Part))) if !self.session.has_greeted() => {
                    self.violated(edge, "hello comes in one frame")
                }
                Ok(Some((len, inbound))) => {
                    taken += len;
                    frames += 1;
                    unpaid += 1;
                    if unpaid == FRAMES_AT_ONCE {
                        self.pay(edge, now_ns, std::mem::take(&mut unpaid));
                    }
                    if is_closing {
                        self.hear_last(inbound);
                    } else {
                        self.act(edge, inbound, now_ns, role);
                    }
                }
                Err(Violation(what)) => {
                    match self.begin_to_skip(edge, &bytes[taken..], limit, now_ns, fragments.is_empty()) {
                        Some(skipped) => {
                            taken += skipped;
                            frames += 1;
                            unpaid += 1;
                        }
                        None => self.violated(edge, what),
                    }
                }
            }
        }
        if unpaid > 0 {
            self.pay(edge, now_ns, unpaid);
        }
        if frames > 0 {
            edge.metrics.edge_frames_in.inc_by(frames);
            if self.session.has_greeted() {
                self.connection.heard(now_ns / 1_000_000);
            }
        }
        if !fragments.is_empty() {
            self.busy().fragments = fragments;
        }
        if self.deaf { bytes.len() } else { taken }
    }

    /// Begins to skip a frame over the limit, after `hello` and between messages; returns how many bytes that took.
    #[cold]
    fn begin_to_skip(
        &mut self,
        edge: &Edge,
        bytes: &[u8],
        limit: usize,
        now_ns: u64,
        is_between: bool,
    ) -> Option<usize> {
        if !self.session.has_greeted() || !is_between {
            return None;
        }
        let (skipped, at) = Skipped::begin(bytes, limit)?;
        self.busy().skipped = Some(skipped);
        Some(at + self.skip_on(edge, &bytes[at..], now_ns))
    }

    /// Takes what has come of a frame that is skipped, and answers it when that was all; returns how many bytes it was.
    #[cold]
    fn skip_on(&mut self, edge: &Edge, bytes: &[u8], now_ns: u64) -> usize {
        let Some(skipped) = &mut self.busy().skipped else { return 0 };
        let taken = skipped.take(bytes);
        if let Some(start) = skipped.whole() {
            self.busy().skipped = None;
            let state = self.connection.state();
            let (role, is_closing) = (state.role, state.phase == Phase::Closing);
            drop(state);
            if !is_closing {
                self.refuse_skipped(edge, &start, now_ns, role);
            }
        }
        taken
    }

    /// Hears no more of a client that does not speak the protocol.
    #[cold]
    fn violated(&mut self, edge: &Edge, what: &str) {
        tracing::debug!(connection = self.connection.id, what, "a protocol violation");
        self.deaf = true;
        edge.close(&self.connection, CloseCode::ProtocolViolation);
    }

    /// Counts frames, and reads no more for a while when more have come than may.
    #[inline(never)]
    fn pay(&mut self, edge: &Edge, now_ns: u64, frames: u32) {
        if let Some(wait_ns) = self.session.charge(now_ns, edge.rules.frame_rate, frames) {
            self.rest(now_ns, wait_ns);
        }
    }

    #[cold]
    fn rest(&mut self, now_ns: u64, wait_ns: u64) {
        let is_resting = std::mem::replace(&mut self.busy().rests_until_ns, now_ns + wait_ns) > 0;
        if is_resting {
            return;
        }
        let connection = self.connection.clone();
        // The timer's own time is a little behind.
        let wait = Duration::from_nanos(wait_ns) + Duration::from_millis(1);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            connection.wake();
        });
    }
}
