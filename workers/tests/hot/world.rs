//! Processes of workers on queues and tables that they share, and messages on those queues.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use soundoff_common::guard::Weather;
use soundoff_common::lock::lock;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::catalog::{Catalog, Spec};
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job, Verdict, consume};
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::feature::{self, Work};
use soundoff_common::pipeline::handler::{Context, Run, raw};
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::side::{Side, share};
use soundoff_common::pipeline::worker::{Outward, Worker};
use soundoff_common::ports::memory::{MemoryQueues, MemorySessions};
use soundoff_common::ports::queues::{Message, Outgoing, QueueName, Queues};
use soundoff_common::ports::tables::{Key, Table};
use soundoff_common::protocol::ErrorBody;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::pictures::PictureKey;
use soundoff_common::web::uploads::UploadKey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::overlapping::Overlapping;

const START: u64 = 1_700_000_000_000;

/// Longer than any run takes: time stands still while somebody works.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// When messages were queued, and how long those took that are done.
#[derive(Default)]
struct Times {
    queued: Mutex<HashMap<Ulid, Instant>>,
    took: Mutex<HashMap<Ulid, Duration>>,
    done: watch::Sender<usize>,
}

impl Times {
    /// Notes that a message is done or given up.
    fn ended(&self, message: &Message) {
        let mid = Envelope::of(message).expect("an envelope").mid;
        if let Some(queued) = lock(&self.queued).remove(&mid) {
            lock(&self.took).insert(mid, queued.elapsed());
            self.done.send_modify(|done| *done += 1);
        }
    }
}

/// The job of a handler, timed.
struct Timed(Worker, Arc<Times>);

#[async_trait]
impl Job for Timed {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let verdicts = self.0.run(batch).await;
        for (message, _) in batch.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Done) {
            self.1.ended(message);
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, _: &str) {
        self.1.ended(message);
    }

    async fn refuse(&self, message: &Message, _: &ErrorBody) {
        self.1.ended(message);
    }
}

pub(crate) struct World {
    pub(crate) tables: Arc<Overlapping>,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) metrics: Metrics,
    rows: Vec<(Spec, Run)>,
    catalog: Arc<Catalog>,
    times: Arc<Times>,
    last: AtomicU64,
    stop: CancellationToken,
}

impl World {
    pub(crate) fn new() -> Self {
        let features = [soundoff_workers::feature()];
        let catalog = Arc::new(feature::catalog(&features));
        let [feature] = features;
        let rows = feature.rows.into_iter().filter_map(|row| match row.work {
            Work::Handler(run) => Some((row.spec, run)),
            Work::Job(_) => None,
        });
        Self {
            tables: Arc::default(),
            queues: Arc::new(MemoryQueues::new(catalog.queue_names())),
            metrics: Metrics::new(),
            rows: rows.collect(),
            catalog,
            times: Arc::default(),
            last: AtomicU64::new(0),
            stop: CancellationToken::new(),
        }
    }

    /// Starts a process with this many slots for each queue, as `soundoff workers` does.
    pub(crate) fn start(&self, slots: usize) {
        let weather = Weather::new(self.metrics.clone());
        let sessions = Arc::new(MemorySessions::default());
        let replies = Replies::start(sessions.clone(), InternalKey::new(&[0; 32]).unwrap(), weather.clone());
        let (queues, catalog) = (self.queues.clone(), self.catalog.clone());
        let outward = Outward { queues: queues.clone(), replies, catalog };
        let cx = Context {
            tables: self.tables.clone(),
            sessions,
            uploads: Arc::new(UploadKey::new(&[0; 32])),
            pictures: PictureKey::new(&[0; 32]),
            purges: false,
            metrics: self.metrics.clone(),
            turns: Arc::default(),
            daily: Arc::default(),
        };
        let pull = |queue, slots, job| {
            let config = ConsumerConfig { slots, ..ConsumerConfig::default() };
            let stop = self.stop.clone();
            tokio::spawn(consume(queues.clone(), queue, config, job, weather.clone(), stop));
        };
        for (spec, run) in &self.rows {
            let worker = Worker::new(*run, cx.clone(), outward.clone());
            let mut job: Arc<dyn Job> = Arc::new(Timed(worker, self.times.clone()));
            if let (Some(key), Some(queue)) = (spec.hot, spec.side_queue()) {
                pull(queue.clone(), share(slots), job.clone());
                job = Arc::new(Side::new(job, key, slots, (queues.clone(), queue), &self.metrics));
            }
            pull(spec.queue.clone(), slots, job);
        }
    }

    /// Accounts.
    pub(crate) fn people(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            let account = accounts::create(&name.parse().unwrap(), START);
            self.tables.memory.apply(vec![account]).unwrap();
        }
    }

    /// A message that is queued now.
    async fn queue(&self, from: &str, message_type: &str, body: &Value) -> Ulid {
        let n = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let envelope = Envelope {
            mid: Ulid::from_parts(START + n, u128::from(n)),
            id: format!("id-{n}"),
            message_type: message_type.to_owned(),
            from: from.parse().unwrap(),
            origin: None,
            at: START + n,
            body: raw(body),
        };
        lock(&self.times.queued).insert(envelope.mid, Instant::now());
        let outgoing =
            Outgoing { queue: QueueName::of_type(message_type), body: envelope.bytes(), user: None };
        assert!(self.queues.send(vec![outgoing]).await.iter().all(Result::is_ok));
        envelope.mid
    }

    /// A post.
    pub(crate) async fn post(&self, author: &str) -> String {
        let mid = self.queue(author, "post.create", &json!({ "text": "hi" })).await;
        self.until_done().await;
        mid.to_string()
    }

    /// Messages at a rate, each queued when it is due whatever happens to those before it.
    pub(crate) async fn messages(&self, a_second: u32, messages: Vec<(String, &str, Value)>) -> Vec<Ulid> {
        let (begun, mut mids) = (Instant::now(), Vec::new());
        for (n, (from, message_type, body)) in (0..).zip(messages) {
            sleep_until(begun + Duration::from_secs(1) * n / a_second).await;
            mids.push(self.queue(&from, message_type, &body).await);
        }
        mids
    }

    /// Waits until all that was queued is done.
    pub(crate) async fn until_done(&self) {
        let wanted = self.last.load(Ordering::Relaxed) as usize;
        let mut done = self.times.done.subscribe();
        let all = done.wait_for(|done| *done >= wanted);
        timeout(PATIENCE, all).await.expect("not all is done").expect("the sender lives");
    }

    /// How long these took at the median, and 99 % of them, in milliseconds.
    pub(crate) fn took(&self, mids: &[Ulid]) -> (u128, u128) {
        let took = lock(&self.times.took);
        let mut sorted: Vec<u128> = mids.iter().map(|mid| took[mid].as_millis()).collect();
        sorted.sort_unstable();
        (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100])
    }

    pub(crate) fn number(&self, table: Table, key: Key, name: &str) -> u64 {
        self.tables.memory.peek(table, key).and_then(|item| item.number(name)).unwrap_or(0)
    }

    /// How many have moved aside from the queue of a type.
    pub(crate) fn moved(&self, message_type: &str) -> u64 {
        let queue = format!("{}_hot_q", message_type.replace('.', "_"));
        self.metrics.moved_aside(&QueueName::new(&queue)).get()
    }

    /// Dead letters of all queues.
    pub(crate) async fn dead(&self) -> u64 {
        let mut dead = 0;
        for queue in self.catalog.queue_names() {
            dead += self.queues.depth(&queue).await.unwrap().dead;
        }
        dead
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
