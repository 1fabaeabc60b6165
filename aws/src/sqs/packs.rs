//! The received messages that this process holds, by message id: in memory and bounded, the oldest are discarded first.
//!
//! A member of a pack is buffered → out → settled. Acked and buried members are settled. A member whose own visibility
//! timeout expires is sent again as a message of its own (leaving), and then settled. A pack is deleted once all its
//! members are settled, and its visibility timeout at the engine is longer than that of every member. A settled member
//! stays settled when the message comes again. A pack that was discarded comes again whole.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_common::ports::queues::{Message, Receipt, Rounds};

use super::copies::Copies;
use super::part::{Named, Part};
use super::wire::Packed;

/// How many bytes of bodies are held for each queue.
const MOST_BYTES: usize = 128 * 1024 * 1024;
/// How many messages are held for each queue.
const MOST: usize = 20_000;
/// How much longer a pack is hidden than its members.
pub(super) const MARGIN: Duration = Duration::from_secs(10);
/// A visibility timeout that ends this much too early or too late is not set again.
const SLACK: Duration = Duration::from_millis(900);
/// How often the keeper tries a delete that failed, and the shortest and longest pause before a try.
const DELETES: u32 = 12;
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Buffered,
    Out(Instant),
    /// It is being sent again.
    Leaving,
    Settled,
}

/// When to delete a settled message next if its present delete has not ended by then.
#[derive(Debug, Clone, Copy)]
struct Delete {
    due: Instant,
    tries: u32,
}

#[derive(Debug)]
struct Held {
    /// The latest receipt handle: SQS may not delete a message by an older one.
    handle: String,
    members: Vec<(String, State)>,
    /// Whose all of them are, as the engine was told.
    group: Option<String>,
    attempt: u32,
    sent_at: u64,
    hidden_until: Instant,
    bytes: usize,
    delete: Option<Delete>,
}

impl Held {
    fn settled(&self) -> bool {
        self.members.iter().all(|member| member.1 == State::Settled)
    }

    fn packed(&self) -> bool {
        self.members.len() > 1
    }

    /// Who takes a turn with the members; a message of several users is like one more user's.
    fn user(&self, id: &str) -> String {
        self.group.clone().unwrap_or_else(|| id.to_owned())
    }
}

/// A member to send again or to bury.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) part: Part,
    pub(super) body: String,
    pub(super) group: Option<String>,
    pub(super) attempt: u32,
    pub(super) sent_at: u64,
}

impl Again {
    /// The same as if its present receive had not been.
    pub(super) fn unreceived(self) -> Self {
        Self { attempt: self.attempt.saturating_sub(1), ..self }
    }
}

/// The messages to hand out, and those whose visibility timeout must be set for that.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Message>,
    pub(super) singles: Vec<Named>,
    pub(super) packs: Vec<Named>,
}

/// The messages held of one queue.
#[derive(Debug, Default)]
pub(super) struct Packs {
    held: HashMap<String, Held>,
    order: VecDeque<Named>,
    /// The members that are buffered, in turn by whose they are.
    buffer: Rounds<String, Part>,
    copies: Copies,
    bytes: usize,
    /// Whether the latest received message was a pack.
    packed: bool,
}

