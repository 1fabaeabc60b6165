//! One user's session that survives what the protocol says it must: it resends by rules 1 and 2, waits when the server
//! asks for it, sends heartbeats, reconnects with full jitter and goes on in its inbox where it was. A repeated message
//! keeps its `id`, so nothing takes effect twice.

mod answer;
mod outbox;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use serde::Serialize;
use serde_json::value::RawValue;
use soundoff_common::protocol::ErrorBody;
use tokio::time::{Instant, Sleep};

use crate::server::Server;
use crate::socket::{End, Frame, Push, Socket, Welcome, send_frame};
pub(crate) use answer::{Answer, Retries};
pub(crate) use outbox::ANSWER_WITHIN;
use outbox::{Done, Outbox};

/// How often the session looks for messages to send again; heartbeats may make it look more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The full-jitter window of the first reconnect, and of the last.
const FIRST_RECONNECT: Duration = Duration::from_millis(500);
const LAST_RECONNECT: Duration = Duration::from_secs(30);

/// A socket that is being opened. Opening must go on when its caller does something else meanwhile.
struct Opening(Pin<Box<dyn Future<Output = Result<Socket, End>> + Send>>);

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opening")
    }
}

/// When to send heartbeats, and when their answers must have come.
#[derive(Debug)]
struct Heart {
    every: Duration,
    next: Instant,
    unanswered_since: Option<Instant>,
}

impl Heart {
    fn new(welcome: Welcome) -> Self {
        // A random part first, so that sockets opened together do not ping together.
        let first = welcome.heartbeat.mul_f64(rand::random());
        Self { every: welcome.heartbeat, next: Instant::now() + first, unanswered_since: None }
    }
}

/// A user's session.
#[derive(Debug)]
pub(crate) struct Client {
    server: Arc<Server>,
    token: String,
    retries: Arc<Retries>,
    socket: Option<Socket>,
    opening: Option<Opening>,
    /// How many sockets were opened so far.
    sockets: u64,
    heart: Option<Heart>,
    /// The last entry of the inbox that was handed out, and the last one that was acked.
    cursor: Option<u64>,
    acked: u64,
    /// Reconnects in a row without an answer, and when the next one is allowed.
    failures: u32,
    reconnect_at: Instant,
    goaway: Option<[u64; 2]>,
    outbox: Outbox,
    /// When to look again for messages without an answer. A time that has come must stay due until the session has
    /// looked.
    look_at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Client {
    /// A session that connects when it is first asked for something.
    pub(crate) fn new(server: Arc<Server>, token: String, retries: Arc<Retries>) -> Self {
        let now = Instant::now();
        Self {
            server,
            token,
            outbox: Outbox::new(retries.clone()),
            retries,
            socket: None,
            opening: None,
            sockets: 0,
            heart: None,
            cursor: None,
            acked: 0,
            failures: 0,
            reconnect_at: now,
            goaway: None,
            look_at: now + LOOK_EVERY,
            timer: Box::pin(tokio::time::sleep_until(now)),
        }
    }

    /// How many messages have no reply yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.outbox.len()
    }

    /// Sends a message, now or as soon as the server's limits allow. `id` must not be in flight.
    pub(crate) fn send(&mut self, id: String, message_type: &str, body: &impl Serialize) {
        self.outbox.add(send_frame(&id, message_type, body), id, None);
    }

    /// As [`Self::send`]; latency counts from the time the message was due, including all delays.
    pub(crate) fn send_due(&mut self, id: String, message_type: &str, body: &impl Serialize, due: Instant) {
        self.outbox.add(send_frame(&id, message_type, body), id, Some(due));
    }

