//! Messages on their way: those without a reply, and which of them go out next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use soundoff_common::protocol::{ErrorBody, ErrorCode};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::answer::Retries;
use crate::socket::{Limits, Socket};

/// Rules 1 and 2: without an answer for this long, the same `id` is sent again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The pause after a refusal for now that does not say how long to wait.
const PAUSE: Duration = Duration::from_millis(250);

/// The share by which a session stays under the announced rate, after it was too fast once.
const SLOWER: f64 = 1.02;

/// A message without its reply yet.
#[derive(Debug)]
struct Pending {
    text: Utf8Bytes,
    /// Its place among all messages of the session: resends keep the order of sending.
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

impl Pending {
    fn age(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now - since)
    }
}

/// A message that has its reply.
#[derive(Debug)]
pub(super) struct Done {
    /// From the time it was due, or else first sent, until now.
    pub(super) after: Duration,
    /// How often it was sent and not refused.
    pub(super) sends: u32,
    /// The socket, counted from 1, that it was first sent on.
    pub(super) first_socket: u64,
}

/// The messages of one session.
#[derive(Debug)]
pub(super) struct Outbox {
    retries: Arc<Retries>,
    pending: HashMap<String, Pending>,
    numbered: u64,
    /// Ids of pending messages that must be sent (again) as soon as allowed.
    waiting: VecDeque<String>,
    paused_until: Option<Instant>,
    /// After the first `rate_limited`: the time between two sends, and when the next is allowed.
    pace: Option<(Duration, Instant)>,
}

impl Outbox {
    /// An empty one.
    pub(super) fn new(retries: Arc<Retries>) -> Self {
        Self {
            retries,
            pending: HashMap::new(),
            numbered: 0,
            waiting: VecDeque::new(),
            paused_until: None,
            pace: None,
        }
    }

    /// How many messages have no reply yet.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether a message has no reply yet.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.pending.contains_key(id)
    }

    /// Adds a message to send.
    pub(super) fn add(&mut self, text: Utf8Bytes, id: String, since: Option<Instant>) {
        let number = self.numbered;
        self.numbered += 1;
        self.waiting.push_back(id.clone());
        let pending =
            Pending { text, number, since, last_sent: None, accepted: false, sends: 0, first_socket: 0 };
        self.pending.insert(id, pending);
    }

    /// Messages without their reply: id, and whether they were accepted.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pending.iter().map(|(id, pending)| (id.as_str(), pending.accepted))
    }

    /// When the next message is allowed to go out; none where none waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let allowed = self.paused_until.max(self.pace.map(|(_, next)| next));
        (!self.waiting.is_empty()).then(|| allowed.unwrap_or_else(Instant::now))
    }

    /// Sends what waits, as far as the server's limits allow. `sockets` is the number of this socket.
    pub(super) fn pump(&mut self, socket: &mut Socket, sockets: u64, now: Instant) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
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
                    pending.first_socket = sockets;
                }
            }
            self.waiting.pop_front();
        }
    }

    /// Notes that a message was accepted. Returns whether that is news, and after how long; none for a message that has
    /// its reply.
    pub(super) fn accepted(&mut self, id: &str, now: Instant) -> Option<(bool, Duration)> {
        let pending = self.pending.get_mut(id)?;
        Some((!std::mem::replace(&mut pending.accepted, true), pending.age(now)))
    }

    /// Removes a message that has its reply; none when it had one before.
    pub(super) fn done(&mut self, id: &str, now: Instant) -> Option<Done> {
        let pending = self.pending.remove(id)?;
        Some(Done { after: pending.age(now), sends: pending.sends, first_socket: pending.first_socket })
    }

    /// Puts a message back that was refused for now, and pauses.
    pub(super) fn refused_for_now(
        &mut self,
        id: String,
        error: &ErrorBody,
        limits: Option<Limits>,
        now: Instant,
    ) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.last_sent = None;
        pending.sends = pending.sends.saturating_sub(1);
        self.waiting.push_back(id);
        let asked = error.retry_after_ms.map_or(PAUSE, Duration::from_millis);
        if error.code == ErrorCode::RateLimited {
            self.retries.rate_limited.fetch_add(1, Relaxed);
            // A socket that was too fast once keeps a little under the announced rate from then on.
            if let (None, Some(limits)) = (self.pace, limits) {
                let per_second = f64::from(limits.messages_per_second.max(1));
                self.pace = Some((Duration::from_secs_f64(SLOWER / per_second), now));
            }
        } else {
            self.retries.overloaded.fetch_add(1, Relaxed);
        }
        // A random part longer than asked: sessions that were refused together must not come back together.
        let until = now + asked.mul_f64(1.0 + rand::random::<f64>() / 2.0);
        self.paused_until = Some(self.paused_until.map_or(until, |other| other.max(until)));
    }

    /// Puts back the messages that have waited too long for an answer.
    pub(super) fn repeat_late(&mut self, now: Instant) {
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
    }

    /// Begins again on a new socket, on which the server counts from the start.
    pub(super) fn reopened(&mut self) {
        (self.pace, self.paused_until) = (None, None);
        let mut all: Vec<(u64, &String)> = self.pending.iter().map(|(id, p)| (p.number, id)).collect();
        all.sort_unstable();
        self.waiting = all.into_iter().map(|(_, id)| id.clone()).collect();
        let cut_off = self.pending.values_mut().filter_map(|p| p.last_sent.take()).count();
        self.retries.cut_off.fetch_add(cut_off as u64, Relaxed);
    }
}
