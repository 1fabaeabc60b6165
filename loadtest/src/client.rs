//! One user's session that survives what the protocol says it must: it resends by rules 1 and 2, waits when told to,
//! beats its heart, reconnects with full jitter and goes on in its inbox where it was. The same `id` goes out again, so
//! nothing takes effect twice.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use serde::Serialize;
use serde_json::value::RawValue;
use soundoff_common::protocol::{ErrorBody, ErrorCode};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::server::Server;
use crate::socket::{End, Frame, Push, Socket, Welcome, send_frame};

/// Rules 1 and 2: without an answer for this long, the same `id` is sent again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How often the session looks for messages to send again; heartbeats may make it look more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The full-jitter window of the first reconnect, and of the last.
const FIRST_RECONNECT: Duration = Duration::from_millis(500);
const LAST_RECONNECT: Duration = Duration::from_secs(30);

/// When the server refuses for now and does not say for how long.
const PAUSE: Duration = Duration::from_millis(250);

/// What had to be done again, of all sessions of a run.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    /// Sends refused because the socket was too fast.
    pub(crate) rate_limited: AtomicU64,
    /// Sends refused because the server had no room.
    pub(crate) overloaded: AtomicU64,
    /// Sends repeated because nothing came back in time.
    pub(crate) unanswered: AtomicU64,
    /// Sends repeated because the socket was gone.
    pub(crate) cut_off: AtomicU64,
    /// Sockets opened in place of lost ones.
    pub(crate) reconnects: AtomicU64,
    /// Why a socket was lost or could not be opened, the last time.
    pub(crate) last_end: Mutex<Option<End>>,
}

/// What became of a message, or what is new in the inbox.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is durable. Told once.
    Accepted {
        /// The message's id.
        id: String,
        /// From when it was due, or else first sent, to accepted.
        after: Duration,
    },
    /// It is over and done with.
    Done {
        /// The message's id.
        id: String,
        /// What the worker said, or why the edge or the worker refused for good.
        outcome: Result<Box<RawValue>, ErrorBody>,
        /// It had taken effect before.
        duplicate: bool,
        /// From when it was due, or else first sent, to now.
        after: Duration,
        /// How often it was sent and not refused: so many replies are to be expected, this one included.
        sends: u32,
        /// Whether all of that was on the socket that is open now.
        unbroken: bool,
    },
    /// Another reply to a message that is over: it was sent more than once, or the server answers twice.
    Again {
        /// The message's id.
        id: String,
        /// What it says this time.
        outcome: Result<Box<RawValue>, ErrorBody>,
        /// It had taken effect before.
        duplicate: bool,
    },
    /// An entry of the inbox, each once and in their order however often the server sends them.
    Push {
        /// The entry.
        push: Push,
        /// How many entries between the last one and this one never came.
        missing: u64,
    },
}

/// A message without its reply yet.
#[derive(Debug)]
struct Pending {
    text: Utf8Bytes,
    /// Its place among all messages of the session, for resends in the order of sending.
    number: u64,
    /// When it was due or, where nothing is due, first sent.
    since: Option<Instant>,
    last_sent: Option<Instant>,
    accepted: bool,
    /// How often it was sent and not refused.
    sends: u32,
    /// The socket, counted from 1, that it was first sent on.
    first_socket: u64,
}

/// A socket that is being opened. It must go on when whoever waits for it turns to something else meanwhile.
struct Opening(Pin<Box<dyn Future<Output = Result<Socket, End>> + Send>>);

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opening")
    }
}

