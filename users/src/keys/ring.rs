//! The keys that sign access tokens. They are stored sealed in the tables, so that every process has the same, and
//! renewed with an overlap.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use soundoff_common::lock::{read, write};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::protocol::{is_ahead, now_ms};
use tokio_util::sync::CancellationToken;

use crate::keys::seal::Seal;
use crate::keys::signing::SigningKey;

pub(crate) const HOLDING: Holding = Holding {
    kind: "token key",
    table: Table::Entities,
    pk: PARTITION,
    sk: "<created_at>#<kid>",
    attributes: &["created_at", "sealed"],
    of: Of::Nobody,
    summary: "A key of access tokens (PKCS #8, sealed).",
};
const PARTITION: &str = "token-keys";

/// Where a key is stored: in order of time, and two of one millisecond in two places.
fn stored_at(created_at: u64, id: &str) -> Key {
    key_of(format!("{created_at:015}#{id}"))
}

/// The key of a range key in the ring.
fn key_of(sk: String) -> Key {
    Key::new(PARTITION, sk)
}

/// How often a process without any key looks for the first.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often each process looks for keys that others made or removed.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a new key is published before it signs, in milliseconds: longer than any process or cache of the key set
/// takes to learn of it.
const LEAD_MS: u64 = 2 * 60 * 1000;
/// How long a key signs before the next is made, in milliseconds: 30 days.
const RENEW_MS: u64 = 30 * 24 * 3600 * 1000;
/// How long a key that no longer signs is still used to verify, in milliseconds: longer than any token is valid.
const OVERLAP_MS: u64 = 24 * 3600 * 1000;
/// How long caches may keep the key set, in seconds: less than half the lead.
pub(crate) const CACHED_S: u64 = 60;
/// The most keys that are read.
const MOST: usize = 100;

/// A key's item.
#[derive(Serialize, Deserialize)]
struct Stored {
    created_at: u64,
    /// PKCS #8, sealed for [`CONTEXT`].
    sealed: String,
}

const CONTEXT: &str = "token key";

/// The keys as of the last look.
#[derive(Default)]
struct Keys {
    /// Oldest first.
    all: Vec<Arc<SigningKey>>,
    by_id: HashMap<String, Arc<SigningKey>>,
}

/// All keys of the deployment.
pub struct Ring {
    tables: Arc<dyn Tables>,
    seal: Seal,
    keys: RwLock<Arc<Keys>>,
    /// Rises when a key is removed.
    epoch: AtomicU64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} keys)", self.keys().all.len())
    }
}

impl Ring {
    /// Reads the keys in `tables`; makes the first when there is none.
    ///
    /// # Errors
    /// When the tables do not answer, or hold keys that `secret` does not open.
    pub async fn open(
        tables: Arc<dyn Tables>,
        secret: &soundoff_common::web::secret::Secret,
    ) -> anyhow::Result<Arc<Self>> {
        let ring = Self::follow(tables, secret).await?;
        let now = now_ms();
        if ring.keys().all.is_empty() {
            ring.add(now).await?;
            ring.look(now).await?;
        }
        Ok(ring)
    }

    /// Reads the keys in `tables`, for a process that only verifies and must change nothing. There may be none yet.
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub async fn follow(
        tables: Arc<dyn Tables>,
        secret: &soundoff_common::web::secret::Secret,
    ) -> anyhow::Result<Arc<Self>> {
        let ring =
            Self { tables, seal: Seal::new(secret), keys: RwLock::default(), epoch: AtomicU64::new(0) };
        ring.look(now_ms()).await?;
        Ok(Arc::new(ring))
    }

    /// Waits until there is a key: before the first User service has run, no token can be valid.
    pub async fn first_key(&self) {
        while self.keys().all.is_empty() {
            tokio::time::sleep(FIRST_LOOK_EVERY).await;
            if let Err(error) = self.look(now_ms()).await {
                tracing::warn!("cannot look at the token keys: {error:#}");
            }
        }
    }

