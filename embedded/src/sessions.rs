//! The Session Cache inside one process, for a single machine on which edge and workers share it.
//!
//! We measure the memory per idle socket. So an entry holds a number for its edge and boot, which repeat for every
//! socket of an edge, and a user with one socket needs no list.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::lock::{lock, read, write};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::sessions::{DeviceMark, Registration, Sessions};
use soundoff_common::protocol::Handle;
use tokio::time::Instant;

/// Few enough to cost nothing when empty, and enough that a sweep or a growing map delays few callers.
const SHARDS: usize = 256;

/// The unit of deadlines: 32 bits last 13 years, and an entry expires at most one tick early.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    connection: u64,
    device: Option<DeviceMark>,
    origin: u32,
    deadline: u32,
}

impl Entry {
    fn is_socket(&self, origin: u32, connection: u64) -> bool {
        self.origin == origin && self.connection == connection
    }
}

/// One user's sockets: nearly always one.
#[derive(Debug)]
enum Slot {
    One(Entry),
    Many(Vec<Entry>),
}

impl Slot {
    fn entries(&self) -> &[Entry] {
        match self {
            Slot::One(entry) => std::slice::from_ref(entry),
            Slot::Many(entries) => entries,
        }
    }
}

/// An edge process. `live` counts its entries, so that an edge without any can be forgotten.
#[derive(Debug)]
struct Origin {
    edge: Arc<str>,
    boot: Arc<str>,
    live: AtomicUsize,
}

#[derive(Debug, Default)]
struct Origins(Vec<Origin>);

impl Origins {
    /// There are few edges, and a batch of registrations names the same one: a search in a list is faster than a map.
    fn find(&self, registration: &Registration) -> Option<u32> {
        let same = |o: &Origin| o.edge == registration.edge && o.boot == registration.boot;
        self.0.iter().position(same).map(|place| u32::try_from(place).expect("far fewer edges"))
    }

    fn add(&mut self, registration: &Registration) {
        let origin = Origin {
            edge: registration.edge.clone(),
            boot: registration.boot.clone(),
            live: AtomicUsize::new(0),
        };
        match self.0.iter().position(|o| o.live.load(Ordering::Relaxed) == 0) {
            Some(free) => self.0[free] = origin,
            None => self.0.push(origin),
        }
    }

    fn live(&self, origin: u32) -> &AtomicUsize {
        &self.0[origin as usize].live
    }
}

type Shard = HashMap<Handle, Slot>;

/// [`Sessions`] in this process's memory. A restart empties it, and ends the edges' sockets too.
#[derive(Debug)]
pub struct LocalSessions {
    started: Instant,
    hasher: RandomState,
    /// Lock order: origins before a shard. A put holds the read lock throughout, so that no number is given to another
    /// edge between its look-up and its use.
    origins: RwLock<Origins>,
    shards: Vec<Mutex<Shard>>,
    next_sweep: AtomicUsize,
}

impl Default for LocalSessions {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalSessions {
    /// An empty Session Cache.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            hasher: RandomState::new(),
            origins: RwLock::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// How many registrations it holds, with expired ones that are not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.origins().0.iter().map(|o| o.live.load(Ordering::Relaxed)).sum()
    }

    /// Whether there is no registration at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes expired registrations from one part of the cache, and from the next part at the next call. A full round
    /// takes
    /// [`LocalSessions::SWEEPS_PER_ROUND`] calls. Returns how many it removed.
    pub fn sweep(&self) -> usize {
        let place = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let now = self.tick(Instant::now());
        let origins = self.origins();
        let mut shard = lock(&self.shards[place]);
        let mut removed = 0;
        shard.retain(|_, slot| {
            let expired = |e: &Entry| e.deadline <= now;
            for entry in slot.entries().iter().filter(|e| expired(e)) {
                origins.live(entry.origin).fetch_sub(1, Ordering::Relaxed);
                removed += 1;
            }
            if let Slot::Many(entries) = slot {
                entries.retain(|e| !expired(e));
                *slot = match entries.as_slice() {
                    [] => return false,
                    [one] => Slot::One(*one),
                    _ => return true,
                };
                return true;
            }
            !slot.entries().iter().any(expired)
        });
        // Otherwise the map would keep its peak size forever.
        if shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        removed
    }

