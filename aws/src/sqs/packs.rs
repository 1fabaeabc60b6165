//! What this process holds of received messages, by receipt handle: in memory, bounded, the oldest forgotten first.
//!
//! A member of a pack is buffered → out → settled. Acked and buried members are settled; one whose own visibility lapses
//! is sent anew on its own and then settled. A pack is deleted once all are settled, and its visibility at the engine
//! outlasts that of every member. A pack that was forgotten comes again whole.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_common::ports::queues::{Message, Receipt};

use super::wire::Packed;

/// How many bytes of bodies are remembered for each queue.
const MOST_BYTES: usize = 128 * 1024 * 1024;
/// How many messages are.
const MOST: usize = 20_000;
/// How much longer a pack is out of sight than its members.
pub(super) const MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Buffered,
    Out(Instant),
    Settled,
}

#[derive(Debug)]
struct Held {
    id: String,
    members: Vec<(String, State)>,
    attempt: u32,
    sent_at: u64,
    hidden_until: Instant,
    bytes: usize,
}

/// A member of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) handle: String,
    pub(super) index: usize,
    pub(super) packed: bool,
}

/// A member to send anew.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) part: Part,
    pub(super) body: String,
    pub(super) attempt: u32,
    pub(super) sent_at: u64,
}

impl Part {
    fn receipt(&self) -> Receipt {
        let packed = if self.packed { 'p' } else { 's' };
        Receipt(Bytes::from(format!("{packed}{} {}", self.index, self.handle)))
    }

    /// Reads a receipt; none: it is not one of ours.
    pub(super) fn of(receipt: &Receipt) -> Option<Self> {
        let text = std::str::from_utf8(&receipt.0).ok()?;
        let (head, handle) = text.split_once(' ')?;
        let packed = head.starts_with('p');
        let index = head.strip_prefix(['p', 's'])?.parse().ok()?;
        Some(Self { handle: handle.to_owned(), index, packed })
    }
}

/// The messages held of one queue.
#[derive(Debug, Default)]
pub(super) struct Packs {
    held: HashMap<String, Held>,
    /// The latest receipt handle of each message: SQS may keep what is deleted by an older one.
    newest: HashMap<String, String>,
    order: VecDeque<String>,
    buffer: VecDeque<Part>,
    bytes: usize,
}

