//! Whom users follow: from memory, from the cache, from the tables, in this order, by the account's version of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use soundoff_common::model::follows::{PREFIX, Row, following};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Query, Table};
use soundoff_common::protocol::Handle;

use crate::graph::{Follows, NEWEST_FOLLOWS};
use crate::reads::{AT_ONCE, few_at_once};
use crate::shelf::Slot;
use crate::timelines::{Timelines, millis};

const TTL: Duration = Duration::from_secs(24 * 3_600);
/// Rows of the first query: most lists need no second.
const FIRST_ROWS: usize = 200;
/// Rows of the queries after it.
const MORE_ROWS: usize = 1_000;

/// How many changes a list may be behind that is to catch up.
const MOST_BEHIND: u64 = 64;

/// A user whose follows are to be known, and the account's version of them.
pub(crate) type Wanted = (Handle, u64);

fn key(user: &Handle) -> String {
    format!("f:{user}")
}

/// The version and the handles, newest follow first, a NUL after each.
fn encode(version: u64, follows: &[Handle]) -> Bytes {
    let mut bytes = version.to_le_bytes().to_vec();
    for handle in follows {
        bytes.extend_from_slice(handle.as_str().as_bytes());
        bytes.push(0);
    }
    bytes.into()
}

/// The handles, if they are the list of that version.
fn decode(bytes: &[u8], version: u64) -> Option<Vec<Handle>> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*head) != version {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    text.split_terminator('\0').map(|handle| handle.parse().ok()).collect()
}

/// All follows with those of the newest that are not among them, if these are as many as there were changes.
fn with_added(all: &[Slot], newest: &[Slot], changes: usize) -> Option<Box<[Slot]>> {
    let added: Vec<Slot> = newest.iter().copied().filter(|slot| all.binary_search(slot).is_err()).collect();
    if added.len() != changes {
        return None;
    }
    let mut all = [all, &added].concat();
    all.sort_unstable();
    Some(all.into())
}

impl Timelines {
    /// Whom the users follow, in order, by their accounts of `at`, in milliseconds since 1970.
    ///
    /// Callers go by what this answers and not by the memory, which others change meanwhile.
    pub(crate) async fn know_follows(&self, users: &[Wanted], at: u64) -> Result<Vec<Arc<Follows>>, Failure> {
        let mut known = self.remembered(users, at);
        let unknown: Vec<usize> = (0..users.len()).filter(|user| known[*user].is_none()).collect();
        let caught_up =
            few_at_once(unknown.iter().map(|user| self.catch_up(&users[*user], at)).collect()).await?;
        for (user, caught_up) in unknown.into_iter().zip(caught_up) {
            known[user] = caught_up;
        }
        let unknown: Vec<usize> = (0..users.len()).filter(|user| known[*user].is_none()).collect();
        let keys: Vec<String> = unknown.iter().map(|user| key(&users[*user].0)).collect();
        let cached = if keys.is_empty() { Vec::new() } else { self.deps.cache.get_many(&keys).await? };
        let mut missed = Vec::new();
        for (user, cached) in unknown.into_iter().zip(cached) {
            match cached.and_then(|cached| decode(&cached.value, users[user].1)) {
                Some(follows) => known[user] = Some(self.remember(&users[user], &follows, at)),
                None => missed.push(user),
            }
        }
        self.looked_up("follows", users.len() - missed.len(), missed.len());
        // A few at a time, so that a batch of heavy followers is never in memory twice.
        for part in missed.chunks(AT_ONCE) {
            let reads = part.iter().map(|user| self.read_follows(&users[*user].0, usize::MAX));
            let lists = few_at_once(reads.collect()).await?;
            let mut entries = Vec::new();
            for (user, list) in part.iter().zip(lists) {
                known[*user] = Some(self.remember(&users[*user], &list, at));
                let (handle, version) = &users[*user];
                entries.push((key(handle), encode(*version, &list)));
            }
            entries.retain(|(_, value)| value.len() < 1 << 20);
            self.deps.cache.put_many(entries, TTL).await?;
        }
        Ok(known.into_iter().map(|follows| follows.expect("what was missed has been read")).collect())
    }

    /// What the memory has of that version.
    fn remembered(&self, users: &[Wanted], at: u64) -> Vec<Option<Arc<Follows>>> {
        let known = {
            let graph = self.graph();
            let known = |(user, version): &Wanted| {
                let slot = graph.known(user)?;
                let follows = graph.follows(slot).filter(|f| f.version == *version && f.all.is_some())?;
                Some((slot, follows.clone()))
            };
            let known: Vec<Option<(Slot, Arc<Follows>)>> = users.iter().map(known).collect();
            let oldest = at.saturating_sub(millis(self.config.hints_age) / 2);
            let is_old = known.iter().flatten().any(|(slot, _)| graph.follows_checked_at(*slot) < oldest);
            if !is_old {
                return known.into_iter().map(|known| Some(known?.1)).collect();
            }
            known
        };
        // That they have been looked at is written down now and then only: readers need not wait for each other.
        let mut graph = self.graph_mut();
        known.iter().flatten().for_each(|(slot, _)| graph.checked_follows(*slot, at));
        known.into_iter().map(|known| Some(known?.1)).collect()
    }

    fn remember(&self, (user, version): &Wanted, follows: &[Handle], at: u64) -> Arc<Follows> {
        self.put_follows(user, Follows::whole(*version, self.slots(follows)), at)
    }