    /// Messages without their reply: id, and whether they were accepted.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (&str, bool)> {
        self.outbox.unanswered()
    }

    /// How many sockets were opened so far.
    pub(crate) fn sockets(&self) -> u64 {
        self.sockets
    }

    /// Connects if need be, and returns the server's welcome. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) async fn connected(&mut self) -> Result<Welcome, End> {
        loop {
            if let Some(socket) = &self.socket {
                return Ok(socket.welcome);
            }
            let opening = match &mut self.opening {
                Some(opening) => opening,
                None => {
                    tokio::time::sleep_until(self.reconnect_at).await;
                    let (server, token, cursor) = (self.server.clone(), self.token.clone(), self.cursor);
                    let opening = async move { Socket::open_at(&server, &token, cursor).await };
                    self.opening.insert(Opening(Box::pin(opening)))
                }
            };
            let opened = opening.0.as_mut().await;
            self.opening = None;
            match opened {
                Ok(socket) => self.opened(socket),
                Err(end) => self.ended(end)?,
            }
        }
    }

    /// The next answer to any of the messages, or the next push. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The server refuses this user for good. Everything else is retried forever, so callers set a time limit.
    pub(crate) async fn next(&mut self) -> Result<Answer, End> {
        loop {
            self.connected().await?;
            if let Some(socket) = &mut self.socket {
                self.outbox.pump(socket, self.sockets, Instant::now());
            }
            let frame = match std::future::poll_fn(|cx| self.poll_socket(cx)).await {
                Some(Ok(frame)) => frame,
                Some(Err(end)) => {
                    self.ended(end)?;
                    continue;
                }
                None => {
                    self.look(Instant::now())?;
                    continue;
                }
            };
            if let Some(answer) = self.take(frame, Instant::now()) {
                return Ok(answer);
            }
        }
    }

    /// Leaves on purpose.
    pub(crate) async fn bye(self) {
        if let Some(socket) = self.socket {
            socket.bye().await;
        }
    }

    /// A frame, the socket's end, or nothing when other work is due.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, End>>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = socket.poll_frame(cx) {
            return Poll::Ready(Some(frame));
        }
        let due = self.due();
        // Moving a timer costs more than an early wake-up: it is moved to a later time only after it has fired.
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx).map(|()| None)
    }

    fn due(&self) -> Instant {
        let mut due = self.look_at;
        if let Some(heart) = &self.heart {
            due = due.min(heart.next).min(heart.unanswered_since.map_or(due, |since| since + heart.every));
        }
        self.outbox.due().map_or(due, |allowed| due.min(allowed))
    }

    fn take(&mut self, frame: Frame, now: Instant) -> Option<Answer> {
        match frame {
            Frame::Accepted { id } => {
                let (is_first, after) = self.outbox.accepted(&id, now)?;
                self.failures = 0;
                is_first.then_some(Answer::Accepted { id, after })
            }
            Frame::Reply { id, outcome, duplicate } if !self.outbox.holds(&id) => {
                Some(Answer::Again { id, outcome, duplicate })
            }
            Frame::Reply { id, outcome, duplicate } => self.done(id, outcome, duplicate, now),
            Frame::Push(push) => self.pushed(push),
            Frame::Refused { id: Some(id), error } if error.retry => {
                let limits = self.socket.as_ref().map(|socket| socket.welcome.limits);
                self.outbox.refused_for_now(id, &error, limits, now);
                None
            }
            Frame::Refused { id: Some(id), error } => self.done(id, Err(error), false, now),
            Frame::Pong => {
                if let Some(heart) = &mut self.heart {
                    heart.unanswered_since = None;
                }
                None
            }
            Frame::Goaway(window) => {
                self.goaway = Some(window);
                None
            }
            Frame::Refused { id: None, .. } | Frame::Other => None,
        }
    }

    /// Takes a push; `None` when it was handed out before.
    fn pushed(&mut self, push: Push) -> Option<Answer> {
        let next = self.cursor.map_or(push.seq, |cursor| cursor + 1);
        let missing = push.seq.checked_sub(next)?;
        self.cursor = Some(push.seq);
        Some(Answer::Push { push, missing })
    }

    /// Finishes a message; `None` when it was finished before.
    fn done(
        &mut self,
        id: String,
        outcome: Result<Box<RawValue>, ErrorBody>,
        duplicate: bool,
        now: Instant,
    ) -> Option<Answer> {
        let Done { after, sends, first_socket } = self.outbox.done(&id, now)?;
        self.failures = 0;
        let unbroken = first_socket == self.sockets;
        Some(Answer::Done { id, outcome, duplicate, after, sends, unbroken })
    }

    /// Sends heartbeats and acks, and repeats messages that have waited too long for an answer.
    fn look(&mut self, now: Instant) -> Result<(), End> {
        self.look_at = now + LOOK_EVERY;
        let (Some(heart), Some(socket)) = (&mut self.heart, &mut self.socket) else { return Ok(()) };
        if heart.unanswered_since.is_some_and(|since| now >= since + heart.every) {
            return self.ended(End::Lost("no pong within a heartbeat".into()));
        }
        if let Some(cursor) = self.cursor.filter(|cursor| *cursor > self.acked) {
            socket.ack(cursor);
            self.acked = cursor;
        }
        if now >= heart.next {
            socket.ping();
            heart.unanswered_since.get_or_insert(now);
            heart.next = now + heart.every;
        }
        self.outbox.repeat_late(now);
        Ok(())
    }

    fn opened(&mut self, socket: Socket) {
        self.heart = Some(Heart::new(socket.welcome));
        // A new session does not get what came before it.
        self.cursor.get_or_insert(socket.welcome.cursor);
        self.sockets += 1;
        self.socket = Some(socket);
        self.outbox.reopened();
    }

    /// Decides when to come back.
    fn ended(&mut self, end: End) -> Result<(), End> {
        let was_open = self.socket.take().is_some();
        self.heart = None;
        if !end.reconnect() {
            return Err(end);
        }
        *self.retries.last_end.lock().expect("no thread panics while it holds the lock") = Some(end.clone());
        if was_open {
            self.retries.reconnects.fetch_add(1, Relaxed);
        }
        let window = FIRST_RECONNECT.saturating_mul(1 << self.failures.min(16)).min(LAST_RECONNECT);
        self.failures += 1;
        let mut rng = rand::rng();
        let wait = match (self.goaway.take(), end.retry_after()) {
            (Some([low, high]), _) => Duration::from_millis(rng.random_range(low..=high.max(low))),
            (None, Some(told)) => told.mul_f64(1.0 + rng.random::<f64>()),
            (None, None) => window.mul_f64(rng.random()),
        };
        self.reconnect_at = Instant::now() + wait;
        Ok(())
    }
}
