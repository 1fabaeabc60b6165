//! One socket's network connection, which its reactor alone reads and writes.
//!
//! Every byte here counts once per idle socket. Between frames it owns no buffer: reading goes through one that all sockets of a thread
//! share, and writing takes the queued frames as they lie.

use std::cell::RefCell;
use std::future::Future;
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use mio::net::TcpStream;
use socket2::SockRef;
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{CloseCode, ErrorBody, ErrorCode, Role, ServerFrame, now_ms, rfc3339};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::catch_up::catch_up;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::hello::{Hello, check_sign_in, hello};
use crate::outbound::{Incoming, publish};
use crate::session::{Session, Step};
use crate::state::{Class, Phase, State};
use crate::websocket::{Fragments, Inbound, Violation, pong_frame};

/// The size of the buffer that all sockets of a thread read through.
const READ_BYTES: usize = 32 * 1024;
/// How often a socket reads before it writes, and how often it does both before another socket's turn.
const READS: usize = 2;
const ROUNDS: usize = 8;
/// The most frames in one write.
const SLICES: usize = 32;

/// Frames of so many bytes together are copied side by side: that costs less than to have the kernel gather them.
const GATHERED_BYTES: usize = 4 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHERED_BYTES));
}

/// The whole frame with [`ServerFrame::Pong`].
const PONG: &[u8] = b"\x81\x0d{\"op\":\"pong\"}";

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The network connection is of no more use.
struct Ended;

/// What a reactor is to do about a socket it has driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    /// Nothing until it is marked or the network is ready.
    Waits,
    /// It has had its turn and could go on.
    Again,
    Over,
}

/// What the network says of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end of the stream or an error comes behind what can be read: it is not told again.
    pub(crate) ending: bool,
}

/// What only a socket with something under way has.
#[derive(Default)]
struct Busy {
    fragments: Fragments,
    /// The beginning of a frame whose rest has not come, or frames that wait for their turn.
    unread: Vec<u8>,
    /// What the upgrade proved, until `hello`.
    bearer: Option<Box<Claims>>,
    /// `hello`, or catching up with the inbox.
    job: Option<Job>,
    /// Whole frames may lie in `unread`.
    stalled: bool,
}

impl Busy {
    fn is_over(&self) -> bool {
        self.fragments.is_empty() && self.unread.is_empty() && self.bearer.is_none() && self.job.is_none()
    }
}

/// A socket after its upgrade.
pub(crate) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
    session: Session,
    busy: Option<Box<Busy>>,
    readiness: Readiness,
    /// What comes is no websocket any more, and is thrown away.
    deaf: bool,
    peer_closed: bool,
    shut: bool,
    /// Whoever waits for the edge's end waits for this socket's.
    _counted: TaskTrackerToken,
}

impl Socket {
    /// Hands a new socket to its reactor. `leftover` was read with the upgrade; a socket to be `shed` only hears so.
    pub(crate) fn start(
        edge: &Edge,
        stream: std::net::TcpStream,
        leftover: Vec<u8>,
        bearer: Option<Box<Claims>>,
        shed: bool,
    ) {
        let connection = edge.open();
        if shed {
            edge.close(&connection, CloseCode::Shedding);
        }
        let stalled = !leftover.is_empty();
        let busy = Busy { unread: leftover, stalled, bearer, ..Busy::default() };
        let socket = Self {
            stream: TcpStream::from_std(stream),
            connection: connection.clone(),
            session: Session::default(),
            busy: (!busy.is_over()).then(|| Box::new(busy)),
            readiness: Readiness::default(),
            deaf: false,
            peer_closed: false,
            shut: false,
            _counted: edge.tasks.token(),
        };
        connection.mailbox().hand_over(socket);
    }

    /// What the reactor watches.
    pub(crate) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket has its place in the reactor, at which it can be marked.
    pub(crate) fn settle(&self, place: u32) {
        self.connection.settle(place);
    }

    /// Takes in what the network says.
    pub(crate) fn became(&mut self, news: Readiness) {
        self.readiness.readable |= news.readable;
        self.readiness.writable |= news.writable;
        self.readiness.ending |= news.ending;
    }

    fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    fn has_job(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.job.is_some())
    }

    /// Runs the job on; starts one when the inbox is ahead. Answers whether it came to an end.
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

    fn is_paused(&self, edge: &Edge) -> bool {
        self.pauses(&self.connection.state(), edge)
    }

    /// Whether the client has to wait: for its `welcome`, or until it has read what waits for it.
    fn pauses(&self, state: &State, edge: &Edge) -> bool {
        match state.phase {
            Phase::Silent => self.has_job() || state.has_output(),
            Phase::Joining => true,
            Phase::Open => state.is_half_full(edge.room()),
            Phase::Closing => false,
        }
    }

    fn read(&mut self, edge: &Arc<Edge>) -> Result<bool, Ended> {
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
                    // Less than there was room for is all there was; of more, and of the end, the network tells again.
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

    /// Acts on all whole frames, unless the client has to wait; answers how many bytes they took.
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
                        self.peer_closed |= matches!(inbound, Inbound::Close(_));
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

    fn act(&mut self, edge: &Arc<Edge>, inbound: Inbound<'_>, now_ns: u64, role: Role) {
        match inbound {
            Inbound::Text(text) => self.step(edge, text, now_ns, role),
            Inbound::Gathered(text) => self.step(edge, &text, now_ns, role),
            Inbound::Part | Inbound::Pong => {}
            Inbound::Ping(payload) => {
                if matches!(self.session.ping(now_ns, edge.rules(Role::User)), Step::Pong) {
                    edge.offer_wire(&self.connection, pong_frame(payload), Class::Event);
                }
            }
            Inbound::Close(code) => {
                self.connection.echo_close(code, edge.cut_at());
                self.peer_closed = true;
            }
        }
    }

    fn step(&mut self, edge: &Arc<Edge>, text: &str, now_ns: u64, role: Role) {
        let connection = &self.connection;
        match self.session.step(text, now_ns, edge.rules(role)) {
            Step::Nothing => {}
            Step::Hello { token, device, cursor } => {
                let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| Box::from(&*text));
                let bearer = self.busy.as_mut().and_then(|busy| busy.bearer.take());
                let said = Hello { bearer, token: owned(token), device: owned(device), cursor };
                let job = hello(edge.clone(), connection.clone(), said);
                self.busy().job = Some(Box::pin(job));
            }
            Step::Publish { id, message_type, body } => {
                let message = Incoming { id: &id, message_type: &message_type, body };
                if let Err(error) = publish(edge, connection, &message) {
                    edge.refuse(connection, Some(&id), &error);
                }
            }
            Step::Ack(cursor) => connection.ack(cursor),
            Step::Pong => drop(edge.offer_wire(connection, Bytes::from_static(PONG), Class::Event)),
            Step::Auth(token) => renew(edge, connection, &token),
            Step::Refuse { id, error } => edge.refuse(connection, id.as_deref(), &error),
            Step::RefuseAndClose { id, error } => {
                edge.refuse(connection, id.as_deref(), &error);
                edge.close(connection, CloseCode::ProtocolViolation);
            }
            Step::Close(code) => edge.close(connection, code),
        }
    }

    /// Writes all that waits, many frames at once.
    fn write(&mut self, edge: &Edge) -> Result<bool, Ended> {
        let mut progress = false;
        while self.readiness.writable {
            // The lock is held over a system call that does not wait, so that nothing is dropped while it is being written.
            let mut state = self.connection.state();
            if !state.has_output() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = state.slices(&mut slices);
            match write_together(&mut self.stream, &slices[..filled]) {
                Ok(0) => return Err(Ended),
                Ok(n) => {
                    let frames = state.wrote(n);
                    edge.metrics.edge_frames_out.inc_by(frames);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readiness.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Ended),
            }
        }
        Ok(progress)
    }

    /// Whether both sides have said all they had to say.
    fn is_over(&mut self) -> bool {
        let state = self.connection.state();
        let closed = state.phase == Phase::Closing && !state.has_output();
        drop(state);
        if closed && self.deaf && !self.shut {
            // Who cannot be understood is not asked for an answer: the end of the stream says the same.
            self.shut = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        closed && self.peer_closed
    }

    /// Does what there is to do, for a while.
    pub(crate) fn drive(&mut self, edge: &Arc<Edge>) -> Driven {
        // Until it is looked at for the last time, nobody need say that there is something to do, least of all the socket itself.
        self.connection.keep_marked();
        let mut last = false;
        for _ in 0..ROUNDS {
            if self.connection.is_cut() {
                if self.connection.state().has_output() {
                    // The kernel, too, forgets what this peer does not take.
                    let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                }
                return Driven::Over;
            }
            let mut progress = self.poll_job(edge);
            match self.read(edge).and_then(|read| Ok(read | self.write(edge)?)) {
                Ok(moved) => progress |= moved,
                Err(Ended) => return Driven::Over,
            }
            if self.is_over() {
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

    /// Forgets the socket: here first, then in the Session Cache.
    pub(crate) fn end(self, edge: &Arc<Edge>) {
        self.connection.echo_close(None, 0);
        edge.registry.leave(&self.connection);
        edge.metrics.edge_sockets.dec();
        if self.connection.identity().is_some() && tokio::runtime::Handle::try_current().is_ok() {
            edge.tasks.spawn(crate::registration::leave(edge.clone(), self.connection.clone()));
        }
    }
}

/// Writes frames with one system call. `send` is a shorter way through the kernel than `writev`: it takes a single frame, and small ones side
/// by side.
fn write_together(stream: &mut TcpStream, frames: &[IoSlice<'_>]) -> std::io::Result<usize> {
    match frames {
        [one] => stream.write(one),
        several if several.iter().map(|frame| frame.len()).sum::<usize>() <= GATHERED_BYTES => GATHERED
            .with_borrow_mut(|gathered| {
                gathered.clear();
                several.iter().for_each(|frame| gathered.extend_from_slice(frame));
                stream.write(gathered)
            }),
        several => stream.write_vectored(several),
    }
}

/// Looks into a fresh token apart from the socket's task, one at a time.
fn renew(edge: &Arc<Edge>, connection: &Arc<Connection>, token: &str) {
    let refuse = |code, message: &str| edge.refuse(connection, None, &ErrorBody::new(code, message));
    let Some(identity) = connection.identity() else { return };
    let claims = match edge.tokens.verify(token, now_ms() / 1000) {
        Ok(claims) if claims.user == identity.user => claims,
        Ok(_) => return refuse(ErrorCode::Forbidden, "the token is another user's"),
        Err(error) => return refuse(ErrorCode::Unauthorized, &error.to_string()),
    };
    if connection.renewing.swap(true, Ordering::AcqRel) {
        return refuse(ErrorCode::RateLimited, "one auth at a time");
    }
    let (edge, connection) = (edge.clone(), connection.clone());
    tokio::spawn(async move {
        let before = connection.turn_to(claims.session);
        match check_sign_in(&edge, &claims).await {
            Ok(role) => {
                connection.renew(claims.expires_at, role);
                let lapses = rfc3339(claims.expires_at.saturating_mul(1000));
                edge.offer(&connection, &ServerFrame::AuthOk { token_expires_at: &lapses }, Class::Durable);
            }
            Err(CloseCode::Shedding) => {
                connection.turn_to(before);
                let error =
                    ErrorBody::new(ErrorCode::Overloaded, "cannot look into the token now").after(1000);
                edge.refuse(&connection, None, &error);
            }
            Err(code) => edge.close(&connection, code),
        }
        connection.renewing.store(false, Ordering::Release);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_pong_is_a_pong() {
        assert_eq!(PONG, crate::websocket::json_frame(&ServerFrame::Pong));
    }

    #[test]
    fn an_idle_socket_is_small() {
        // Each byte here is paid once per idle socket; `examples/idle_memory.rs` measures the whole.
        assert!(size_of::<Socket>() <= 64, "the reactor holds {} bytes", size_of::<Socket>());
        assert!(size_of::<Connection>() <= 208, "the connection is {} bytes", size_of::<Connection>());
    }
}
