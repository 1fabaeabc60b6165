//! What the rest of the edge knows of one socket: its bounded outbound queue, its place in the inbox, its deadlines.
//!
//! Only the socket's reactor writes to the network; all others leave something here and mark the socket.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::Wake;

use bytes::Bytes;
use soundoff_common::lock::lock;
use soundoff_common::ports::tokens::{Claims, Token};
use soundoff_common::protocol::{CloseCode, Role};
use tokio_util::task::task_tracker::TaskTrackerToken;
use ulid::Ulid;

use crate::deadlines::{Deadlines, Due, Now};
use crate::identity::Identity;
use crate::mailbox::Mailbox;
use crate::session::{Rules, Standing};
use crate::state::{Class, Offer, Out, Phase, Room, State};

/// The place of a socket that its reactor has not taken in yet. Taking it in drives it for the first time.
const NOWHERE: u32 = u32::MAX;

/// One socket.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Never reused within the edge process.
    pub(crate) id: u64,
    mailbox: Arc<Mailbox<Arrival>>,
    /// Where the reactor has it.
    place: AtomicU32,
    /// The reactor knows that there is something to do.
    marked: AtomicBool,
    state: Mutex<State>,
    identity: OnceLock<Identity>,
    /// When the client last sent a frame (until `hello`: when the socket opened), in milliseconds of the edge's clock.
    last_frame: AtomicU64,
    /// When the token expires, in seconds since 1970.
    expires: AtomicU64,
    /// Messages that main_q has not confirmed.
    pub(crate) unconfirmed: AtomicU32,
    /// A fresh token is being checked.
    pub(crate) renewing: AtomicBool,
    cut: AtomicBool,
}

/// A socket whose upgrade is done, on its way to its reactor.
pub(crate) struct Arrival {
    pub(crate) connection: Arc<Connection>,
    pub(crate) stream: TcpStream,
    /// What was read together with the upgrade.
    pub(crate) leftover: Vec<u8>,
    /// What an access token in the upgrade proved.
    pub(crate) bearer: Option<Box<Token>>,
    /// Makes the edge's end wait for this socket's.
    pub(crate) counted: TaskTrackerToken,
}

