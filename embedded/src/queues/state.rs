//! What is in the queues now: an index over the log, the visibility timeouts, and the newest bodies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use soundoff_common::ports::queues::Rounds;
use soundoff_common::protocol::Handle;

use super::record::{Id, PUT_OVERHEAD};
use super::users::{User, Users};

/// The place of a body in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Ready,
    InFlight,
    /// Its burial is on the way to disk: nobody can receive it, and it is not yet a dead letter.
    Burying,
}

/// One message. Times are microseconds since the log was opened, except `sent_at`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) attempt: u32,
    pub(super) sent_at: u64,
    until: u64,
    user: User,
    /// How often it was redriven: receipts of an earlier life are void.
    pub(super) life: u16,
    sight: Sight,
}

/// A dead letter.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) entry: Entry,
    pub(super) at: u64,
    pub(super) reason: Box<str>,
    /// Its redrive is on the way to disk.
    leaving: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) live: BTreeMap<u64, Entry>,
    pub(super) dead: BTreeMap<u64, Letter>,
    /// May hold numbers that are no longer ready: the entry decides.
    ready: Rounds<User, u64>,
    in_flight: BTreeSet<(u64, u64)>,
    /// Burials on their way to disk.
    burying: u64,
    leaving: u64,
}

impl Queue {
    pub(super) fn visible(&self) -> u64 {
        self.live.len() as u64 - self.in_flight()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.len() as u64 + self.burying
    }

    /// Makes messages visible whose visibility timeout has expired; returns whether there were any.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some(&(until, seq)) = self.in_flight.first().filter(|(until, _)| *until <= now) {
            self.in_flight.remove(&(until, seq));
            let entry = self.live.get_mut(&seq).expect("what is in flight is live");
            entry.sight = Sight::Ready;
            self.ready.insert(entry.user, seq);
            any = true;
        }
        any
    }
}

/// What a message was when its burial was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Burial {
    Begun,
    /// Asked for before, and not on disk yet.
    OnItsWay,
    /// It is buried, acked or redriven.
    Past,
}

/// Where a body can be read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Memory(Bytes),
    Log(Arc<File>, Place),
}

/// One receive of one message: what a receipt names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) seq: u64,
    pub(super) life: u16,
    pub(super) attempt: u32,
}

impl Delivery {
    fn is_latest(self, entry: &Entry) -> bool {
        entry.life == self.life && entry.attempt == self.attempt && entry.sight == Sight::InFlight
    }
}

/// One message as taken by a receiver.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) delivery: Delivery,
    pub(super) sent_at: u64,
    pub(super) source: Source,
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<File>,
    /// Bytes in it; 0 while it grows.
    pub(super) size: u64,
    /// How many messages and dead letters have their body in it.
    pub(super) bodies: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queues: Vec<Queue>,
    /// The number of the oldest segment.
    pub(super) first: u32,
    pub(super) segments: VecDeque<Segment>,
    /// Bytes of all segments but the growing one.
    pub(super) size: u64,
    /// Bytes of all messages and dead letters.
    pub(super) live: u64,
    /// Whose they are.
    pub(super) users: Users,
    bodies: BTreeMap<u64, Bytes>,
    bodies_len: usize,
    memory: usize,
    /// No visibility timeout expires before this.
    pub(super) next_expiry: u64,
}

impl State {
    pub(super) fn new(memory: usize) -> Self {
        Self {
            queues: Vec::new(),
            first: 1,
            segments: VecDeque::new(),
            size: 0,
            live: 0,
            users: Users::default(),
            bodies: BTreeMap::new(),
            bodies_len: 0,
            memory,
            next_expiry: u64::MAX,
        }
    }

    pub(super) fn queue(&mut self, queue: u16) -> &mut Queue {
        &mut self.queues[usize::from(queue)]
    }

    pub(super) fn segment(&mut self, number: u32) -> &mut Segment {
        &mut self.segments[(number - self.first) as usize]
    }

