//! The keys that sign access tokens. They are stored in the tables, so that every process has the same, and renewed with
//! an overlap: the private half sealed, for those who sign, and the public half in clear, for those who only verify. The
//! public half is signed with a key that follows from the secret, and which a verifier has only the public half of. So
//! neither can one who writes to the tables plant a key, nor one who has taken over a verifier.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use soundoff_common::lock::{read, write};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::protocol::{is_ahead, now_ms};
use soundoff_common::web::secret::Secret;
use tokio_util::sync::CancellationToken;

use crate::keys::seal::Seal;
use crate::keys::signing::{Authority, AuthorityCheck, TokenKey};

pub(crate) const HOLDING: Holding = Holding {
    kind: "token key",
    table: Table::Entities,
    pk: PARTITION,
    sk: "<created_at>#<kid>",
    attributes: &["created_at", SEALED, PUBLIC, SIGNATURE],
    of: Of::Nobody,
    summary: "A key of access tokens: PKCS #8, sealed; its public half, signed.",
};
/// [`Stored::sealed`] as an attribute.
const SEALED: &str = "sealed";
/// [`Stored::public`] as an attribute.
const PUBLIC: &str = "public";
/// [`Stored::signature`] as an attribute.
const SIGNATURE: &str = "signature";
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
    /// The public half, and who says so, in base64url. Version 0.1.0 wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl Stored {
    fn public(&self) -> Option<(&str, &str)> {
        self.public.as_deref().zip(self.signature.as_deref())
    }
}

const CONTEXT: &str = "token key";

/// The keys as of the last look.
#[derive(Default)]
struct Keys {
    /// Oldest first.
    all: Vec<Arc<TokenKey>>,
    by_id: HashMap<String, Arc<TokenKey>>,
    /// The range keys of those that a verifier does not trust.
    refused: BTreeSet<String>,
}

/// What a process does with the keys.
enum Means {
    /// It makes keys, and signs with them.
    Sign { seal: Box<Seal>, authority: Authority },
    /// It only verifies: it can open no private half.
    Verify(AuthorityCheck),
}

/// What [`Ring::reseal`] did.
#[derive(Default)]
pub(crate) struct KeysResealed {
    pub(crate) moved: u64,
    /// How many need another generation of the secret still.
    pub(crate) left: u64,
}

/// What a look found to do.
struct Looked {
    /// Keys that are no longer needed.
    outlived: Vec<Arc<TokenKey>>,
    /// Keys without a public half: verifiers do not know them.
    incomplete: Vec<(Arc<TokenKey>, Stored)>,
}

/// All keys of the deployment.
pub struct Ring {
    tables: Arc<dyn Tables>,
    means: Means,
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
    pub async fn open(tables: Arc<dyn Tables>, secret: &Secret) -> anyhow::Result<Arc<Self>> {
        let means = Means::Sign { seal: Box::new(Seal::new(secret)?), authority: Authority::new(secret)? };
        let ring = Self::new(tables, means);
        let now = now_ms();
        ring.completed(now).await?;
        if ring.keys().all.is_empty() {
            ring.add(now).await?;
            ring.look(now).await?;
        }
        Ok(Arc::new(ring))
    }

    /// Reads the keys in `tables`, for a process that only verifies and must change nothing. There may be none yet, or
    /// only some of 0.1.0, which a User service of this version has to complete.
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub async fn follow(tables: Arc<dyn Tables>, secret: &Secret) -> anyhow::Result<Arc<Self>> {
        let ring = Self::new(tables, Means::Verify(AuthorityCheck::new(secret)?));
        ring.look(now_ms()).await?;
        Ok(Arc::new(ring))
    }