    /// How many sweeps go once through the whole cache.
    pub const SWEEPS_PER_ROUND: usize = SHARDS;

    fn tick(&self, at: Instant) -> u32 {
        let ticks = at.duration_since(self.started).as_millis() / TICK.as_millis();
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn origins(&self) -> RwLockReadGuard<'_, Origins> {
        read(&self.origins)
    }

    fn shard(&self, handle: &Handle) -> MutexGuard<'_, Shard> {
        // The map hashes with a key of its own: with a modulus of the same hash its buckets would fill unevenly.
        let place = self.hasher.hash_one(handle.as_str()) % SHARDS as u64;
        lock(&self.shards[usize::try_from(place).expect("below SHARDS")])
    }

    /// The origins, with the one of the registration; adds that if it is missing.
    fn origins_with(&self, registration: &Registration) -> (RwLockReadGuard<'_, Origins>, u32) {
        loop {
            let origins = self.origins();
            if let Some(origin) = origins.find(registration) {
                return (origins, origin);
            }
            drop(origins);
            let mut origins = write(&self.origins);
            if origins.find(registration).is_none() {
                origins.add(registration);
            }
        }
    }
}

/// Adds or renews a socket; returns whether it added one.
fn put(shard: &mut Shard, handle: &Handle, new: Entry) -> bool {
    let Some(slot) = shard.get_mut(handle) else {
        shard.insert(handle.clone(), Slot::One(new));
        return true;
    };
    match slot {
        Slot::One(entry) if entry.is_socket(new.origin, new.connection) => *entry = new,
        Slot::One(entry) => {
            *slot = Slot::Many(vec![*entry, new]);
            return true;
        }
        Slot::Many(entries) => match entries.iter_mut().find(|e| e.is_socket(new.origin, new.connection)) {
            Some(entry) => *entry = new,
            None => {
                entries.push(new);
                return true;
            }
        },
    }
    false
}

/// Removes one socket and returns it.
fn take(shard: &mut Shard, handle: &Handle, origin: u32, connection: u64) -> Option<Entry> {
    let slot = shard.get_mut(handle)?;
    let place = slot.entries().iter().position(|e| e.is_socket(origin, connection))?;
    let taken = slot.entries()[place];
    let rest = match slot {
        Slot::One(_) => None,
        Slot::Many(entries) => {
            entries.swap_remove(place);
            match entries.as_slice() {
                [] => None,
                [one] => Some(Slot::One(*one)),
                _ => return Some(taken),
            }
        }
    };
    match rest {
        Some(rest) => *slot = rest,
        None => drop(shard.remove(handle)),
    }
    Some(taken)
}

#[async_trait]
impl Sessions for LocalSessions {
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable> {
        let now = Instant::now();
        // A ttl that the clock cannot hold never ends.
        let deadline = now.checked_add(ttl).map_or(u32::MAX, |at| self.tick(at));
        for (handle, registration) in entries {
            let (origins, origin) = self.origins_with(registration);
            let Registration { connection, device, .. } = *registration;
            let entry = Entry { connection, device, origin, deadline };
            if put(&mut self.shard(handle), handle, entry) {
                origins.live(origin).fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        let now = self.tick(Instant::now());
        let origins = self.origins();
        let registrations = |handle| {
            let shard = self.shard(handle);
            let entries = shard.get(handle).map_or(&[][..], Slot::entries);
            let live = entries.iter().filter(|e| e.deadline > now);
            live.map(|e| {
                let Origin { edge, boot, .. } = &origins.0[e.origin as usize];
                Registration {
                    edge: edge.clone(),
                    boot: boot.clone(),
                    connection: e.connection,
                    device: e.device,
                }
            })
            .collect()
        };
        Ok(handles.iter().map(registrations).collect())
    }

    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        let origins = self.origins();
        let Some(origin) = origins.find(registration) else { return Ok(false) };
        let Some(entry) = take(&mut self.shard(handle), handle, origin, registration.connection) else {
            return Ok(false);
        };
        origins.live(origin).fetch_sub(1, Ordering::Relaxed);
        // An expired one counts as removed before; it was only not swept yet.
        Ok(entry.deadline > self.tick(Instant::now()))
    }
}
