//! One socket's task: the only one that reads and writes its network connection.
//!
//! It is a hand-written future because every byte of it counts once per idle socket. Between frames it owns no buffer: reading goes
//! through one that all sockets of a thread share, and writing takes the queued frames as they lie.

use std::cell::RefCell;
use std::future::Future;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{CloseCode, ErrorBody, ErrorCode, Role, ServerFrame, now_ms, rfc3339};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use crate::catch_up::catch_up;
use crate::connection::{Class, Connection, Phase};
use crate::edge::Edge;
use crate::hello::{Hello, check_sign_in, hello};
use crate::outbound::{Incoming, publish};
use crate::session::{Session, Step};
use crate::websocket::{Fragments, Inbound, Violation, pong_frame};

/// The size of the buffer that all sockets of a thread read through.
const READ_BYTES: usize = 32 * 1024;
/// How often a socket reads before it writes, and how often it does both before another socket's turn.
const READS: usize = 2;
const ROUNDS: usize = 8;
/// The most frames in one write.
const SLICES: usize = 32;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The network connection is of no more use.
struct Ended;

/// A socket after its upgrade.
pub(crate) struct Socket {
    stream: TcpStream,
    edge: Arc<Edge>,
    connection: Arc<Connection>,
    session: Session,
    fragments: Fragments,
    /// The beginning of a frame whose rest has not come, or frames that wait for their turn.
    unread: Vec<u8>,
    /// What the upgrade proved, until `hello`.
    bearer: Option<Box<Claims>>,
    /// `hello`, or catching up with the inbox.
    job: Option<Job>,
    /// Whole frames may lie in `unread`.
    stalled: bool,
    /// What comes is no websocket any more, and is thrown away.
    deaf: bool,
    peer_closed: bool,
    shut: bool,
}

impl Socket {
    /// Starts a socket's task. `leftover` was read with the upgrade; a socket to be `shed` only hears so.
    pub(crate) fn start(
        edge: &Arc<Edge>,
        stream: TcpStream,
        leftover: Vec<u8>,
        bearer: Option<Box<Claims>>,
        shed: bool,
    ) {
        let connection = edge.registry.open(edge.clock_ms());
        edge.metrics.edge_sockets.inc();
        if shed {
            edge.close(&connection, CloseCode::Shedding);
        }
        let socket = Self {
            stream,
            edge: edge.clone(),
            connection,
            session: Session::default(),
            fragments: Fragments::default(),
            stalled: !leftover.is_empty(),
            unread: leftover,
            bearer,
            job: None,
            deaf: false,
            peer_closed: false,
            shut: false,
        };
        edge.tasks.spawn(socket);
    }

