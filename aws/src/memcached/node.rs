//! One node: its connections, whether to ask it, and which of its keys must not be trusted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memcache::exp::{AsyncMetaClient, Delete, Error, Get, Operation, Set};
use prometheus_client::metrics::gauge::Gauge;
use rand::Rng as _;
use soundoff_common::lock::lock;
use soundoff_common::telemetry::{Metrics, NodeLabel};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout};

use super::options::MemcachedOptions;
use super::route;
use super::tunnel::{Far, Tls, Tunnel};

/// How many requests go in one exchange.
const REQUESTS_AT_ONCE: usize = 256;
/// How many bytes of reads go in one exchange: the kernels can buffer these even while the node waits for its answers
/// to be read.
const READ_BYTES_AT_ONCE: usize = 64 * 1024;
/// How many bytes of writes go in one exchange. Larger ones go alone: a refusal also fails the later requests of its
/// exchange.
const WRITE_BYTES_AT_ONCE: usize = 256 * 1024;
/// The most bytes of a request beside its key and value.
const REQUEST_BYTES: usize = 48;
/// After this many exchanges in a row without any answer the node counts as away.
const STRIKES: u32 = 2;
/// By how much each pause of a node that is away is longer than the one before.
const PAUSE_GROWS: f64 = 1.5;
/// How many times as long as the first one a pause may be.
const LONGEST_PAUSE: f64 = 3.5;
/// How many untrusted keys are remembered.
const MAX_DISTRUSTED: usize = 100_000;

/// A request to a node.
pub(super) trait Request: Operation + Send + Sync {
    /// How many bytes fit in one exchange.
    const BYTES_AT_ONCE: usize;

    /// The size of its value in bytes.
    fn value_bytes(&self) -> usize {
        0
    }
}

impl Request for Get {
    const BYTES_AT_ONCE: usize = READ_BYTES_AT_ONCE;
}

impl Request for Set {
    const BYTES_AT_ONCE: usize = WRITE_BYTES_AT_ONCE;

    fn value_bytes(&self) -> usize {
        self.value.len()
    }
}

impl Request for Delete {
    const BYTES_AT_ONCE: usize = WRITE_BYTES_AT_ONCE;
}

/// Whether the node is asked.
#[derive(Debug, Default)]
struct Gate {
    strikes: u32,
    shut_until: Option<Instant>,
    /// How many pauses are over since the last answer.
    pauses: i32,
    /// The step of the last failure that was logged.
    logged: Option<&'static str>,
}

/// Keys whose last write may be missing, each with the number of the event.
#[derive(Debug, Default)]
struct Distrusted {
    keys: HashMap<String, u64>,
    events: u64,
    is_full: bool,
}

/// A node.
pub(super) struct Node {
    address: String,
    seed: u64,
    timeout: Duration,
    pause: Duration,
    connections: usize,
    /// Made again after the node was away: its name may resolve to another address then.
    client: Mutex<Option<AsyncMetaClient>>,
    /// One for each connection. A caller that waits too long for one gets no answer; this does not count against the
    /// node.
    permits: Semaphore,
    gate: Mutex<Gate>,
    distrusted: Mutex<Distrusted>,
    cleaning: tokio::sync::Mutex<()>,
    /// The end of the tunnel, with TLS.
    far: Option<Arc<Far>>,
    tunnel: OnceCell<Tunnel>,
    away: Gauge,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether the error is an answer of the node: then it is up.
fn is_answer(error: &Error) -> bool {
    match error {
        Error::Server(_) | Error::Rejected(_) => true,
        Error::Ambiguous { source, .. } => is_answer(source),
        _ => false,
    }
}

/// The text of an error, without the key.
fn reason(error: &Error) -> String {
    match error {
        Error::Ambiguous { source, .. } => reason(source),
        Error::Timeout { .. } => "timed out".to_owned(),
        other => other.to_string(),
    }
}

/// Splits requests into exchanges.
fn exchanges<R: Request>(requests: Vec<R>) -> Vec<Vec<R>> {
    let mut exchanges: Vec<Vec<R>> = Vec::new();
    let mut bytes = 0;
    for request in requests {
        let more = request.key().len() + request.value_bytes() + REQUEST_BYTES;
        match exchanges.last_mut() {
            Some(last) if last.len() < REQUESTS_AT_ONCE && bytes + more <= R::BYTES_AT_ONCE => {
                bytes += more;
                last.push(request);
            }
            _ => {
                bytes = more;
                exchanges.push(vec![request]);
            }
        }
    }
    exchanges
}

impl Node {
    pub(super) fn new(
        address: String,
        options: &MemcachedOptions,
        tls: Option<&Tls>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let far = tls.map(|tls| Far::new(&address, options, tls)).transpose()?;
        let away = metrics.memcached_away.get_or_create_owned(&NodeLabel { node: address.clone() });
        away.set(0);
        Ok(Self {
            seed: route::hash(address.as_bytes()),
            address,
            timeout: options.timeout,
            pause: options.pause,
            connections: options.connections,
            client: Mutex::default(),
            permits: Semaphore::new(options.connections),
            gate: Mutex::default(),
            distrusted: Mutex::default(),
            cleaning: tokio::sync::Mutex::default(),
            far: far.map(Arc::new),
            tunnel: OnceCell::new(),
            away,
        })
    }

    /// Its seed for the routing.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Makes the requests in their order. After the first exchange without an answer the rest is not tried.
    pub(super) async fn run<R: Request>(&self, requests: Vec<R>) -> Vec<Option<R::Output>> {
        let count = requests.len();
        let mut answers = Vec::with_capacity(count);
        if self.clean().await {
            for requests in exchanges(requests) {
                let Some(some) = self.exchange(requests).await else { break };
                answers.extend(some);
            }
        }
        answers.resize_with(count, || None);
        answers
    }