    /// Adds a message that is in the log now; it is visible from now on.
    pub(super) fn insert(&mut self, id: Id, place: Place, sent_at: u64, user: Option<&Handle>, body: Bytes) {
        let user = self.users.number(user);
        self.count(place, user);
        self.bodies_len += body.len();
        self.bodies.insert(id.seq, body);
        while self.bodies_len > self.memory
            && let Some((_, body)) = self.bodies.pop_first()
        {
            self.bodies_len -= body.len();
        }
        let queue = self.queue(id.queue);
        queue.live.insert(id.seq, Entry::new(place, sent_at, user, 0, 0));
        queue.ready.insert(user, id.seq);
    }

    /// Hides up to `max` visible messages until `until`.
    pub(super) fn take(&mut self, number: u16, max: usize, now: u64, until: u64, out: &mut Vec<Taken>) {
        self.queue(number).expire(now);
        while out.len() < max {
            let queue = &mut self.queues[usize::from(number)];
            let is_ready = |seq: &u64| queue.live.get(seq).is_some_and(|entry| entry.sight == Sight::Ready);
            let Some(seq) = queue.ready.next(is_ready) else { break };
            let Some(entry) = queue.live.get_mut(&seq) else { continue };
            entry.sight = Sight::InFlight;
            entry.attempt += 1;
            entry.until = until;
            queue.in_flight.insert((until, seq));
            let Entry { place, attempt, sent_at, life, .. } = *entry;
            let delivery = Delivery { seq, life, attempt };
            out.push(Taken { delivery, sent_at, source: self.source(seq, place) });
        }
    }

    /// Undoes a take: the messages are visible again, and it counts as no receive.
    pub(super) fn put_back(&mut self, number: u16, taken: &[Delivery]) {
        let queue = self.queue(number);
        for delivery in taken {
            let Some(entry) = queue.live.get_mut(&delivery.seq).filter(|entry| delivery.is_latest(entry))
            else {
                continue;
            };
            queue.in_flight.remove(&(entry.until, delivery.seq));
            entry.attempt -= 1;
            entry.sight = Sight::Ready;
            queue.ready.insert(entry.user, delivery.seq);
        }
    }

    /// Whether a message is in progress, and by this delivery.
    pub(super) fn is_latest(&self, number: u16, delivery: Delivery) -> bool {
        let live = &self.queues[usize::from(number)].live;
        live.get(&delivery.seq).is_some_and(|entry| delivery.is_latest(entry))
    }

    pub(super) fn any_ready(&mut self, queue: u16) -> bool {
        !self.queue(queue).ready.is_empty()
    }

    pub(super) fn source(&mut self, seq: u64, place: Place) -> Source {
        match self.bodies.get(&seq) {
            Some(body) => Source::Memory(body.clone()),
            None => Source::Log(self.segment(place.segment).file.clone(), place),
        }
    }

    /// Removes a message; returns whether it was there. Dead letters, and messages whose burial has begun, do not
    /// count.
    pub(super) fn remove(&mut self, id: Id, life: u16) -> bool {
        let queue = self.queue(id.queue);
        let Some(entry) = queue.live.get(&id.seq) else { return false };
        if entry.life != life || entry.sight == Sight::Burying {
            return false;
        }
        let Entry { place, until, user, .. } = *entry;
        queue.live.remove(&id.seq);
        queue.in_flight.remove(&(until, id.seq));
        self.forget_body(id.seq);
        self.uncount(place, user);
        true
    }

    /// Hides a message until `until` if this delivery is its latest; returns whether it was.
    pub(super) fn extend(&mut self, id: Id, life: u16, attempt: u32, until: u64, now: u64) -> bool {
        let queue = self.queue(id.queue);
        let Some(entry) = queue.live.get_mut(&id.seq) else { return false };
        if entry.life != life || entry.attempt != attempt || entry.sight == Sight::Burying {
            return false;
        }
        queue.in_flight.remove(&(entry.until, id.seq));
        entry.until = until;
        entry.sight = Sight::InFlight;
        queue.in_flight.insert((until, id.seq));
        queue.expire(now);
        true
    }