    fn new(tables: Arc<dyn Tables>, means: Means) -> Self {
        Self { tables, means, keys: RwLock::default(), epoch: AtomicU64::new(0) }
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

    /// Reads the keys again.
    async fn look(&self, now: u64) -> anyhow::Result<Looked> {
        let page = self.tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await?;
        let known = self.keys();
        let mut all: Vec<Arc<TokenKey>> = Vec::with_capacity(page.items.len());
        let (mut incomplete, mut refused) = (Vec::new(), BTreeSet::new());
        for (sk, item) in page.items {
            let held = known.all.iter().find(|key| key.stored_as == sk).cloned();
            match (self.read(held, sk.clone(), item), &self.means) {
                (Ok((key, stored)), _) => {
                    all.push(key.clone());
                    incomplete.extend(stored.public().is_none().then_some((key, stored)));
                }
                (Err(error), Means::Sign { .. }) => return Err(error),
                // What somebody has put there must not keep a verifier from the others.
                (Err(error), Means::Verify(_)) => {
                    if !known.refused.contains(&sk) {
                        tracing::error!("the token key {sk} is not used: {error:#}");
                    }
                    refused.insert(sk);
                }
            }
        }
        let kept = live(&all, now);
        let by_id = kept.iter().map(|key| (key.id.clone(), key.clone())).collect();
        all.retain(|key| !kept.iter().any(|kept| kept.id == key.id));
        let dropped = known.by_id.keys().any(|id| !kept.iter().any(|key| key.id == *id));
        *write(&self.keys) = Arc::new(Keys { all: kept, by_id, refused });
        if dropped {
            self.epoch.fetch_add(1, Ordering::Release);
        }
        Ok(Looked { outlived: all, incomplete })
    }

    /// The key of an item, which is `held` if it is known.
    fn read(
        &self,
        held: Option<Arc<TokenKey>>,
        sk: String,
        item: Item,
    ) -> anyhow::Result<(Arc<TokenKey>, Stored)> {
        let stored: Stored = item.parse()?;
        let key = match (held, &self.means) {
            (Some(held), _) => held,
            (None, Means::Sign { seal, .. }) => {
                Arc::new(TokenKey::of(&opened(seal, &stored.sealed)?, sk, stored.created_at)?)
            }
            (None, Means::Verify(check)) => {
                let why = "it has no public half; a User service of this version adds it";
                Arc::new(check.read(stored.public().context(why)?, sk, stored.created_at)?)
            }
        };
        Ok((key, stored))
    }

    /// What makes keys, in a process that signs.
    fn makes(&self) -> anyhow::Result<(&Seal, &Authority)> {
        match &self.means {
            Means::Sign { seal, authority } => Ok((seal, authority)),
            Means::Verify(_) => anyhow::bail!("this process only verifies tokens, and makes no keys"),
        }
    }

    async fn add(&self, now: u64) -> anyhow::Result<String> {
        let (seal, authority) = self.makes()?;
        let pkcs8 = TokenKey::generate()?;
        let key = TokenKey::of(&pkcs8, String::new(), now)?;
        let stored = Stored {
            created_at: now,
            sealed: seal.seal(&pkcs8, CONTEXT)?,
            public: Some(BASE64.encode(&key.public)),
            signature: Some(authority.sign(&key)),
        };
        let write =
            Write::put(Table::Entities, stored_at(now, &key.id), Item::of(&stored)).when(Condition::Missing);
        self.tables.write(vec![write]).await?;
        Ok(key.id)
    }

    /// Reads the keys again, and adds the public halves that 0.1.0 did not write.
    async fn completed(&self, now: u64) -> anyhow::Result<Vec<Arc<TokenKey>>> {
        let Looked { outlived, incomplete } = self.look(now).await?;
        let (_, authority) = self.makes()?;
        for (key, stored) in incomplete {
            self.change(&key, &stored.sealed, public_half(&key, authority)).await?;
        }
        Ok(outlived)
    }

    /// Changes a key's item, if it is still sealed like this. Returns whether it was.
    async fn change(&self, key: &TokenKey, sealed: &str, changes: Vec<Change>) -> anyhow::Result<bool> {
        let same = Condition::Equals(SEALED, sealed.into());
        let at = key_of(key.stored_as.clone());
        match self.tables.write(vec![Write::update(Table::Entities, at, changes).when(same)]).await {
            Ok(()) => Ok(true),
            // It was removed, or another process did the same.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The seal of a process that signs.
    ///
    /// # Errors
    /// When this one only verifies.
    pub(crate) fn seal(&self) -> anyhow::Result<&Seal> {
        Ok(self.makes()?.0)
    }

    /// Seals and signs each key with the generation of the secret that is in use; counts them with `only_count`.
    ///
    /// # Errors
    /// When the tables do not answer, or a key does not open.
    pub(crate) async fn reseal(&self, only_count: bool) -> anyhow::Result<KeysResealed> {
        let (seal, authority) = self.makes()?;
        let page = self.tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await?;
        let mut done = KeysResealed::default();
        for (sk, item) in page.items {
            let stored: Stored = item.parse()?;
            let pkcs8 = opened(seal, &stored.sealed)?;
            let key = TokenKey::of(&pkcs8, sk, stored.created_at)?;
            let is_signed =
                stored.signature.as_ref().is_some_and(|signature| authority.is_present(&key, signature));
            if is_signed && seal.is_present(&stored.sealed, CONTEXT) {
                continue;
            }
            let mut changes = public_half(&key, authority);
            changes.push(Change::Set(SEALED, seal.seal(&pkcs8, CONTEXT)?.into()));
            match !only_count && self.change(&key, &stored.sealed, changes).await? {
                true => done.moved += 1,
                false => done.left += 1,
            }
        }
        Ok(done)
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

    async fn drop_all(&self, keys: &[Arc<TokenKey>]) -> Result<(), TableError> {
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
        let outlived = self.completed(now).await?;
        self.drop_all(&outlived).await?;
        if is_due(&self.keys().all, now) {
            self.add(now).await?;
            self.look(now).await?;
        }
        Ok(())
    }

    /// The key that signs at `now` (milliseconds since 1970): the newest that every process knows, or the oldest when
    /// all are newer than that.
    pub(crate) fn signing(&self, now: u64) -> Option<Arc<TokenKey>> {
        signing(&self.keys().all, now)
    }

    /// The key of an id, while it may verify.
    pub(crate) fn verifying(&self, id: &str) -> Option<Arc<TokenKey>> {
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

/// The changes that write the public half of a key.
fn public_half(key: &TokenKey, authority: &Authority) -> Vec<Change> {
    let public = BASE64.encode(&key.public);
    vec![Change::Set(PUBLIC, public.into()), Change::Set(SIGNATURE, authority.sign(key).into())]
}

fn opened(seal: &Seal, sealed: &str) -> anyhow::Result<Vec<u8>> {
    let why = "the token keys in these tables were made under another secret: bring back its file, or name it with --secret-file";
    seal.open(sealed, CONTEXT).context(why)
}

fn signing(all: &[Arc<TokenKey>], now: u64) -> Option<Arc<TokenKey>> {
    let known = all.iter().rev().find(|key| key.created_at + LEAD_MS <= now);
    // A key from the future was made by a clock that was wrong, and some time ago: it is known better than a new one.
    let ahead = || all.iter().rev().find(|key| is_ahead(key.created_at, now));
    known.or_else(ahead).or(all.first()).cloned()
}

/// Whether it is time for a new key. One from the future says nothing about that.
fn is_due(all: &[Arc<TokenKey>], now: u64) -> bool {
    let newest = all.iter().rev().find(|key| !is_ahead(key.created_at, now));
    newest.is_none_or(|key| key.created_at + RENEW_MS <= now)
}

/// The keys that are needed at `now`: the one that signs, all newer ones, and older ones while their tokens may still
/// be valid.
fn live(all: &[Arc<TokenKey>], now: u64) -> Vec<Arc<TokenKey>> {
    let Some(signing) = signing(all, now) else { return Vec::new() };
    let since = |at: usize| all.get(at + 1).map_or(u64::MAX, |next| next.created_at + LEAD_MS);
    let is_live = |(at, key): &(usize, &Arc<TokenKey>)| {
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
#[path = "ring_tests.rs"]
pub(crate) mod tests;
