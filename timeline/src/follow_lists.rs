//! Whom users follow and which groups they are in: from memory, from the cache, from the tables, in this order, by the
//! account's version of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use soundoff_common::model::follows::{PREFIX, Row, following};
use soundoff_common::model::groups::{self, Joined, MemberState};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::tables::{Item, Query, Table, Tables};
use soundoff_common::protocol::Handle;
use soundoff_common::telemetry::Metrics;

use crate::accounts::{Reads, what_they_read};
use crate::graph::{Follows, NEWEST_FOLLOWS};
use crate::measure::looked_up;
use crate::memory::Memory;
use crate::name::Name;
use crate::reads::{AT_ONCE, few_at_once};
use crate::shelf::Slot;

const TTL: Duration = Duration::from_secs(24 * 3_600);
/// Rows of the first query: most lists need no second one.
const FIRST_ROWS: usize = 200;
/// Rows of each later query.
const MORE_ROWS: usize = 1_000;

/// How many changes a list may be behind to catch up.
const MOST_BEHIND: u64 = 64;

/// A user whose follows are needed, and what the account says of them.
pub(crate) type Wanted = (Handle, Reads);

fn key(user: &Handle) -> String {
    format!("f:{user}")
}

/// The version and the handles, newest follow first, then the groups, a NUL after each.
fn encode(version: u64, follows: &[Name]) -> Bytes {
    let mut bytes = version.to_le_bytes().to_vec();
    for name in follows {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.push(0);
    }
    bytes.into()
}

/// The names, if the list is of that version.
fn decode(bytes: &[u8], version: u64) -> Option<Vec<Name>> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*head) != version {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    text.split_terminator('\0').map(Name::parse).collect()
}

/// All follows, and those of `newest` that are not among them, if exactly `changes` are not.
fn with_added(all: &[Slot], newest: &[Slot], changes: usize) -> Option<Box<[Slot]>> {
    let added: Vec<Slot> = newest.iter().copied().filter(|slot| all.binary_search(slot).is_err()).collect();
    if added.len() != changes {
        return None;
    }
    let mut all = [all, &added].concat();
    all.sort_unstable();
    Some(all.into())
}

/// Reads follow lists into the memory.
#[derive(Clone)]
pub(crate) struct FollowLists {
    memory: Arc<Memory>,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    metrics: Metrics,
}

impl FollowLists {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> Self {
        let World { tables, cache, metrics, .. } = world.clone();
        Self { memory: memory.clone(), tables, cache, metrics }
    }