/// When to send heartbeats, and when to have seen their answers.
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
    /// Reconnects in a row without an answer, and when the next one may be.
    failures: u32,
    reconnect_at: Instant,
    goaway: Option<[u64; 2]>,
    pending: HashMap<String, Pending>,
    numbered: u64,
    /// Ids of pending messages that are to be sent (again) as soon as allowed.
    waiting: VecDeque<String>,
    paused_until: Option<Instant>,
    /// After the first `rate_limited`: the time between two sends, and when the next may go.
    pace: Option<(Duration, Instant)>,
    /// When to look again for messages without an answer. A time that has come must stay due until it is seen to.
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
            pending: HashMap::new(),
            numbered: 0,
            waiting: VecDeque::new(),
            paused_until: None,
            pace: None,
            look_at: now + LOOK_EVERY,
            timer: Box::pin(tokio::time::sleep_until(now)),
        }
    }

    /// How many messages have no reply yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Sends a message, now or as soon as the server's limits allow. `id` must not be in flight.
    pub(crate) fn send(&mut self, id: String, message_type: &str, body: &impl Serialize) {
        self.queue(id, message_type, body, None);
    }

    /// As [`Self::send`]; latency counts from the time the message was due, whatever has held it up since.
    pub(crate) fn send_due(&mut self, id: String, message_type: &str, body: &impl Serialize, due: Instant) {
        self.queue(id, message_type, body, Some(due));
    }

    fn queue(&mut self, id: String, message_type: &str, body: &impl Serialize, since: Option<Instant>) {
        let text = send_frame(&id, message_type, body);
        let number = self.numbered;
        self.numbered += 1;
        self.waiting.push_back(id.clone());
        let pending =
            Pending { text, number, since, last_sent: None, accepted: false, sends: 0, first_socket: 0 };
        self.pending.insert(id, pending);
    }

    /// Messages without their reply: id, and whether they were accepted.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pending.iter().map(|(id, pending)| (id.as_str(), pending.accepted))
    }

    /// How many sockets were opened so far.
    pub(crate) fn sockets(&self) -> u64 {
        self.sockets
    }

    /// Connects if need be, and tells what the server welcomes with. Dropping the future loses nothing.
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

    /// What the server says next about any of the messages. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The server wants no more of this user; everything that passes is retried for ever, so callers bound their patience.
    pub(crate) async fn next(&mut self) -> Result<Answer, End> {
        loop {
            self.connected().await?;
            self.pump(Instant::now());
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

    /// A frame, the socket's end, or nothing when it is time to look after other things.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, End>>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = socket.poll_frame(cx) {
            return Poll::Ready(Some(frame));
        }
        let due = self.due();
        // Moving a timer costs more than an early wake-up: it only ever moves forward in time when it has fired.
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx).map(|()| None)
    }

    fn due(&self) -> Instant {
        let now = Instant::now();
        let mut due = self.look_at;
        if let Some(heart) = &self.heart {
            due = due.min(heart.next).min(heart.unanswered_since.map_or(due, |since| since + heart.every));
        }
        if !self.waiting.is_empty() {
            let allowed = self.paused_until.max(self.pace.map(|(_, next)| next));
            due = due.min(allowed.unwrap_or(now));
        }
        due
    }

    /// Sends what waits, as far as the server's limits allow.
    fn pump(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        let Some(socket) = &mut self.socket else { return };
        while let Some(id) = self.waiting.front() {
            if let Some((gap, next)) = &mut self.pace {
                if now < *next {
                    return;
                }
                *next = (*next).max(now.checked_sub(*gap).unwrap_or(now)) + *gap;
            }
            if let Some(pending) = self.pending.get_mut(id) {
                socket.send(pending.text.clone());
                pending.since.get_or_insert(now);
                pending.last_sent = Some(now);
                pending.sends += 1;
                if pending.first_socket == 0 {
                    pending.first_socket = self.sockets;
                }
            }
            self.waiting.pop_front();
        }
    }

    fn take(&mut self, frame: Frame, now: Instant) -> Option<Answer> {
        match frame {
            Frame::Accepted { id } => {
                let pending = self.pending.get_mut(&id)?;
                self.failures = 0;
                if std::mem::replace(&mut pending.accepted, true) {
                    return None;
                }
                let after = pending.since.map_or(Duration::ZERO, |since| now - since);
                Some(Answer::Accepted { id, after })
            }
            Frame::Reply { id, outcome, duplicate } if !self.pending.contains_key(&id) => {
                Some(Answer::Again { id, outcome, duplicate })
            }
            Frame::Reply { id, outcome, duplicate } => self.done(id, outcome, duplicate, now),
            Frame::Push(push) => self.pushed(push),
            Frame::Refused { id: Some(id), error } if error.retry => {
                self.refused_for_now(id, &error, now);
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

    /// `None` when it was handed out before.
    fn pushed(&mut self, push: Push) -> Option<Answer> {
        let next = self.cursor.map_or(push.seq, |cursor| cursor + 1);
        let missing = push.seq.checked_sub(next)?;
        self.cursor = Some(push.seq);
        Some(Answer::Push { push, missing })
    }

    /// `None` when the message was over before.
    fn done(
        &mut self,
        id: String,
        outcome: Result<Box<RawValue>, ErrorBody>,
        duplicate: bool,
        now: Instant,
    ) -> Option<Answer> {
        let pending = self.pending.remove(&id)?;
        self.failures = 0;
        let after = pending.since.map_or(Duration::ZERO, |since| now - since);
        let unbroken = pending.first_socket == self.sockets;
        Some(Answer::Done { id, outcome, duplicate, after, sends: pending.sends, unbroken })
    }

    fn refused_for_now(&mut self, id: String, error: &ErrorBody, now: Instant) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.last_sent = None;
        pending.sends = pending.sends.saturating_sub(1);
        self.waiting.push_back(id);
        let told = error.retry_after_ms.map_or(PAUSE, Duration::from_millis);
        if error.code == ErrorCode::RateLimited {
            self.retries.rate_limited.fetch_add(1, Relaxed);
            self.keep_pace(now);
        } else {
            self.retries.overloaded.fetch_add(1, Relaxed);
        }
        // Some more than told, by chance: sessions refused together must not come back together.
        let until = now + told.mul_f64(1.0 + rand::random::<f64>() / 2.0);
        self.paused_until = Some(self.paused_until.map_or(until, |other| other.max(until)));
    }

    /// A socket that was too fast once keeps a little under the announced rate from then on.
    fn keep_pace(&mut self, now: Instant) {
        if let (None, Some(socket)) = (self.pace, &self.socket) {
            let per_second = f64::from(socket.welcome.limits.messages_per_second.max(1));
            self.pace = Some((Duration::from_secs_f64(1.02 / per_second), now));
        }
    }

    /// Heartbeats, acks, and messages that have waited too long for an answer.
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
        let late = |sent: Option<Instant>| sent.is_some_and(|sent| now >= sent + ANSWER_WITHIN);
        let mut again: Vec<(u64, String)> = Vec::new();
        for (id, pending) in &mut self.pending {
            if late(pending.last_sent) {
                pending.last_sent = None;
                again.push((pending.number, id.clone()));
            }
        }
        again.sort_unstable();
        self.retries.unanswered.fetch_add(again.len() as u64, Relaxed);
        self.waiting.extend(again.into_iter().map(|(_, id)| id));
        Ok(())
    }

    fn opened(&mut self, socket: Socket) {
        self.heart = Some(Heart::new(socket.welcome));
        // A new session is not told what came before it.
        self.cursor.get_or_insert(socket.welcome.cursor);
        self.sockets += 1;
        self.socket = Some(socket);
        // The server counts anew on a new socket, and so do we.
        (self.pace, self.paused_until) = (None, None);
        let mut all: Vec<(u64, &String)> = self.pending.iter().map(|(id, p)| (p.number, id)).collect();
        all.sort_unstable();
        self.waiting = all.into_iter().map(|(_, id)| id.clone()).collect();
        let cut_off = self.pending.values_mut().filter_map(|p| p.last_sent.take()).count();
        self.retries.cut_off.fetch_add(cut_off as u64, Relaxed);
    }

    /// Decides when to come back.
    fn ended(&mut self, end: End) -> Result<(), End> {
        let was_open = self.socket.take().is_some();
        self.heart = None;
        if !end.reconnect() {
            return Err(end);
        }
        *self.retries.last_end.lock().expect("nobody panics with it") = Some(end.clone());
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