    fn keys(&self) -> Arc<Keys> {
        read(&self.keys).clone()
    }

    /// Reads the keys again; returns those that are no longer needed.
    async fn look(&self, now: u64) -> anyhow::Result<Vec<Arc<SigningKey>>> {
        let page = self.tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await?;
        let known = self.keys();
        let mut all: Vec<Arc<SigningKey>> = Vec::with_capacity(page.items.len());
        for (sk, item) in page.items {
            let stored: Stored = item.parse()?;
            let held = known.all.iter().find(|key| key.stored_as == sk).cloned();
            all.push(match held {
                Some(key) => key,
                None => Arc::new(SigningKey::of(&self.open_key(&stored.sealed)?, sk, stored.created_at)?),
            });
        }
        let kept = live(&all, now);
        let by_id = kept.iter().map(|key| (key.id.clone(), key.clone())).collect();
        all.retain(|key| !kept.iter().any(|kept| kept.id == key.id));
        let dropped = known.by_id.keys().any(|id| !kept.iter().any(|key| key.id == *id));
        *write(&self.keys) = Arc::new(Keys { all: kept, by_id });
        if dropped {
            self.epoch.fetch_add(1, Ordering::Release);
        }
        Ok(all)
    }

    fn open_key(&self, sealed: &str) -> anyhow::Result<Vec<u8>> {
        let why = "the token keys in these tables were made under another secret: bring back its file, or name it with --secret-file";
        self.seal.open(sealed, CONTEXT).context(why)
    }

    async fn add(&self, now: u64) -> anyhow::Result<String> {
        let pkcs8 = SigningKey::generate()?;
        let id = SigningKey::of(&pkcs8, String::new(), now)?.id;
        let stored = Stored { created_at: now, sealed: self.seal.seal(&pkcs8, CONTEXT)? };
        let write =
            Write::put(Table::Entities, stored_at(now, &id), Item::of(&stored)).when(Condition::Missing);
        self.tables.write(vec![write]).await?;
        Ok(id)
    }

    /// Makes a new key and returns its id. It signs once every process and cache has had time to learn of it. With
    /// `drop_old`, for when a key has leaked, all other keys are removed and the new one signs at once.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn rotate(&self, drop_old: bool) -> anyhow::Result<String> {
        let now = now_ms();
        self.look(now).await?;
        let old = self.keys();
        let id = self.add(now).await?;
        if drop_old {
            self.drop_all(&old.all).await?;
        }
        self.look(now).await?;
        Ok(id)
    }

    async fn drop_all(&self, keys: &[Arc<SigningKey>]) -> Result<(), TableError> {
        for key in keys {
            let at = key_of(key.stored_as.clone());
            self.tables.write(vec![Write::delete(Table::Entities, at)]).await?;
        }
        Ok(())
    }

    /// Looks for new and removed keys, and renews old ones, until `stop`.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        while paused(&stop).await {
            if let Err(error) = self.round(now_ms()).await {
                tracing::warn!("cannot look after the token keys: {error:#}");
            }
        }
    }

    /// Looks for new and removed keys until `stop`; makes none.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        while paused(&stop).await {
            if let Err(error) = self.look(now_ms()).await {
                tracing::warn!("cannot look at the token keys: {error:#}");
            }
        }
    }

    async fn round(&self, now: u64) -> anyhow::Result<()> {
        let outlived = self.look(now).await?;
        self.drop_all(&outlived).await?;
        if is_due(&self.keys().all, now) {
            self.add(now).await?;
            self.look(now).await?;
        }
        Ok(())
    }

    /// The key that signs at `now` (milliseconds since 1970): the newest that every process knows, or the oldest when
    /// all are newer than that.
    pub(crate) fn signing(&self, now: u64) -> Option<Arc<SigningKey>> {
        signing(&self.keys().all, now)
    }

    /// The key of an id, while it may verify.
    pub(crate) fn verifying(&self, id: &str) -> Option<Arc<SigningKey>> {
        self.keys().by_id.get(id).cloned()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517).
    pub(crate) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.keys().all.iter().map(|key| key.jwk()).collect();
        json!({ "keys": keys })
    }
}