impl Packs {
    /// Takes a message in: its members are buffered.
    pub(super) fn insert(&mut self, id: String, handle: String, packed: Packed, hidden_until: Instant) {
        let bytes = packed.bodies.iter().map(String::len).sum();
        let many = packed.bodies.len() > 1;
        for index in 0..packed.bodies.len() {
            self.buffer.push_back(Part { handle: handle.clone(), index, packed: many });
        }
        let members = packed.bodies.into_iter().map(|body| (body, State::Buffered)).collect();
        let (attempt, sent_at) = (packed.attempts, packed.sent_at);
        self.bytes += bytes;
        self.order.push_back(handle.clone());
        self.newest.insert(id.clone(), handle.clone());
        let held = Held { id, members, attempt, sent_at, hidden_until, bytes };
        if let Some(old) = self.held.insert(handle, held) {
            self.bytes -= old.bytes;
        }
        while self.bytes > MOST_BYTES || self.order.len() > MOST {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, handle: &str) {
        if let Some(old) = self.held.remove(handle) {
            self.bytes -= old.bytes;
            if self.newest.get(&old.id).is_some_and(|newest| newest == handle) {
                self.newest.remove(&old.id);
            }
        }
        // What was settled early leaves holes in the order: they go when they outnumber the rest.
        if self.order.len() > 2 * self.held.len() + 64 {
            self.order.retain(|handle| self.held.contains_key(handle));
        }
    }

    /// Hands out up to `max` buffered members, and names the messages whose visibility must be set for it.
    pub(super) fn take(&mut self, max: usize, visibility: Duration) -> (Vec<Message>, Vec<String>) {
        let until = Instant::now() + visibility;
        let (mut messages, mut renew) = (Vec::new(), Vec::new());
        while messages.len() < max {
            let Some(part) = self.buffer.pop_front() else { break };
            let Some(held) = self.held.get_mut(&part.handle) else { continue };
            let Some(member) = held.members.get_mut(part.index) else { continue };
            member.1 = State::Out(until);
            let margin = if part.packed { MARGIN } else { Duration::ZERO };
            // Only what lapses clearly before or after is set again.
            let apart = until + margin;
            let off = apart.saturating_duration_since(held.hidden_until)
                + if part.packed {
                    Duration::ZERO
                } else {
                    held.hidden_until.saturating_duration_since(apart)
                };
            if off > Duration::from_millis(900) && !renew.contains(&part.handle) {
                held.hidden_until = apart;
                renew.push(part.handle.clone());
            }
            messages.push(Message {
                receipt: part.receipt(),
                body: Bytes::from(member.0.clone().into_bytes()),
                attempt: held.attempt,
                sent_at: held.sent_at,
            });
        }
        (messages, renew)
    }

    /// How many members lie buffered.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Gives up what is buffered of messages none of whose members is out: their handles.
    pub(super) fn release(&mut self) -> Vec<String> {
        let mut free = Vec::new();
        for part in &self.buffer {
            let untouched = |held: &Held| held.members.iter().all(|member| member.1 == State::Buffered);
            if free.last() != Some(&part.handle) && self.held.get(&part.handle).is_some_and(untouched) {
                free.push(part.handle.clone());
            }
        }
        self.buffer.retain(|part| !free.contains(&part.handle));
        free.iter().for_each(|handle| self.forget(handle));
        free
    }

    /// Settles a member; answers the handle to delete when it was the last.
    pub(super) fn settle(&mut self, part: &Part) -> Option<String> {
        if let Some(held) = self.held.get_mut(&part.handle) {
            if let Some(member) = held.members.get_mut(part.index) {
                member.1 = State::Settled;
            }
            if held.members.iter().any(|member| member.1 != State::Settled) {
                return None;
            }
            let newest = self.newest.get(&held.id).unwrap_or(&part.handle).clone();
            self.forget(&part.handle);
            return Some(newest);
        }
        // A forgotten message of one can still be deleted; of a forgotten pack nobody knows the others.
        (!part.packed).then(|| part.handle.clone())
    }

    /// Sets a member's visibility; answers the handle whose visibility at the engine must follow.
    pub(super) fn extend(&mut self, part: &Part, visibility: Duration) -> Option<String> {
        if !part.packed {
            return Some(part.handle.clone());
        }
        let until = Instant::now() + visibility;
        let held = self.held.get_mut(&part.handle)?;
        let member = held.members.get_mut(part.index)?;
        if member.1 == State::Settled {
            return None;
        }
        member.1 = State::Out(until);
        (until + MARGIN > held.hidden_until).then(|| {
            held.hidden_until = until + MARGIN;
            part.handle.clone()
        })
    }

    /// A member's body, times and count.
    pub(super) fn get(&self, part: &Part) -> Option<Again> {
        let held = self.held.get(&part.handle)?;
        let (body, state) = held.members.get(part.index)?;
        (*state != State::Settled).then(|| Again {
            part: part.clone(),
            body: body.clone(),
            attempt: held.attempt,
            sent_at: held.sent_at,
        })
    }

    /// Members of packs whose own visibility has lapsed, at most `limit`.
    pub(super) fn lapsed(&self, limit: usize) -> Vec<Again> {
        let now = Instant::now();
        let packs = self.held.iter().filter(|(_, held)| held.members.len() > 1 && held.hidden_until > now);
        let parts = packs.flat_map(|(handle, held)| {
            let due = held.members.iter().enumerate().filter(move |(_, member)| match member.1 {
                State::Out(until) => until <= now,
                State::Buffered | State::Settled => false,
            });
            due.map(|(index, _)| Part { handle: handle.clone(), index, packed: true })
        });
        parts.filter_map(|part| self.get(&part)).take(limit).collect()
    }

    /// Messages with buffered members that would lapse within the margin: their new visibility is counted from now.
    pub(super) fn keep(&mut self, visibility: Duration) -> Vec<String> {
        let soon = Instant::now() + MARGIN;
        let mut handles = Vec::new();
        for part in &self.buffer {
            if let Some(held) = self.held.get_mut(&part.handle)
                && held.hidden_until < soon
            {
                held.hidden_until = Instant::now() + visibility;
                handles.push(part.handle.clone());
            }
        }
        handles
    }

    /// When the oldest message held was sent.
    pub(super) fn oldest(&self) -> Option<u64> {
        let now = Instant::now();
        self.held.values().filter(|held| held.hidden_until > now).map(|held| held.sent_at).min()
    }
}