impl Connection {
    pub(crate) fn new(id: u64, clock_ms: u64, mailbox: Arc<Mailbox<Arrival>>) -> Self {
        Self {
            id,
            mailbox,
            place: AtomicU32::new(NOWHERE),
            marked: AtomicBool::new(false),
            state: Mutex::new(State::new()),
            identity: OnceLock::new(),
            last_frame: AtomicU64::new(clock_ms),
            expires: AtomicU64::new(0),
            unconfirmed: AtomicU32::new(0),
            renewing: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn mailbox(&self) -> &Mailbox<Arrival> {
        &self.mailbox
    }

    /// The reactor has the socket at this place, and will drive it.
    pub(crate) fn settle(&self, place: u32) {
        self.place.store(place, Ordering::Release);
    }

    /// The reactor is driving the socket: others that leave something need not mark it.
    pub(crate) fn keep_marked(&self) {
        self.marked.store(true, Ordering::Release);
    }

    /// The reactor is about to look for the last time whether there is something to do.
    pub(crate) fn unmark(&self) {
        // Reads what the last mark wrote, and so sees what was left before it.
        self.marked.swap(false, Ordering::AcqRel);
    }

    /// Tells the reactor that there is something to do.
    fn mark(&self) {
        if self.marked.swap(true, Ordering::AcqRel) {
            return;
        }
        let place = self.place.load(Ordering::Acquire);
        if place != NOWHERE {
            self.mailbox.mark(place);
        }
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// What a frame of the socket is judged by.
    #[inline]
    pub(crate) fn standing<'a>(&'a self, rules: &'a Rules, role: Role) -> Standing<'a> {
        Standing { rules, identity: &self.identity, role }
    }

    /// Begins to join; `false` when the socket is closing already.
    pub(crate) fn join(&self, identity: Identity, claims: &Claims) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Closing || self.identity.set(identity).is_err() {
            return false;
        }
        self.expires.store(claims.expires_at, Ordering::Relaxed);
        state.session = claims.session.to_bytes();
        state.phase = Phase::Joining;
        state.held = true;
        state.catching_up = true;
        true
    }

    /// Puts `welcome` before everything that has come meanwhile, and lets it flow. The catching up goes on until
    /// [`Self::span`] ends it.
    pub(crate) fn welcome(&self, wire: Bytes, cursor: u64, head: u64) -> bool {
        let mut state = self.state();
        if state.phase != Phase::Joining {
            return false;
        }
        state.phase = Phase::Open;
        state.held = false;
        state.delivered = cursor;
        state.seen = state.seen.max(head);
        state.bytes += wire.len();
        state.queue.push_front(Out { wire, class: Class::Durable });
        drop(state);
        self.mark();
        true
    }

    /// Hands the socket a frame.
    pub(crate) fn offer(&self, wire: Bytes, class: Class, room: Room, cut_at: impl FnOnce() -> u64) -> Offer {
        let mut state = self.state();
        let offer = state.offer(wire, class, room, cut_at);
        drop(state);
        if offer != Offer::Dropped {
            self.mark();
        }
        offer
    }

    /// Hands the socket an inbox entry: the next one in order is queued, one it had is dropped, and a gap or a missing
    /// frame makes it read the inbox.
    pub(crate) fn offer_push(
        &self,
        seq: u64,
        wire: Option<&Bytes>,
        room: Room,
        cut_at: impl FnOnce() -> u64,
    ) -> Offer {
        let mut state = self.state();
        if state.phase == Phase::Closing {
            return Offer::Gone;
        }
        state.seen = state.seen.max(seq);
        let offer = match wire {
            _ if state.catching_up || seq <= state.delivered => Offer::Taken,
            Some(wire) if seq == state.delivered + 1 => {
                let offer = state.offer(wire.clone(), Class::Durable, room, cut_at);
                if offer == Offer::Taken {
                    state.delivered = seq;
                }
                offer
            }
            _ => {
                state.catching_up = true;
                Offer::Taken
            }
        };
        drop(state);
        self.mark();
        offer
    }

    /// Notes that the inbox goes up to `head`, so that a lost delivery is noticed.
    pub(crate) fn saw_head(&self, head: u64) {
        let mut state = self.state();
        if state.phase == Phase::Open && head > state.delivered && !state.catching_up {
            state.seen = state.seen.max(head);
            state.catching_up = true;
            drop(state);
            self.mark();
        }
    }

    /// The part of the inbox that is still unread: after the first, up to the second. `None` ends the catching up, in
    /// the same step that finds nothing left.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        let mut state = self.state();
        if state.phase == Phase::Open && state.seen > state.delivered {
            return Some((state.delivered, state.seen));
        }
        state.catching_up = false;
        None
    }

    /// Queues what was read from the inbox, if it fits into half of the room: the other half is for live frames.
    pub(crate) fn offer_read(&self, seq: u64, wires: &[Bytes], room: Room) -> Option<Offer> {
        let mut state = self.state();
        if state.phase == Phase::Closing {
            return Some(Offer::Gone);
        }
        let len = wires.iter().map(Bytes::len).sum::<usize>();
        let fits =
            state.queue.len() + wires.len() <= room.frames.div_ceil(2) && state.bytes + len <= room.bytes / 2;
        if !fits && !state.queue.is_empty() {
            return None;
        }
        for wire in wires {
            state.push(wire.clone(), Class::Durable);
        }
        state.delivered = seq;
        Some(Offer::Taken)
    }

    /// Forgets what was announced past `head`: it is not there.
    pub(crate) fn nothing_past(&self, head: u64) {
        let mut state = self.state();
        state.seen = head.max(state.delivered);
    }

    /// Begins to close; `false` when the socket was closing already. What waits is still written, except when the
    /// reader is too slow or has not been welcomed.
    pub(crate) fn close(&self, code: CloseCode, reason: &str, cut_at: u64) -> bool {
        let begun = self.state().close(Some(code.code()), reason, cut_at);
        self.mark();
        begun
    }

    /// From now on its end waits for no answer: once it closes, the connection ends as soon as that is written.
    pub(crate) fn wait_no_longer(&self) {
        self.state().abrupt = true;
    }

    /// Asks the client for a sign of life until `deadline`.
    pub(crate) fn probe(&self, room: Room, deadline: u64) {
        self.state().probe(room, deadline);
        self.mark();
    }

    /// The close may be said, as soon as no ack is being saved.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        if state.phase == Phase::Closing && state.saving == 0 {
            state.held = false;
        }
        drop(state);
        self.mark();
    }

    /// Whether no valid `hello` has come, and it is not closing.
    pub(crate) fn is_silent(&self) -> bool {
        self.state().phase == Phase::Silent
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state().phase == Phase::Closing
    }

    /// Answers a close that the client began.
    pub(crate) fn echo_close(&self, code: Option<u16>, cut_at: u64) -> bool {
        self.state().close(code, "", cut_at)
    }

    /// Ends the socket at once.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.mark();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Notes a sign of life. Nothing that comes before `hello` is one: it would put off the deadline of `hello`.
    pub(crate) fn heard(&self, clock_ms: u64) {
        self.last_frame.store(clock_ms, Ordering::Relaxed);
    }

    /// Makes the socket one of another sign-in, before that sign-in is checked: if it ends, either the check sees that
    /// or the end finds this socket. Returns the sign-in before.
    pub(crate) fn turn_to(&self, session: Ulid) -> Ulid {
        let before = std::mem::replace(&mut self.state().session, session.to_bytes());
        Ulid::from_bytes(before)
    }

    pub(crate) fn renew(&self, expires: u64, role: Role) {
        self.expires.store(expires, Ordering::Relaxed);
        let mut state = self.state();
        state.due_sent = false;
        state.role = role;
    }

    /// Notes what the user may do.
    pub(crate) fn empower(&self, role: Role) {
        self.state().role = role;
    }

    /// Whether the socket's last token is of this sign-in.
    pub(crate) fn is_of(&self, session: Ulid) -> bool {
        self.state().session == session.to_bytes()
    }

    /// Notes how far the client has read, at most up to what was sent.
    pub(crate) fn ack(&self, cursor: u64) {
        let mut state = self.state();
        state.acked = state.acked.max(cursor.min(state.delivered));
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        let state = self.state();
        state.acked > state.saved
    }

    /// A cursor that must be saved now; [`Self::end_saving`] follows.
    pub(crate) fn begin_saving(&self) -> Option<u64> {
        let mut state = self.state();
        if state.acked <= state.saved {
            return None;
        }
        state.saved = state.acked;
        state.saving += 1;
        Some(state.acked)
    }

    /// The cursor is saved, or could not be.
    pub(crate) fn end_saving(&self, is_saved: bool) {
        let mut state = self.state();
        state.saving -= 1;
        if !is_saved {
            state.saved = 0;
        }
        let is_waited_for = state.phase == Phase::Closing;
        drop(state);
        if is_waited_for {
            self.release();
        }
    }

    /// Whether the client was asked for a sign of life and gave none in time. One that gave a sign is asked no longer.
    fn gave_no_sign(&self, state: &mut State, now: Now, deadlines: Deadlines) -> bool {
        let asked_at = state.deadline.saturating_sub(deadlines.probe);
        if self.last_frame.load(Ordering::Relaxed) >= asked_at {
            state.deadline = 0;
        }
        state.deadline > 0 && now.clock_ms >= state.deadline
    }

    /// What is due at `now`.
    pub(crate) fn due(&self, now: Now, deadlines: Deadlines) -> Option<Due> {
        let mut state = self.state();
        let silent = now.clock_ms.saturating_sub(self.last_frame.load(Ordering::Relaxed));
        match state.phase {
            Phase::Silent => (silent >= deadlines.hello).then_some(Due::Close(CloseCode::NoHello)),
            // The client did its part; when tables or cache take this long, another edge may do better.
            Phase::Joining => (silent >= 4 * deadlines.hello).then_some(Due::Close(CloseCode::Shedding)),
            Phase::Closing if now.clock_ms >= state.deadline => {
                if !std::mem::take(&mut state.held) {
                    return Some(Due::Cut);
                }
                // The tables take long to save its ack: its client hears all the same why it is closed.
                state.deadline = now.clock_ms + deadlines.linger;
                drop(state);
                self.mark();
                None
            }
            Phase::Closing => None,
            Phase::Open => {
                let expires_ms = self.expires.load(Ordering::Relaxed).saturating_mul(1000);
                if expires_ms <= now.unix_ms {
                    return Some(Due::Close(CloseCode::TokenExpired));
                }
                if self.gave_no_sign(&mut state, now, deadlines) || silent > deadlines.silence {
                    return Some(Due::Close(CloseCode::NoHeartbeat));
                }
                let left = expires_ms - now.unix_ms;
                if left <= deadlines.auth_due && !state.due_sent {
                    state.due_sent = true;
                    return Some(Due::Auth(left));
                }
                None
            }
        }
    }
}

/// Waking a socket's job marks the socket.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.mark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark();
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