fn signing(all: &[Arc<SigningKey>], now: u64) -> Option<Arc<SigningKey>> {
    let known = all.iter().rev().find(|key| key.created_at + LEAD_MS <= now);
    // A key from the future was made by a clock that was wrong, and some time ago: it is known better than a new one.
    let ahead = || all.iter().rev().find(|key| is_ahead(key.created_at, now));
    known.or_else(ahead).or(all.first()).cloned()
}

/// Whether it is time for a new key. One from the future says nothing about that.
fn is_due(all: &[Arc<SigningKey>], now: u64) -> bool {
    let newest = all.iter().rev().find(|key| !is_ahead(key.created_at, now));
    newest.is_none_or(|key| key.created_at + RENEW_MS <= now)
}

/// The keys that are needed at `now`: the one that signs, all newer ones, and older ones while their tokens may still
/// be valid.
fn live(all: &[Arc<SigningKey>], now: u64) -> Vec<Arc<SigningKey>> {
    let Some(signing) = signing(all, now) else { return Vec::new() };
    let since = |at: usize| all.get(at + 1).map_or(u64::MAX, |next| next.created_at + LEAD_MS);
    let is_live = |(at, key): &(usize, &Arc<SigningKey>)| {
        key.created_at >= signing.created_at || since(*at).saturating_add(OVERLAP_MS) > now
    };
    all.iter().enumerate().filter(is_live).map(|(_, key)| key.clone()).collect()
}

