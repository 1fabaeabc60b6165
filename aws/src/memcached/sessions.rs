//! [`Sessions`] on memcached: one entry for each handle, with all its registrations, changed by compare-and-set. There
//! are two copies of it, on the handle's two best nodes: writes go to both, reads merge both. A deployment with one
//! node has one copy.
//!
//! A node that is away holds no registrations: what is put meanwhile is on the other one. When it comes back empty, the
//! edges fill it again within a third of a registration's time to live. When it comes back with what it had, it may
//! show sockets that are closed. So the process that removed one of them meanwhile deletes the entry there, before it asks
//! the node for anything else. For other processes this does no harm until then: an edge refuses a delivery to another
//! boot or to a closed socket, and the registrations expire.
//!
//! Processes that know of one node more or less than others share at least one of a handle's two nodes with them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use memcache::exp::{Delete, Get, GetResult, Meta, MutationResult, Set};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::protocol::{Handle, millis, now_ms};

use super::cache::whole_seconds;
use super::cluster::Memcached;

/// How many races for one handle's entry may be lost in a row.
const TRIES: u32 = 64;
/// The most registrations of one handle; of more, those that expire first are discarded.
const MAX_REGISTRATIONS: usize = 4_096;

/// A stored registration, and when it expires (milliseconds since 1970).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    until: u64,
    #[serde(flatten)]
    registration: Registration,
}

/// [`Sessions`] on memcached.
#[derive(Debug, Clone)]
pub struct MemcachedSessions {
    memcached: Memcached,
}

impl MemcachedSessions {
    /// The Session Cache on these nodes, which may hold other data too.
    #[must_use]
    pub fn new(memcached: Memcached) -> Self {
        Self { memcached }
    }

    /// A copy of the handles' entries; `None` where the node did not answer.
    async fn read<'a>(
        &self,
        copy: usize,
        handles: impl Iterator<Item = &'a Handle> + Send,
    ) -> Vec<Option<Entry>> {
        let gets = handles.map(|handle| Get::new(key(handle)).meta(Meta::NONE.cas())).collect();
        let now = now_ms();
        let found = self.memcached.run::<Get>(copy, gets).await;
        found.into_iter().map(|found| found.map(|found| Entry::of(found, now))).collect()
    }

    /// Puts into one copy.
    async fn put(&self, copy: usize, mut open: Vec<Own<'_>>, ttl: Duration) -> Result<(), Unavailable> {
        let ttl = millis(ttl);
        for attempt in 0..TRIES {
            let found = self.read(copy, open.iter().map(|(handle, _)| *handle)).await;
            let now = now_ms();
            let until = now.saturating_add(ttl);
            let (mut tried, mut sets) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
            for ((handle, mine), found) in open.into_iter().zip(found) {
                let Some(mut entry) = found else { continue };
                entry.kept.retain(|kept| !mine.contains(&&kept.registration));
                entry.kept.extend(
                    mine.iter().map(|registration| Kept { until, registration: (*registration).clone() }),
                );
                sets.push(entry.set(handle, now)?);
                tried.push((handle, mine));
            }
            let mut done = self.memcached.run(copy, sets).await.into_iter();
            // A write without an answer is lost; the edge puts it again after a third of its time to live.
            tried.retain(|_| done.next().flatten().is_some_and(|done| !done.applied()));
            if tried.is_empty() {
                return Ok(());
            }
            open = tried;
            step_back(attempt).await;
        }
        Err(Unavailable(format!("memcached: lost {TRIES} races for {} handles' sessions", open.len())))
    }

    /// Removes from one copy; whether it was there, or `None` when the node did not answer.
    async fn remove_copy(
        &self,
        copy: usize,
        handle: &Handle,
        registration: &Registration,
    ) -> Result<Option<bool>, Unavailable> {
        for attempt in 0..TRIES {
            let found = self.read(copy, std::iter::once(handle)).await.pop().flatten();
            let Some(mut entry) = found else { return Ok(None) };
            let before = entry.kept.len();
            entry.kept.retain(|kept| kept.registration != *registration);
            let Some(cas) = entry.cas.filter(|_| entry.kept.len() < before) else { return Ok(Some(false)) };
            let done: Option<MutationResult> = if entry.kept.is_empty() {
                let delete = Delete::new(key(handle)).compare_cas(cas);
                self.memcached.run(copy, vec![delete]).await.pop().flatten()
            } else {
                let set = entry.set(handle, now_ms())?;
                self.memcached.run(copy, vec![set]).await.pop().flatten()
            };
            match done {
                Some(done) if done.applied() => return Ok(Some(true)),
                Some(_) => step_back(attempt).await,
                None => return Ok(None),
            }
        }
        Err(Unavailable(format!("memcached: lost {TRIES} races for a handle's sessions")))
    }

    fn copies(&self) -> std::ops::Range<usize> {
        0..self.memcached.copies()
    }
}