    /// One exchange; `None` if there was no answer.
    async fn exchange<R: Request>(&self, requests: Vec<R>) -> Option<Vec<Option<R::Output>>> {
        if self.is_shut() {
            return None;
        }
        let _permit = timeout(self.timeout, self.permits.acquire()).await.ok()?.ok()?;
        if !self.enter() {
            return None;
        }
        // At the crate's own deadline or at this one: a connection that still waits for an answer is dropped, and never
        // used again.
        let asked = async { self.client().await?.run_many(requests).await };
        let results = match timeout(self.timeout, asked).await {
            Ok(Ok(results)) => results,
            Ok(Err(error)) => return self.strike(&reason(&error)),
            Err(_) => return self.strike("timed out"),
        };
        let is_there = results.iter().any(|result| result.as_ref().map_or_else(is_answer, |_| true));
        let failed = results.iter().find_map(|result| result.as_ref().err());
        if !is_there {
            return self.strike(&failed.map_or_else(|| "no answer".to_owned(), reason));
        }
        if let Some(error) = failed {
            tracing::debug!(node = self.address, error = reason(error), "memcached did part of it");
        }
        self.answered();
        Some(results.into_iter().map(Result::ok).collect())
    }

    async fn client(&self) -> Result<AsyncMetaClient, Error> {
        if let Some(client) = &*lock(&self.client) {
            return Ok(client.clone());
        }
        let address = match &self.far {
            None => self.address.clone(),
            Some(far) => {
                self.tunnel.get_or_try_init(|| Tunnel::open(far.clone())).await?.address().to_string()
            }
        };
        let made = AsyncMetaClient::builder()
            .connect_timeout(Some(self.timeout))
            .io_timeout(Some(self.timeout))
            .max_idle(self.connections)
            .connect_async(address.as_str())
            .await?;
        // Another task may have made one meanwhile: then all use that one.
        Ok(lock(&self.client).get_or_insert(made).clone())
    }

    fn is_shut(&self) -> bool {
        lock(&self.gate).shut_until.is_some_and(|until| until > Instant::now())
    }

    /// Whether to ask. After a pause one request is let through, and the others once it was answered.
    fn enter(&self) -> bool {
        let (now, mut gate) = (Instant::now(), lock(&self.gate));
        match gate.shut_until {
            None => true,
            Some(until) if until > now => false,
            Some(_) => {
                gate.shut_until = Some(now + 2 * self.timeout);
                gate.pauses = gate.pauses.saturating_add(1);
                true
            }
        }
    }

    fn strike<T>(&self, reason: &str) -> Option<T> {
        // The client only sees that the tunnel closes its connection; the tunnel knows why.
        let (step, reason) =
            self.far.as_ref().and_then(|far| far.failure()).unwrap_or(("asking", reason.to_owned()));
        let mut gate = lock(&self.gate);
        gate.strikes = gate.strikes.saturating_add(1);
        if gate.strikes >= STRIKES {
            let longer = PAUSE_GROWS.powi(gate.pauses).min(LONGEST_PAUSE);
            let pause = self.pause.mul_f64(longer * rand::rng().random_range(0.75..1.25));
            gate.shut_until = Some(Instant::now() + pause);
            *lock(&self.client) = None;
            self.away.set(1);
        }
        if gate.strikes >= STRIKES && gate.logged.replace(step) != Some(step) {
            tracing::warn!(
                node = self.address,
                step,
                reason,
                "memcached does not answer; it counts as empty"
            );
        }
        None
    }

    fn answered(&self) {
        let mut gate = lock(&self.gate);
        if gate.strikes >= STRIKES {
            tracing::info!(node = self.address, "memcached answers again");
            self.away.set(0);
        }
        *gate = Gate::default();
    }

    /// Marks a key as untrusted: it is deleted before the node is asked anything else.
    pub(super) fn distrust(&self, key: String) {
        let mut distrusted = lock(&self.distrusted);
        distrusted.events += 1;
        let event = distrusted.events;
        if distrusted.keys.len() < MAX_DISTRUSTED || distrusted.keys.contains_key(&key) {
            distrusted.keys.insert(key, event);
        } else if !std::mem::replace(&mut distrusted.is_full, true) {
            tracing::error!(node = self.address, "too many writes were lost: some keys may show old values");
        }
    }

    /// Deletes the untrusted keys; `false` if the node may still have some of them.
    async fn clean(&self) -> bool {
        if lock(&self.distrusted).keys.is_empty() {
            return true;
        }
        if self.is_shut() {
            return false;
        }
        let Ok(_turn) = timeout(self.timeout, self.cleaning.lock()).await else { return false };
        if self.is_shut() {
            return false;
        }
        let keys: Vec<(String, u64)> =
            lock(&self.distrusted).keys.iter().map(|(key, event)| (key.clone(), *event)).collect();
        for keys in keys.chunks(REQUESTS_AT_ONCE) {
            let deletes = keys.iter().map(|(key, _)| Delete::new(key)).collect();
            for deletes in exchanges::<Delete>(deletes) {
                let deleted = self.exchange(deletes).await;
                if !deleted.is_some_and(|deleted| deleted.iter().all(Option::is_some)) {
                    return false;
                }
            }
            let mut distrusted = lock(&self.distrusted);
            for (key, event) in keys {
                // Another write of this key may have been lost meanwhile.
                if distrusted.keys.get(key) == Some(event) {
                    distrusted.keys.remove(key);
                }
            }
            distrusted.is_full = false;
        }
        true
    }
}