/// Waits for the next look; `false` when there is none because of `stop`.
async fn paused(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK_EVERY) => true,
        () = stop.cancelled() => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn key(created_at: u64) -> Arc<SigningKey> {
        Arc::new(
            SigningKey::of(&SigningKey::generate().unwrap(), created_at.to_string(), created_at).unwrap(),
        )
    }

    #[test]
    fn a_new_key_is_known_before_it_signs_and_an_old_one_long_after() {
        let (first, second) = (key(1_000_000), key(RENEW_MS));
        let all = [first.clone(), second.clone()];
        let signs = |now: u64| signing(&all, now).unwrap().id.clone();
        let lives = |now: u64| live(&all, now).len();
        assert_eq!(signing(&all[..1], 1_000_000).unwrap().id, first.id, "the first signs at once");
        assert_eq!((signs(RENEW_MS + LEAD_MS - 1), lives(RENEW_MS)), (first.id.clone(), 2));
        let turn = RENEW_MS + LEAD_MS;
        assert_eq!((signs(turn), lives(turn), lives(turn + OVERLAP_MS - 1)), (second.id.clone(), 2, 2));
        assert_eq!(live(&all, turn + OVERLAP_MS).iter().map(|key| &key.id).collect::<Vec<_>>(), [&second.id]);
        assert!(signing(&[], 0).is_none() && live(&[], 0).is_empty());
    }

    #[test]
    fn a_key_from_the_future_holds_up_no_other_and_is_not_lost() {
        let now = RENEW_MS;
        let (ahead, first) = (key(now + 365 * OVERLAP_MS), key(1_000_000));
        let alone = [ahead.clone()];
        assert_eq!(signing(&alone, now).unwrap().id, ahead.id, "the only one there is");
        assert!(is_due(&alone, now), "but its successor is made now");
        let fresh = [key(now), ahead.clone()];
        assert_eq!(
            signing(&fresh, now + LEAD_MS - 1).unwrap().id,
            ahead.id,
            "others do not know the new one"
        );
        assert_eq!(signing(&fresh, now + LEAD_MS).unwrap().id, fresh[0].id);
        assert!(!is_due(&fresh, now + RENEW_MS - 1) && is_due(&fresh, now + RENEW_MS));
        assert_eq!(live(&fresh, now).len(), 2);
        let both = [first.clone(), ahead];
        assert_eq!(signing(&both, now).unwrap().id, first.id);
        assert_eq!((live(&both, now).len(), is_due(&both, now)), (2, false));
        assert!(is_due(&both, 1_000_000 + RENEW_MS));
        // To a process whose clock is behind, the present key seems to come from the future.
        assert_eq!(live(&both, 0).len(), 2);
    }

    /// The rings of two processes on the same tables.
    pub(crate) async fn two_processes() -> (tempfile::TempDir, [Arc<Ring>; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let options = soundoff_embedded::tables::TableOptions::default();
        let tables = soundoff_embedded::tables::EmbeddedTables::open(dir.path(), &options).unwrap();
        let secret = soundoff_common::web::secret::Secret::new(&[1; 32]).unwrap();
        let one = Ring::open(tables.clone(), &secret).await.unwrap();
        let other = Ring::open(tables, &secret).await.unwrap();
        // Keys are in order of time, to the millisecond.
        while now_ms() == one.keys().all[0].created_at {
            tokio::task::yield_now().await;
        }
        (dir, [one, other])
    }

    #[tokio::test]
    async fn all_processes_have_the_same_keys_and_drop_them_together() {
        let (_dir, [one, other]) = two_processes().await;
        let now = now_ms();
        let first = one.signing(now).unwrap().id.clone();
        assert_eq!(other.signing(now).unwrap().id, first, "one process made it, both have it");
        let second = one.rotate(false).await.unwrap();
        other.round(now).await.unwrap();
        for ring in [&one, &other] {
            assert!(ring.verifying(&second).is_some() && ring.signing(now).unwrap().id == first);
            assert_eq!(ring.signing(now + LEAD_MS + 1000).unwrap().id, second);
        }
        assert_eq!(other.epoch(), 0, "tokens that were verified are still valid");
        let third = one.rotate(true).await.unwrap();
        other.round(now).await.unwrap();
        for ring in [&one, &other] {
            assert!(ring.verifying(&first).is_none() && ring.verifying(&second).is_none());
            assert_eq!((ring.signing(now).unwrap().id.clone(), ring.epoch()), (third.clone(), 1));
        }
    }

    #[tokio::test]
    async fn a_follower_makes_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let tables =
            soundoff_embedded::tables::EmbeddedTables::open(dir.path(), &Default::default()).unwrap();
        let secret = soundoff_common::web::secret::Secret::new(&[7; 32]).unwrap();
        let follower = Ring::follow(tables.clone(), &secret).await.unwrap();
        assert!(follower.signing(now_ms()).is_none());
        let ring = Ring::open(tables, &secret).await.unwrap();
        let id = ring.signing(now_ms()).unwrap().id.clone();
        assert!(follower.verifying(&id).is_none());
        follower.look(now_ms()).await.unwrap();
        assert!(follower.verifying(&id).is_some(), "a follower learns of keys that others make");
    }

    #[tokio::test]
    async fn a_key_is_renewed_by_itself_once() {
        let (_dir, [one, other]) = two_processes().await;
        let now = now_ms();
        one.round(now + RENEW_MS - 60_000).await.unwrap();
        assert_eq!(one.keys().all.len(), 1);
        one.round(now + RENEW_MS).await.unwrap();
        other.round(now + RENEW_MS).await.unwrap();
        assert_eq!((one.keys().all.len(), other.keys().all.len()), (2, 2));
        other.round(now + RENEW_MS + LEAD_MS + OVERLAP_MS + 1000).await.unwrap();
        assert_eq!(other.keys().all.len(), 1, "the old one is no longer needed");
        let left = other.tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await.unwrap();
        assert_eq!(left.items.len(), 1, "and its item is gone");
    }
}
