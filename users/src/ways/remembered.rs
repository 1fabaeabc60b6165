//! A document of somebody else's, kept in memory and fetched again now and then: a provider's keys, or what it says of
//! itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use bytes::Bytes;
use hyper::{Request, Uri};
use soundoff_common::lock::lock;

use crate::fetch::Fetch;

/// How long it is used without being fetched again.
pub(crate) const FRESH: Duration = Duration::from_secs(3600);
/// How soon it may be fetched again, whatever happens: a caller that names unknown keys must not make us call the
/// provider for each.
pub(crate) const AGAIN: Duration = Duration::from_secs(10);
/// How long it is used while the provider does not answer.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How a document is read; an error says what is wrong with it.
type Read<T> = Box<dyn Fn(&[u8]) -> anyhow::Result<T> + Send + Sync>;

struct Known<T> {
    value: Option<Arc<T>>,
    /// Of the bytes that it was read from.
    digest: Option<Digest>,
    /// When they were fetched.
    read: Option<Instant>,
    /// When they were last asked for, with or without success.
    asked: Option<Instant>,
}

impl<T> Known<T> {
    fn fresh(&self) -> Option<Arc<T>> {
        self.value.clone().filter(|_| self.read.is_some_and(|read| read.elapsed() < FRESH))
    }

    fn usable(&self) -> Option<Arc<T>> {
        self.value.clone().filter(|_| self.read.is_some_and(|read| read.elapsed() < STALE))
    }

    fn asked_just_now(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < AGAIN)
    }
}

/// One document.
pub(crate) struct Remembered<T> {
    fetch: Fetch,
    url: Uri,
    /// What it is, for errors.
    what: &'static str,
    reader: Read<T>,
    known: Mutex<Known<T>>,
    /// Held while asking: all callers that need it wait for one answer.
    asking: tokio::sync::Mutex<()>,
    /// How often it has changed.
    changes: AtomicU64,
}

impl<T> Remembered<T> {
    pub(crate) fn new(
        fetch: Fetch,
        url: Uri,
        what: &'static str,
        reader: impl Fn(&[u8]) -> anyhow::Result<T> + Send + Sync + 'static,
    ) -> Self {
        let known = Known { value: None, digest: None, read: None, asked: None };
        Self {
            fetch,
            url,
            what,
            reader: Box::new(reader),
            known: Mutex::new(known),
            asking: tokio::sync::Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// The document. It is fetched first when it is not fresh, or does not suit the caller.
    ///
    /// # Errors
    /// When the provider does not answer and nothing usable is remembered.
    pub(crate) async fn get(&self, suits: impl Fn(&T) -> bool) -> anyhow::Result<Arc<T>> {
        let at_hand = |known: &Known<T>| known.fresh().filter(|value| suits(value));
        if let Some(found) = at_hand(&lock(&self.known)) {
            return Ok(found);
        }
        let _asking = self.asking.lock().await;
        {
            let mut known = lock(&self.known);
            if let Some(found) = at_hand(&known) {
                return Ok(found);
            }
            if known.asked_just_now() {
                return known.usable().ok_or_else(|| anyhow::anyhow!("{} is not known yet", self.what));
            }
            known.asked = Some(Instant::now());
        }
        self.ask().await
    }

    /// The document as it is in memory, and how long ago it was fetched.
    pub(crate) fn at_hand(&self) -> Option<(Arc<T>, Duration)> {
        let known = lock(&self.known);
        Some((known.usable()?, known.read?.elapsed()))
    }

    /// Fetches it, unless that was done just now.
    pub(crate) async fn renew(&self) {
        let _asking = self.asking.lock().await;
        {
            let mut known = lock(&self.known);
            if known.asked_just_now() {
                return;
            }
            known.asked = Some(Instant::now());
        }
        if let Err(error) = self.ask().await {
            tracing::warn!("{} cannot be fetched: {error:#}", self.what);
        }
    }

    /// Rises when what was read is no longer all true.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    async fn ask(&self) -> anyhow::Result<Arc<T>> {
        let answer = self.fetched().await;
        let mut known = lock(&self.known);
        match answer {
            Ok((value, digest)) => {
                let value = Arc::new(value);
                let changed = known.digest.is_some_and(|before| before.as_ref() != digest.as_ref());
                known.value = Some(value.clone());
                known.digest = Some(digest);
                known.read = Some(Instant::now());
                if changed {
                    self.changes.fetch_add(1, Ordering::AcqRel);
                }
                Ok(value)
            }
            Err(error) => {
                let usable = known.usable().ok_or_else(|| anyhow::anyhow!("{error:#}"))?;
                tracing::warn!("{} cannot be renewed; using what is at hand: {error:#}", self.what);
                Ok(usable)
            }
        }
    }

    async fn fetched(&self) -> anyhow::Result<(T, Digest)> {
        let request = Request::get(self.url.clone()).body(Bytes::new())?;
        let response = self.fetch.send(request).await?;
        ensure!(response.status().is_success(), "{}: {}", self.what, response.status());
        let body = response.body();
        Ok(((self.reader)(body)?, digest(&SHA256, body)))
    }
}