    /// Which of some authors the user follows, and in which of some groups they are, by the account as of `now`.
    pub(crate) async fn read_by<'a>(
        &self,
        user: &Handle,
        reads: Reads,
        names: impl Iterator<Item = &'a Name>,
        now: u64,
    ) -> Result<HashSet<Name>, Failure> {
        let _numbers_stay = self.memory.keep_numbers().await;
        let follows = self.know(&[(user.clone(), reads)], now).await?;
        let Some(follows) = follows.first() else { return Ok(HashSet::new()) };
        let all = follows.all.as_deref().unwrap_or_default();
        let graph = self.memory.graph();
        let is_read = |name: &&Name| {
            let among = if name.user().is_some() { all } else { &follows.groups };
            graph.known_as(name).is_some_and(|slot| among.binary_search(&slot).is_ok())
        };
        Ok(names.filter(is_read).cloned().collect())
    }

    /// Whom the users follow, in order, by their accounts as of `at`, in milliseconds since 1970. The caller keeps the
    /// numbers.
    ///
    /// Callers use the result and not the memory, which others change meanwhile.
    pub(crate) async fn know(&self, users: &[Wanted], at: u64) -> Result<Vec<Arc<Follows>>, Failure> {
        let mut known = self.remembered(users, at);
        let unknown: Vec<usize> = (0..users.len()).filter(|user| known[*user].is_none()).collect();
        let caught_up =
            few_at_once(unknown.iter().map(|user| self.catch_up(&users[*user], at)).collect()).await?;
        for (user, caught_up) in unknown.into_iter().zip(caught_up) {
            known[user] = caught_up;
        }
        let unknown: Vec<usize> = (0..users.len()).filter(|user| known[*user].is_none()).collect();
        let keys: Vec<String> = unknown.iter().map(|user| key(&users[*user].0)).collect();
        let cached = if keys.is_empty() { Vec::new() } else { self.cache.get_many(&keys).await? };
        let mut missed = Vec::new();
        for (user, cached) in unknown.into_iter().zip(cached) {
            match cached.and_then(|cached| decode(&cached.value, users[user].1.version)) {
                Some(follows) => known[user] = Some(self.remember(&users[user], &follows, at)),
                None => missed.push(user),
            }
        }
        looked_up(&self.metrics, "follows", users.len() - missed.len(), missed.len());
        // A few at a time, so that a batch of heavy followers is never in memory twice.
        for part in missed.chunks(AT_ONCE) {
            let reads = part.iter().map(|user| self.read_all(&users[*user]));
            let lists = few_at_once(reads.collect()).await?;
            let mut entries = Vec::new();
            for (user, list) in part.iter().zip(lists) {
                known[*user] = Some(self.remember(&users[*user], &list, at));
                let (handle, Reads { version, .. }) = &users[*user];
                entries.push((key(handle), encode(*version, &list)));
            }
            entries.retain(|(_, value)| value.len() < 1 << 20);
            self.cache.put_many(entries, TTL).await?;
        }
        Ok(known.into_iter().map(|follows| follows.expect("what was missed has been read")).collect())
    }

    /// What the memory has, where it is of the wanted version.
    fn remembered(&self, users: &[Wanted], at: u64) -> Vec<Option<Arc<Follows>>> {
        let known = {
            let graph = self.memory.graph();
            let known = |(user, reads): &Wanted| {
                let slot = graph.known(user)?;
                let follows =
                    graph.follows(slot).filter(|f| f.version == reads.version && f.all.is_some())?;
                Some((slot, follows.clone()))
            };
            let known: Vec<Option<(Slot, Arc<Follows>)>> = users.iter().map(known).collect();
            let oldest = at.saturating_sub(self.memory.hints_age_ms / 2);
            let is_old = known.iter().flatten().any(|(slot, _)| graph.follows_checked_at(*slot) < oldest);
            if !is_old {
                return known.into_iter().map(|known| Some(known?.1)).collect();
            }
            known
        };
        // The time of the check is written only now and then, so that readers need not wait for each other.
        let mut graph = self.memory.graph_mut();
        known.iter().flatten().for_each(|(slot, _)| graph.checked_follows(*slot, at));
        known.into_iter().map(|known| Some(known?.1)).collect()
    }

    fn remember(&self, (user, reads): &Wanted, names: &[Name], at: u64) -> Arc<Follows> {
        let (follows, groups) = names.split_at(names.partition_point(|name| name.user().is_some()));
        let follows = Follows::whole(reads.version, self.slots(follows), self.slots(groups));
        self.put_follows(user, follows, at)
    }

    fn put_follows(&self, user: &Handle, follows: Follows, at: u64) -> Arc<Follows> {
        let follows = Arc::new(follows);
        let mut graph = self.memory.graph_mut();
        let slot = graph.slot(user);
        graph.set_follows(slot, follows.clone(), at);
        follows
    }

    /// The numbers of people and groups. Nearly all are known, and looking them up needs no write lock.
    fn slots(&self, people: &[Name]) -> Vec<Slot> {
        let mut slots: Vec<Option<Slot>> = {
            let graph = self.memory.graph();
            people.iter().map(|person| graph.known_as(person)).collect()
        };
        if slots.iter().any(Option::is_none) {
            let mut graph = self.memory.graph_mut();
            for (slot, person) in slots.iter_mut().zip(people).filter(|(slot, _)| slot.is_none()) {
                *slot = Some(graph.slot_of(person));
            }
        }
        slots.into_iter().flatten().collect()
    }

    /// Brings a list in the memory up to the account's version by reading only the newest rows; `None` when they do not
    /// suffice.
    ///
    /// Every change of the follows raises the account's version by one. When the number of new rows equals the number
    /// of changes, all changes were follows, and the list is the old one and the new rows. An unfollow, or a follow
    /// that arrived late, leaves fewer.
    /// A group that they have joined or left leaves fewer, too.
    async fn catch_up(&self, (user, reads): &Wanted, at: u64) -> Result<Option<Arc<Follows>>, Failure> {
        let old = {
            let graph = self.memory.graph();
            graph.known(user).and_then(|slot| graph.follows(slot)).cloned()
        };
        let version = reads.version;
        let Some(old) = old.filter(|old| (1..=MOST_BEHIND).contains(&version.saturating_sub(old.version)))
        else {
            return Ok(None);
        };
        let Some(all) = old.all.as_deref() else { return Ok(None) };
        let changes = usize::try_from(version - old.version).unwrap_or(usize::MAX);
        let newest = self.read_follows(user, changes + NEWEST_FOLLOWS).await?;
        let newest = self.slots(&newest);
        let groups = old.groups.clone();
        let Some(all) = with_added(all, &newest, changes) else { return Ok(None) };
        let newest = newest[..newest.len().min(NEWEST_FOLLOWS)].into();
        Ok(Some(self.put_follows(user, Follows { version, newest, all: Some(all), groups }, at)))
    }

    /// Brings the newest follows of people into the memory: they lead to friends of friends.
    pub(crate) async fn know_newest(&self, friends: &[Slot], now: u64) -> Result<(), Failure> {
        let unknown: Vec<(Slot, Handle)> = {
            let graph = self.memory.graph();
            let age = self.memory.hints_age_ms;
            let fresh = |slot: Slot| {
                graph.follows(slot).is_some() && now.saturating_sub(graph.follows_checked_at(slot)) < age
            };
            let stale = friends.iter().filter(|slot| !fresh(**slot));
            stale.filter_map(|slot| Some((*slot, graph.name(*slot).user()?.clone()))).collect()
        };
        looked_up(&self.metrics, "friends", friends.len() - unknown.len(), unknown.len());
        if unknown.is_empty() {
            return Ok(());
        }
        let handles: Vec<Handle> = unknown.iter().map(|(_, handle)| handle.clone()).collect();
        let versions = what_they_read(&*self.tables, &handles).await?;
        let mut changed = Vec::new();
        {
            let mut graph = self.memory.graph_mut();
            for ((slot, handle), reads) in unknown.into_iter().zip(versions) {
                let version = reads.unwrap_or_default().version;
                // Another task may have read later ones meanwhile.
                if graph.follows(slot).is_some_and(|follows| follows.version >= version) {
                    graph.checked_follows(slot, now);
                } else {
                    changed.push((handle, slot, version));
                }
            }
        }
        let reads = changed.iter().map(|(handle, ..)| self.read_follows(handle, NEWEST_FOLLOWS));
        let lists = few_at_once(reads.collect()).await?;
        let mut graph = self.memory.graph_mut();
        for ((_, slot, version), newest) in changed.into_iter().zip(lists) {
            let newest = newest.iter().map(|name| graph.slot_of(name)).collect();
            let follows = Follows { version, newest, all: None, groups: Box::default() };
            graph.set_follows(slot, Arc::new(follows), now);
        }
        Ok(())
    }

    /// All follows of a user, newest first, and then the groups that they are in.
    async fn read_all(&self, (user, reads): &Wanted) -> Result<Vec<Name>, Failure> {
        let mut names = self.read_follows(user, usize::MAX).await?;
        if reads.has_groups {
            let rows = self.read_rows(groups::of_user(user), usize::MAX).await?;
            for row in rows {
                let Joined { group, state } = row.parse()?;
                names.extend((state == MemberState::In).then(|| Name::group(group)));
            }
        }
        Ok(names)
    }

    /// The newest follows of a user, at most `most`.
    async fn read_follows(&self, user: &Handle, most: usize) -> Result<Vec<Name>, Failure> {
        let rows = self.read_rows(following(user), most).await?;
        rows.into_iter().map(|row| Ok(Name::User(row.parse::<Row>()?.who))).collect()
    }

    /// The newest rows of a list, at most `most`.
    async fn read_rows(&self, partition: String, most: usize) -> Result<Vec<Item>, Failure> {
        let mut rows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let limit = if after.is_none() { FIRST_ROWS } else { MORE_ROWS };
            let limit = limit.min(most - rows.len());
            let mut query =
                Query::prefix(Table::Relationships, partition.clone(), PREFIX, limit).newest_first();
            if let Some(after) = after.take() {
                query = query.below(after);
            }
            let page = self.tables.query(query).await?;
            let last = page.items.last().map(|(sk, _)| sk.clone());
            rows.extend(page.items.into_iter().map(|(_, item)| item));
            if !page.more || rows.len() >= most {
                return Ok(rows);
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