/// A handle and those of its registrations that are put.
type Own<'a> = (&'a Handle, Vec<&'a Registration>);

fn key(handle: &Handle) -> String {
    format!("s:{handle}")
}

/// The registrations of a handle that have not expired.
struct Entry {
    kept: Vec<Kept>,
    /// The CAS number of the stored value, if there is one, also an expired or unreadable one.
    cas: Option<u64>,
}

impl Entry {
    fn of(found: GetResult, now: u64) -> Self {
        let value = found.value.unwrap_or_default();
        let mut kept: Vec<Kept> = serde_json::from_slice(&value).unwrap_or_default();
        kept.retain(|kept| kept.until > now);
        Self { kept, cas: found.item.cas }
    }

    /// The write of this entry, on condition that the stored one is as it was read.
    fn set(mut self, handle: &Handle, now: u64) -> Result<Set, Unavailable> {
        self.kept.sort_by_key(|kept| std::cmp::Reverse(kept.until));
        self.kept.truncate(MAX_REGISTRATIONS);
        let longest = self.kept.first().map_or(0, |kept| kept.until.saturating_sub(now));
        let value = serde_json::to_vec(&self.kept)
            .map_err(|error| Unavailable(format!("memcached: a registration cannot be written: {error}")))?;
        let set = Set::new(key(handle), value).ttl(whole_seconds(Duration::from_millis(longest)));
        Ok(match self.cas {
            None => set.add(),
            Some(cas) => set.compare_cas(cas),
        })
    }
}

/// Waits so that the other participants of a race can finish.
async fn step_back(attempt: u32) {
    let micros = rand::rng().random_range(0..200_u64 << attempt.min(6));
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

#[async_trait]
impl Sessions for MemcachedSessions {
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable> {
        let mut by_handle: HashMap<&Handle, Vec<&Registration>> = HashMap::with_capacity(entries.len());
        for (handle, registration) in entries {
            by_handle.entry(handle).or_default().push(registration);
        }
        let open: Vec<Own<'_>> = by_handle.into_iter().collect();
        join_all(self.copies().map(|copy| self.put(copy, open.clone(), ttl))).await.into_iter().collect()
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        let mut lists: Vec<Vec<Registration>> = handles.iter().map(|_| Vec::new()).collect();
        for copy in join_all(self.copies().map(|copy| self.read(copy, handles.iter()))).await {
            for (list, entry) in lists.iter_mut().zip(copy) {
                // Most handles have one registration or two, so a look through the list is the fastest.
                for kept in entry.map_or_else(Vec::new, |entry| entry.kept) {
                    if !list.contains(&kept.registration) {
                        list.push(kept.registration);
                    }
                }
            }
        }
        Ok(lists)
    }

    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        let removed = join_all(self.copies().map(|copy| self.remove_copy(copy, handle, registration))).await;
        let removed: Vec<Option<bool>> = removed.into_iter().collect::<Result<_, _>>()?;
        // What a node without an answer still has is deleted there, unless it is the only one that has anything.
        if removed.iter().any(Option::is_some) {
            for copy in self.copies().filter(|copy| removed[*copy].is_none()) {
                self.memcached.distrust(copy, key(handle));
            }
        }
        Ok(removed.into_iter().flatten().any(|was_there| was_there))
    }
}