    fn put_follows(&self, user: &Handle, follows: Follows, at: u64) -> Arc<Follows> {
        let follows = Arc::new(follows);
        let mut graph = self.graph_mut();
        let slot = graph.slot(user);
        graph.set_follows(slot, follows.clone(), at);
        follows
    }

    /// The numbers of people. Nearly all are known, so that nobody who only looks has to wait.
    fn slots(&self, people: &[Handle]) -> Vec<Slot> {
        let mut slots: Vec<Option<Slot>> = {
            let graph = self.graph();
            people.iter().map(|person| graph.known(person)).collect()
        };
        if slots.iter().any(Option::is_none) {
            let mut graph = self.graph_mut();
            for (slot, person) in slots.iter_mut().zip(people).filter(|(slot, _)| slot.is_none()) {
                *slot = Some(graph.slot(person));
            }
        }
        slots.into_iter().flatten().collect()
    }

    /// Has a list that the memory knows catch up with the account, by the newest rows alone; `None` when that cannot be told.
    ///
    /// Every change of the follows raises the account's version by one. When as many are new as there were changes, all of these were
    /// follows, and the list is the old one and them. Somebody unfollowed, or a follow that was long on its way, leaves fewer.
    async fn catch_up(&self, (user, version): &Wanted, at: u64) -> Result<Option<Arc<Follows>>, Failure> {
        let old = {
            let graph = self.graph();
            graph.known(user).and_then(|slot| graph.follows(slot)).cloned()
        };
        let Some(old) = old.filter(|old| (1..=MOST_BEHIND).contains(&version.saturating_sub(old.version)))
        else {
            return Ok(None);
        };
        let Some(all) = old.all.as_deref() else { return Ok(None) };
        let changes = usize::try_from(version - old.version).unwrap_or(usize::MAX);
        let newest = self.read_follows(user, changes + NEWEST_FOLLOWS).await?;
        let newest = self.slots(&newest);
        let Some(all) = with_added(all, &newest, changes) else { return Ok(None) };
        let newest = newest[..newest.len().min(NEWEST_FOLLOWS)].into();
        Ok(Some(self.put_follows(user, Follows { version: *version, newest, all: Some(all) }, at)))
    }

    /// Has the memory know the newest follows of people who lead to friends of friends.
    pub(crate) async fn know_friends(&self, friends: &[Slot], now: u64) -> Result<(), Failure> {
        let unknown: Vec<(Slot, Handle)> = {
            let graph = self.graph();
            let age = millis(self.config.hints_age);
            let fresh = |slot: Slot| {
                graph.follows(slot).is_some() && now.saturating_sub(graph.follows_checked_at(slot)) < age
            };
            let stale = friends.iter().filter(|slot| !fresh(**slot));
            stale.map(|slot| (*slot, graph.handle(*slot).clone())).collect()
        };
        self.looked_up("friends", friends.len() - unknown.len(), unknown.len());
        if unknown.is_empty() {
            return Ok(());
        }
        let handles: Vec<Handle> = unknown.iter().map(|(_, handle)| handle.clone()).collect();
        let versions = self.follows_versions(&handles).await?;
        let mut changed = Vec::new();
        {
            let mut graph = self.graph_mut();
            for ((slot, handle), version) in unknown.into_iter().zip(versions) {
                let version = version.unwrap_or(0);
                // Another may have read later ones meanwhile.
                if graph.follows(slot).is_some_and(|follows| follows.version >= version) {
                    graph.checked_follows(slot, now);
                } else {
                    changed.push((handle, slot, version));
                }
            }
        }
        let reads = changed.iter().map(|(handle, ..)| self.read_follows(handle, NEWEST_FOLLOWS));
        let lists = few_at_once(reads.collect()).await?;
        let mut graph = self.graph_mut();
        for ((_, slot, version), newest) in changed.into_iter().zip(lists) {
            let newest = newest.iter().map(|handle| graph.slot(handle)).collect();
            graph.set_follows(slot, Arc::new(Follows { version, newest, all: None }), now);
        }
        Ok(())
    }

    /// The newest follows of a user, at most `most`.
    async fn read_follows(&self, user: &Handle, most: usize) -> Result<Vec<Handle>, Failure> {
        let mut follows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = if after.is_none() { FIRST_ROWS } else { MORE_ROWS };
            let rows = rows.min(most - follows.len());
            let mut query = Query::prefix(Table::Relationships, following(user), PREFIX, rows).newest_first();
            if let Some(after) = after.take() {
                query = query.below(after);
            }
            let page = self.deps.tables.query(query).await?;
            let last = page.items.last().map(|(sk, _)| sk.clone());
            for (_, item) in page.items {
                follows.push(item.parse::<Row>()?.who);
            }
            if !page.more || follows.len() >= most {
                return Ok(follows);
            }
            after = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::with_added;

    #[test]
    fn a_list_catches_up_by_follows_alone() {
        let all = [2, 5, 9];
        assert_eq!(with_added(&all, &[7, 9, 2], 1).as_deref(), Some(&[2, 5, 7, 9][..]));
        assert_eq!(with_added(&all, &[1, 7, 9], 2).as_deref(), Some(&[1, 2, 5, 7, 9][..]));
        assert_eq!(with_added(&all, &[9, 5, 2], 1), None, "somebody was unfollowed");
        assert_eq!(
            with_added(&all, &[7, 9, 2], 2),
            None,
            "followed and unfollowed, or two unfollowed and followed"
        );
        assert_eq!(with_added(&all, &[1, 7, 9], 1), None, "one more came after the account was read");
    }
}