    /// Hides a message until its burial is on disk.
    pub(super) fn begin_bury(&mut self, id: Id, life: u16) -> Burial {
        let queue = self.queue(id.queue);
        let Some(entry) = queue.live.get_mut(&id.seq).filter(|entry| entry.life == life) else {
            return Burial::Past;
        };
        if entry.sight == Sight::Burying {
            return Burial::OnItsWay;
        }
        queue.in_flight.remove(&(entry.until, id.seq));
        entry.sight = Sight::Burying;
        queue.burying += 1;
        Burial::Begun
    }

    /// Whether the message is there, and not dead.
    pub(super) fn is_live(&self, id: Id, life: u16) -> bool {
        self.queues[usize::from(id.queue)].live.get(&id.seq).is_some_and(|entry| entry.life == life)
    }

    /// There was no room for the burial: the message is as hidden as it was before.
    pub(super) fn stop_bury(&mut self, id: Id) {
        let queue = self.queue(id.queue);
        let Some(entry) = queue.live.get_mut(&id.seq).filter(|entry| entry.sight == Sight::Burying) else {
            return;
        };
        let until = entry.until;
        entry.sight = Sight::InFlight;
        queue.burying -= 1;
        queue.in_flight.insert((until, id.seq));
        self.next_expiry = self.next_expiry.min(until);
    }

    /// There was no room for the redrive: the letter stays.
    pub(super) fn stop_redrive(&mut self, id: Id) {
        let queue = self.queue(id.queue);
        if let Some(letter) = queue.dead.get_mut(&id.seq).filter(|letter| letter.leaving) {
            letter.leaving = false;
            queue.leaving -= 1;
        }
    }

    /// The burial is on disk.
    pub(super) fn bury(&mut self, id: Id, at: u64, reason: Box<str>) {
        let queue = self.queue(id.queue);
        let Some(entry) = queue.live.remove(&id.seq) else { return };
        if entry.sight == Sight::Burying {
            queue.burying -= 1;
        }
        queue.dead.insert(id.seq, Letter { entry, at, reason, leaving: false });
    }

    /// The oldest dead letters, and where their bodies can be read.
    pub(super) fn letters(&mut self, number: u16, limit: usize) -> Vec<(u64, Source, Letter)> {
        let staying = self.queue(number).dead.iter().filter(|(_, letter)| !letter.leaving).take(limit);
        let letters: Vec<_> = staying.map(|(seq, letter)| (*seq, letter.clone())).collect();
        let found =
            letters.into_iter().map(|(seq, letter)| (seq, self.source(seq, letter.entry.place), letter));
        found.collect()
    }

    /// Picks the oldest dead letters for a redrive.
    pub(super) fn begin_redrive(&mut self, number: u16, limit: usize) -> Vec<Id> {
        let queue = self.queue(number);
        let staying = queue.dead.iter_mut().filter(|(_, letter)| !letter.leaving).take(limit);
        let picked: Vec<_> = staying
            .map(|(seq, letter)| {
                letter.leaving = true;
                Id { queue: number, seq: *seq }
            })
            .collect();
        queue.leaving += picked.len() as u64;
        picked
    }

    /// The redrive is on disk.
    pub(super) fn redrive(&mut self, id: Id) {
        let queue = self.queue(id.queue);
        let Some(letter) = queue.dead.remove(&id.seq) else { return };
        if letter.leaving {
            queue.leaving -= 1;
        }
        let Entry { place, sent_at, user, life, .. } = letter.entry;
        queue.live.insert(id.seq, Entry::new(place, sent_at, user, life.wrapping_add(1), 0));
        queue.ready.insert(user, id.seq);
    }

