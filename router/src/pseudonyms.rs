//! The pseudonyms of users: made at the first message of each, and remembered for a while.

use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashTable};
use soundoff_common::lock::lock;
use soundoff_common::model::pseudonyms;
use soundoff_common::ports::tables::{Item, TableError, Tables};
use soundoff_common::protocol::Handle;

/// How long a pseudonym is remembered at most: when an account has been erased, and its handle is another one's, the
/// new owner has the old pseudonym no longer than this.
const LIFE: Duration = Duration::from_secs(3600);
/// How many pseudonyms are remembered at most: some 25 MB.
const MOST: usize = 200_000;

/// The pseudonyms of all users.
pub(crate) struct Pseudonyms {
    tables: Arc<dyn Tables>,
    known: Mutex<Known>,
    /// Seeded at random, so nobody can choose handles that collide.
    hashes: DefaultHashBuilder,
}

/// Two generations: the older one goes when half of the life is over, or the younger one is full.
struct Known {
    young: HashTable<(Handle, Arc<str>)>,
    old: HashTable<(Handle, Arc<str>)>,
    /// Since when the younger one is.
    since: Instant,
    /// How many a generation holds.
    most: usize,
}

impl Known {
    fn new(most: usize) -> Self {
        Self { young: HashTable::new(), old: HashTable::new(), since: Instant::now(), most }
    }

    /// Forgets what is too old.
    fn age(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= LIFE {
            self.young.clear();
            self.old.clear();
            self.since = now;
        } else if passed >= LIFE / 2 {
            self.old = std::mem::take(&mut self.young);
            // Not `now`: what is old was young since then at the most.
            self.since += LIFE / 2;
        } else if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
    }

    fn find(&self, hash: u64, user: &Handle) -> Option<&Arc<str>> {
        let is = |entry: &(Handle, Arc<str>)| entry.0 == *user;
        let found = self.young.find(hash, is).or_else(|| self.old.find(hash, is));
        found.map(|(_, pseudonym)| pseudonym)
    }
}

impl Pseudonyms {
    pub(crate) fn new(tables: Arc<dyn Tables>) -> Self {
        Self { tables, known: Mutex::new(Known::new(MOST / 2)), hashes: DefaultHashBuilder::default() }
    }

    /// Those of some users that are remembered.
    pub(crate) fn remembered<'a>(&self, users: impl Iterator<Item = &'a Handle>) -> Vec<Option<Arc<str>>> {
        let mut known = lock(&self.known);
        known.age(Instant::now());
        users.map(|user| known.find(self.hashes.hash_one(user), user).cloned()).collect()
    }

    /// The pseudonym of a user for whom this item was read. Without one they get one now.
    pub(crate) async fn of(&self, user: &Handle, found: Option<Item>) -> Result<Arc<str>, TableError> {
        let pseudonym = match found {
            Some(item) => pseudonyms::parse(&item)?,
            None => self.give(user).await?,
        };
        let mut known = lock(&self.known);
        let hash = self.hashes.hash_one(user);
        if known.find(hash, user).is_none() {
            let entry = (user.clone(), pseudonym.clone());
            known.young.insert_unique(hash, entry, |(user, _)| self.hashes.hash_one(user));
        }
        Ok(pseudonym)
    }

    async fn give(&self, user: &Handle) -> Result<Arc<str>, TableError> {
        let fresh = pseudonyms::fresh();
        match self.tables.write(vec![pseudonyms::give(user, &fresh)]).await {
            Ok(()) => Ok(fresh),
            // Another router was faster, and what it gave counts.
            Err(TableError::ConditionFailed { .. }) => {
                let (table, key) = pseudonyms::key(user);
                let given = self.tables.get(table, key).await?;
                pseudonyms::parse(&given.ok_or(TableError::Conflict)?)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::memory::MemoryTables;

    use super::*;

    #[tokio::test]
    async fn what_is_remembered_is_bounded_in_number_and_time() {
        let tables = Arc::new(MemoryTables::with_distinct_keys_only());
        let mut pseudonyms = Pseudonyms::new(tables.clone());
        pseudonyms.known = Mutex::new(Known::new(10));
        let user = |n: usize| format!("user{n}").parse::<Handle>().unwrap();
        let found = |n| pseudonyms.remembered(std::iter::once(&user(n))).remove(0);
        let mut given = Vec::new();
        for n in 0..95 {
            given.push(pseudonyms.of(&user(n), None).await.unwrap());
            assert_eq!(found(n).as_ref(), given.last());
        }
        let many = (0..95).filter(|n| found(*n).is_some()).count();
        assert!((10..=20).contains(&many), "{many}");
        let last = || lock(&pseudonyms.known).find(pseudonyms.hashes.hash_one(user(94)), &user(94)).is_some();
        let begun = lock(&pseudonyms.known).since;
        let moment = Duration::from_millis(1);
        lock(&pseudonyms.known).age(begun + LIFE - moment);
        assert!(last(), "its life is not over, however late somebody looks");
        lock(&pseudonyms.known).age(begun + LIFE);
        assert!(!last());
        // It was forgotten here only.
        let (table, key) = soundoff_common::model::pseudonyms::key(&user(94));
        let item = tables.get(table, key).await.unwrap();
        assert_eq!(pseudonyms.of(&user(94), item).await.as_ref(), Ok(&given[94]));
    }

    #[tokio::test]
    async fn who_is_idle_for_a_whole_life_is_forgotten_at_once() {
        let pseudonyms = Pseudonyms::new(Arc::new(MemoryTables::default()));
        let user: Handle = "anna".parse().unwrap();
        pseudonyms.of(&user, None).await.unwrap();
        let mut known = lock(&pseudonyms.known);
        let now = known.since + LIFE;
        known.age(now);
        assert!(known.find(pseudonyms.hashes.hash_one(&user), &user).is_none());
    }
}