    /// Runs the job on; starts one when the inbox is ahead. Answers whether it came to an end.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> bool {
        if self.job.is_none() && self.connection.state().is_catching_up() {
            self.job = Some(Box::pin(catch_up(self.edge.clone(), self.connection.clone())));
        }
        let Some(job) = &mut self.job else { return false };
        if job.as_mut().poll(cx).is_ready() || self.connection.state().phase == Phase::Closing {
            self.job = None;
            return true;
        }
        false
    }

    /// Whether the client has to wait: for its `welcome`, or until it has read what waits for it.
    fn is_paused(&self) -> bool {
        let state = self.connection.state();
        match state.phase {
            Phase::Silent => self.job.is_some() || state.has_output(),
            Phase::Joining => true,
            Phase::Open => state.is_half_full(self.edge.room()),
            Phase::Closing => false,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = false;
        for _ in 0..READS {
            if self.is_paused() {
                break;
            }
            if std::mem::take(&mut self.stalled) {
                let waited = std::mem::take(&mut self.unread);
                self.digest(waited);
                progress = true;
                continue;
            }
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Err(Ended),
                Poll::Ready(Ok(())) => {}
            }
            progress = true;
            READ.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
                Ok(0) => Err(Ended),
                Ok(n) => {
                    self.take_in(&mut buffer[..n]);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(_) => Err(Ended),
            })?;
        }
        Ok(progress)
    }

    /// Takes in what was read; keeps a copy only of what is no whole frame yet.
    fn take_in(&mut self, bytes: &mut [u8]) {
        if self.unread.is_empty() {
            let taken = self.frames(bytes);
            self.unread = bytes[taken..].to_vec();
        } else {
            let mut waited = std::mem::take(&mut self.unread);
            waited.extend_from_slice(bytes);
            self.digest(waited);
        }
    }

    fn digest(&mut self, mut bytes: Vec<u8>) {
        let taken = self.frames(&mut bytes);
        if taken < bytes.len() {
            bytes.drain(..taken);
            self.unread = bytes;
        }
    }

    /// Acts on all whole frames, unless the client has to wait; answers how many bytes they took.
    fn frames(&mut self, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        while !self.deaf {
            if self.is_paused() {
                self.stalled = taken < bytes.len();
                return taken;
            }
            match self.fragments.decode(&mut bytes[taken..], self.edge.config.frame_bytes) {
                Ok(None) => return taken,
                Ok(Some((len, inbound))) => {
                    taken += len;
                    self.act(inbound);
                }
                Err(Violation(what)) => {
                    tracing::debug!(connection = self.connection.id, what, "a protocol violation");
                    self.deaf = true;
                    self.edge.close(&self.connection, CloseCode::ProtocolViolation);
                }
            }
        }
        bytes.len()
    }

    fn act(&mut self, inbound: Inbound<'_>) {
        if self.connection.state().phase == Phase::Closing {
            self.peer_closed |= matches!(inbound, Inbound::Close(_));
            return;
        }
        self.edge.metrics.edge_frames_in.inc();
        let now_ns = self.edge.clock_ns();
        self.connection.heard(now_ns / 1_000_000);
        match inbound {
            Inbound::Text(text) => self.step(text, now_ns),
            Inbound::Gathered(text) => self.step(&text, now_ns),
            Inbound::Part | Inbound::Pong => {}
            Inbound::Ping(payload) => {
                if matches!(self.session.ping(now_ns, self.edge.rules(Role::User)), Step::Pong) {
                    self.edge.offer_wire(&self.connection, &pong_frame(payload), Class::Event);
                }
            }
            Inbound::Close(code) => {
                self.connection.echo_close(code, self.edge.cut_at());
                self.peer_closed = true;
            }
        }
    }

    fn step(&mut self, text: &str, now_ns: u64) {
        let Self { edge, connection, session, .. } = self;
        match session.step(text, now_ns, edge.rules(connection.role())) {
            Step::Nothing => {}
            Step::Hello { token, device, cursor } => {
                let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| Box::from(&*text));
                let said =
                    Hello { bearer: self.bearer.take(), token: owned(token), device: owned(device), cursor };
                self.job = Some(Box::pin(hello(edge.clone(), connection.clone(), said)));
            }
            Step::Publish { id, message_type, body } => {
                let message = Incoming { id: &id, message_type: &message_type, body };
                if let Err(error) = publish(edge, connection, &message) {
                    edge.refuse(connection, Some(&id), &error);
                }
            }
            Step::Ack(cursor) => connection.ack(cursor),
            Step::Pong => edge.offer(connection, &ServerFrame::Pong, Class::Event),
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
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = false;
        loop {
            if !self.connection.state().has_output() {
                return Ok(progress);
            }
            match self.stream.poll_write_ready(cx) {
                Poll::Pending => return Ok(progress),
                Poll::Ready(Err(_)) => return Err(Ended),
                Poll::Ready(Ok(())) => {}
            }
            // The lock is held over a system call that does not wait, so that nothing is dropped while it is being written.
            let mut state = self.connection.state();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = state.slices(&mut slices);
            match self.stream.try_write_vectored(&slices[..filled]) {
                Ok(0) => return Err(Ended),
                Ok(n) => {
                    let frames = state.wrote(n);
                    self.edge.metrics.edge_frames_out.inc_by(frames);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Ended),
            }
        }
    }

    /// Whether both sides have said all they had to say.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let state = self.connection.state();
        let closed = state.phase == Phase::Closing && !state.has_output();
        drop(state);
        if closed && self.deaf && !self.shut {
            // Who cannot be understood is not asked for an answer: the end of the stream says the same.
            self.shut = true;
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        closed && self.peer_closed
    }
}

impl Future for Socket {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.get_mut();
        // Before anything is looked at: what comes after the look wakes.
        socket.connection.register(cx.waker());
        for _ in 0..ROUNDS {
            if socket.connection.is_cut() {
                if socket.connection.state().has_output() {
                    // The kernel, too, forgets what this peer does not take.
                    let _ = socket.stream.set_zero_linger();
                }
                return Poll::Ready(());
            }
            let mut progress = socket.poll_job(cx);
            match socket.poll_read(cx).and_then(|read| Ok(read | socket.poll_write(cx)?)) {
                Ok(moved) => progress |= moved,
                Err(Ended) => return Poll::Ready(()),
            }
            if socket.is_over(cx) {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Socket {
    /// However the task ends, the socket is forgotten: here first, then in the Session Cache.
    fn drop(&mut self) {
        self.connection.echo_close(None, 0);
        self.edge.registry.leave(&self.connection);
        self.edge.metrics.edge_sockets.dec();
        if self.connection.identity().is_some() && tokio::runtime::Handle::try_current().is_ok() {
            self.edge.tasks.spawn(crate::registration::leave(self.edge.clone(), self.connection.clone()));
        }
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
    fn an_idle_socket_is_small() {
        // Each byte here is paid once per idle socket; `examples/idle_memory.rs` measures the whole.
        assert!(size_of::<Socket>() <= 176, "the task holds {} bytes", size_of::<Socket>());
        assert!(size_of::<Connection>() <= 256, "the connection is {} bytes", size_of::<Connection>());
    }
}