impl Packs {
    /// Adds a received message: its members are buffered, except those that were settled before.
    pub(super) fn insert(&mut self, named: Named, packed: Packed, hidden_until: Instant) {
        let Named { id, handle } = named;
        let bytes = packed.bodies.iter().map(String::len).sum();
        let many = packed.bodies.len() > 1;
        self.packed = many;
        let old = self.held.remove(&id);
        if let Some(old) = &old {
            self.bytes -= old.bytes;
            self.buffer.retain(|part| part.id != id);
        }
        let void = self.copies.is_void(&id);
        let before = |index| match old.as_ref().and_then(|old| old.members.get(index)) {
            Some((_, state @ (State::Leaving | State::Settled))) => *state,
            _ if void => State::Settled,
            _ => State::Buffered,
        };
        let members: Vec<_> =
            packed.bodies.into_iter().enumerate().map(|(index, body)| (body, before(index))).collect();
        let (group, attempt, sent_at) = (packed.group, packed.attempts, packed.sent_at);
        self.bytes += bytes;
        self.order.push_back(Named { id: id.clone(), handle: handle.clone() });
        let mut held = Held { handle, members, group, attempt, sent_at, hidden_until, bytes, delete: None };
        for (index, _) in held.members.iter().enumerate().filter(|(_, member)| member.1 == State::Buffered) {
            let part = Part { id: id.clone(), handle: held.handle.clone(), index, packed: many };
            self.buffer.push(held.user(&id), part);
        }
        if held.settled() {
            held.delete = Some(Delete { due: Instant::now(), tries: 0 });
        }
        self.held.insert(id, held);
        while self.bytes > MOST_BYTES || self.order.len() > MOST {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, named: &Named) {
        if self.held.get(&named.id).is_some_and(|held| held.handle == named.handle)
            && let Some(old) = self.held.remove(&named.id)
        {
            self.bytes -= old.bytes;
        }
        // Messages that were settled early leave holes in the order: they are removed when they outnumber the rest.
        if self.order.len() > 2 * self.held.len() + 64 {
            let held = &self.held;
            self.order.retain(|at| held.get(&at.id).is_some_and(|held| held.handle == at.handle));
        }
    }

    /// The message of a member, if the receipt is of its latest receive.
    fn latest(&mut self, part: &Part) -> Option<&mut Held> {
        self.held.get_mut(&part.id).filter(|held| held.handle == part.handle)
    }

    /// Hands out up to `max` buffered members.
    pub(super) fn take(&mut self, max: usize, visibility: Duration) -> Taken {
        let until = Instant::now() + visibility;
        let mut taken = Taken::default();
        while taken.messages.len() < max {
            let is_held =
                |part: &Part| self.held.get(&part.id).is_some_and(|held| held.handle == part.handle);
            let Some(part) = self.buffer.next(is_held) else { break };
            let Some(held) = self.latest(&part) else { continue };
            let (attempt, sent_at) = (held.attempt, held.sent_at);
            let Some(member) = held.members.get_mut(part.index) else { continue };
            member.1 = State::Out(until);
            let body = Bytes::from(member.0.clone().into_bytes());
            // Set again only if it would end clearly too early or too late.
            let (apart, late) = if part.packed {
                (until + MARGIN, Duration::ZERO)
            } else {
                (until, held.hidden_until.saturating_duration_since(until))
            };
            if apart.saturating_duration_since(held.hidden_until) + late > SLACK {
                held.hidden_until = apart;
                if part.packed { &mut taken.packs } else { &mut taken.singles }.push(part.named());
            }
            taken.messages.push(Message { receipt: part.receipt(), body, attempt, sent_at });
        }
        taken
    }

    /// Puts messages back that were taken and not handed out.
    pub(super) fn put_back(&mut self, receipts: &[Receipt]) {
        for part in receipts.iter().rev().filter_map(Part::of) {
            let Some(held) = self.latest(&part) else { continue };
            if let Some((_, state @ State::Out(_))) = held.members.get_mut(part.index) {
                *state = State::Buffered;
                let user = held.user(&part.id);
                self.buffer.put_back(user, part);
            }
        }
    }

    /// The visibility timeout for the next receive, if members must be hidden for `visibility`. After a pack the next
    /// message is probably a pack too; then its timeout need not be set when its members are handed out.
    pub(super) fn unseen(&self, visibility: Duration) -> Duration {
        if self.packed { visibility + MARGIN } else { visibility }
    }

    /// How many members are buffered.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Gives up the buffered messages of which every member is still buffered; returns them.
    pub(super) fn release(&mut self) -> Vec<Named> {
        let mut free: Vec<Named> = Vec::new();
        for part in self.buffer.iter() {
            let untouched = |held: &Held| held.members.iter().all(|member| member.1 == State::Buffered);
            if free.last().is_none_or(|last| last.id != part.id)
                && self.held.get(&part.id).is_some_and(untouched)
            {
                free.push(part.named());
            }
        }
        self.buffer.retain(|part| !free.iter().any(|named| named.id == part.id));
        free.iter().for_each(|named| self.forget(named));
        free
    }

    /// Settles a member; returns the message to delete when all its members are settled, also when called again.
    pub(super) fn settle(&mut self, part: &Part) -> Vec<Named> {
        // If it was sent again, its copy is settled with it.
        let copy = self.copies.acked(part);
        let mut done: Vec<_> = copy.into_iter().filter_map(|id| self.settle_held(&id, 0)).collect();
        if let Some(held) = self.held.get(&part.id) {
            if held.members.get(part.index).is_some_and(|member| member.1 == State::Leaving) {
                self.copies.acked_early(part);
            }
            done.extend(self.settle_held(&part.id, part.index));
        } else if !part.packed {
            // A discarded message of one can still be deleted. Of a discarded pack the state of the other members is
            // unknown.
            done.push(part.named());
        }
        done
    }

    fn settle_held(&mut self, id: &str, index: usize) -> Option<Named> {
        let held = self.held.get_mut(id)?;
        held.members.get_mut(index)?.1 = State::Settled;
        if !held.settled() {
            return None;
        }
        let tries = held.delete.map_or(0, |delete| delete.tries);
        // If the delete is broken off, the keeper does it.
        held.delete = Some(Delete { due: Instant::now() + LONGEST_PAUSE, tries });
        Some(Named { id: id.to_owned(), handle: held.handle.clone() })
    }

    /// Forgets a message that was deleted.
    pub(super) fn deleted(&mut self, named: &Named) {
        self.forget(named);
    }

    /// Records that the engine did not delete a message: the keeper tries again, a bounded number of times. After those
    /// it is deleted when it comes again.
    pub(super) fn undeleted(&mut self, named: &Named) {
        if !self.held.contains_key(&named.id) {
            let nothing = Packed { bodies: vec![String::new()], ..Packed::default() };
            self.insert(named.clone(), nothing, Instant::now());
            self.buffer.retain(|part| part.id != named.id);
            self.settle_held(&named.id, 0);
        }
        if let Some(held) = self.held.get_mut(&named.id).filter(|held| held.settled()) {
            let tries = held.delete.map_or(0, |delete| delete.tries) + 1;
            let pause = LONGEST_PAUSE.min(PAUSE * 2_u32.saturating_pow(tries - 1));
            held.delete = (tries < DELETES).then(|| Delete { due: Instant::now() + pause, tries });
        }
    }

    /// Messages whose delete is due, at most `limit`.
    pub(super) fn undone(&mut self, limit: usize) -> Vec<Named> {
        let now = Instant::now();
        let due = self.held.iter_mut().filter_map(|(id, held)| {
            let delete = held.delete.as_mut().filter(|delete| delete.due <= now)?;
            delete.due = now + LONGEST_PAUSE;
            Some(Named { id: id.clone(), handle: held.handle.clone() })
        });
        due.take(limit).collect()
    }

    /// Sets a member's visibility timeout; returns the message whose timeout at the engine must be set as well.
    pub(super) fn extend(&mut self, part: &Part, visibility: Duration) -> Option<Named> {
        if !part.packed {
            return Some(part.named());
        }
        let until = Instant::now() + visibility;
        let held = self.latest(part)?;
        let (_, state @ State::Out(_)) = held.members.get_mut(part.index)? else { return None };
        *state = State::Out(until);
        (until + MARGIN > held.hidden_until).then(|| {
            held.hidden_until = until + MARGIN;
            part.named()
        })
    }

    /// Records that the engine did not set a visibility timeout: it is unknown when the message comes again, and
    /// [`Self::keep`] sets the timeout again.
    pub(super) fn visibility_unknown(&mut self, named: &Named) {
        if let Some(held) = self.held.get_mut(&named.id).filter(|held| held.handle == named.handle) {
            held.hidden_until = Instant::now();
        }
    }

    /// A member that is not settled: its body, attempt and time.
    pub(super) fn get(&self, part: &Part) -> Option<Again> {
        let held = self.held.get(&part.id)?;
        let (body, state) = held.members.get(part.index)?;
        (*state != State::Settled).then(|| Again {
            part: part.clone(),
            body: body.clone(),
            group: held.group.clone(),
            attempt: held.attempt,
            sent_at: held.sent_at,
        })
    }

    /// Marks a member that is out as leaving; `None` when it is not out, or another has received it since.
    pub(super) fn leave(&mut self, part: &Part) -> Option<Again> {
        let (_, state @ State::Out(_)) = self.latest(part)?.members.get_mut(part.index)? else { return None };
        *state = State::Leaving;
        self.get(part)
    }

    /// Records that a leaving member was sent again as the message `copy`, or, with `None`, that this failed. Returns
    /// what must be deleted now.
    pub(super) fn left(&mut self, part: &Part, copy: Option<String>) -> Vec<Named> {
        let acked = self.copies.was_acked(part);
        let member = self.held.get_mut(&part.id).and_then(|held| held.members.get_mut(part.index));
        let Some(copy) = copy else {
            if let Some((_, state @ State::Leaving)) = member {
                *state = State::Out(Instant::now());
            }
            return Vec::new();
        };
        if acked {
            self.copies.void(copy.clone());
            return self.settle_held(&copy, 0).into_iter().collect();
        }
        self.copies.made(part, copy);
        self.settle_held(&part.id, part.index).into_iter().collect()
    }

    /// Members of packs whose own visibility timeout has expired, at most `limit`; marks them as leaving.
    pub(super) fn expired(&mut self, limit: usize) -> Vec<Again> {
        let now = Instant::now();
        let packs = self.held.iter().filter(|(_, held)| held.packed() && held.hidden_until > now);
        let parts = packs.flat_map(|(id, held)| {
            let members = held.members.iter().enumerate();
            let due =
                members.filter(move |(_, member)| matches!(member.1, State::Out(until) if until <= now));
            due.map(|(index, _)| Part { id: id.clone(), handle: held.handle.clone(), index, packed: true })
        });
        let parts: Vec<_> = parts.take(limit).collect();
        parts.iter().filter_map(|part| self.leave(part)).collect()
    }

    /// Messages that must be hidden longer: those that would come again within the margin though members are buffered,
    /// or before the timeout of members that are out. By the seconds for which they must be hidden from now.
    pub(super) fn keep(&mut self, visibility: Duration) -> BTreeMap<u64, Vec<Named>> {
        let now = Instant::now();
        let mut all: BTreeMap<u64, Vec<Named>> = BTreeMap::new();
        for (id, held) in &mut self.held {
            let packed = held.packed();
            let needs = held.members.iter().filter_map(|(_, state)| match state {
                State::Buffered => Some((now + MARGIN, now + visibility)),
                State::Out(until) if packed && *until > now => {
                    Some((*until + MARGIN - SLACK, *until + MARGIN))
                }
                State::Out(_) | State::Leaving | State::Settled => None,
            });
            let short = needs.filter(|(least, _)| held.hidden_until < *least);
            if let Some(until) = short.map(|(_, until)| until).max() {
                held.hidden_until = until;
                let seconds = (until - now).as_secs() + 1;
                all.entry(seconds).or_default().push(Named { id: id.clone(), handle: held.handle.clone() });
            }
        }
        all
    }

    /// When the oldest message held was sent.
    pub(super) fn oldest(&self) -> Option<u64> {
        let now = Instant::now();
        self.held
            .values()
            .filter(|held| held.hidden_until > now && !held.settled())
            .map(|held| held.sent_at)
            .min()
    }
}