    /// The message whose body is at `place`, and its letter if it is dead. `None` when the body there is no longer
    /// needed.
    pub(super) fn holder(&self, id: Id, place: Place) -> Option<(Entry, Option<&Letter>)> {
        let queue = &self.queues[usize::from(id.queue)];
        let letter = queue.dead.get(&id.seq);
        let entry = queue.live.get(&id.seq).copied().or(letter.map(|letter| letter.entry))?;
        (entry.place == place).then_some((entry, letter))
    }

    /// The body was copied.
    pub(super) fn moved(&mut self, id: Id, to: Place) {
        let queue = self.queue(id.queue);
        let dead = queue.dead.get_mut(&id.seq).map(|letter| &mut letter.entry);
        let entry = queue.live.get_mut(&id.seq).or(dead).expect("only what is there is copied");
        let (from, user) = (std::mem::replace(&mut entry.place, to), entry.user);
        // The new place first: who holds nothing is forgotten.
        self.count(to, user);
        self.uncount(from, user);
    }

    pub(super) fn expire(&mut self, now: u64, woken: &mut Vec<u16>) {
        if now < self.next_expiry {
            return;
        }
        self.next_expiry = u64::MAX;
        for (number, queue) in (0..).zip(&mut self.queues) {
            if queue.expire(now) {
                woken.push(number);
            }
            self.next_expiry =
                self.next_expiry.min(queue.in_flight.first().map_or(u64::MAX, |(until, _)| *until));
        }
    }

    /// Whether the oldest segment can be removed, or more than half of the log is no longer needed.
    ///
    /// The second condition keeps the log within twice the size of its live messages, and copies at most one byte for
    /// each byte that it frees.
    pub(super) fn untidy(&self, segment_bytes: u64) -> bool {
        let empty = self.segments.len() > 1 && self.segments[0].bodies == 0;
        empty || self.wasteful(segment_bytes)
    }

    pub(super) fn wasteful(&self, segment_bytes: u64) -> bool {
        self.segments.len() > 1 && self.size > 2 * self.live + 4 * segment_bytes
    }

    /// Counts a message, and for whom it is.
    pub(super) fn count(&mut self, place: Place, user: User) {
        let size = u64::from(place.len) + PUT_OVERHEAD;
        self.segment(place.segment).bodies += 1;
        self.live += size;
        self.users.add(user, size);
    }

    fn uncount(&mut self, place: Place, user: User) {
        let size = u64::from(place.len) + PUT_OVERHEAD;
        self.segment(place.segment).bodies -= 1;
        self.live -= size;
        self.users.subtract(user, size);
    }

    /// For whom a message is.
    pub(super) fn user(&self, entry: &Entry) -> Option<&Handle> {
        self.users.handle(entry.user)
    }

    /// Counts all messages of a log that has just been read, and makes them visible.
    pub(super) fn settle(&mut self) {
        let mut all = Vec::new();
        for queue in &mut self.queues {
            queue.show_all();
            let entries = queue.live.values().chain(queue.dead.values().map(|letter| &letter.entry));
            all.extend(entries.map(|entry| (entry.place, entry.user)));
        }
        for (place, user) in all {
            self.count(place, user);
        }
        self.users.tidy();
    }

    #[cfg(test)]
    pub(super) fn bodies_len(&self) -> usize {
        self.bodies_len
    }

    fn forget_body(&mut self, seq: u64) {
        if let Some(body) = self.bodies.remove(&seq) {
            self.bodies_len -= body.len();
        }
    }
}

impl Entry {
    pub(super) fn new(place: Place, sent_at: u64, user: User, life: u16, attempt: u32) -> Self {
        Self { place, attempt, sent_at, until: 0, user, life, sight: Sight::Ready }
    }
}

impl Queue {
    /// Makes every live message visible, oldest first.
    fn show_all(&mut self) {
        for (seq, entry) in &self.live {
            self.ready.insert(entry.user, *seq);
        }
    }

    pub(super) fn dead_count(&self) -> u64 {
        self.dead.len() as u64 - self.leaving
    }
}
