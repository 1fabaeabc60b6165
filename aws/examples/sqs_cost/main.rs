//! What SQS charges for envelopes that pass one queue, as a Markdown table: one request for each step, batches of ten,
//! and our packs.
//!
//! `cargo run --release -p soundoff-aws --example sqs_cost -- [ENVELOPES]` (20,000 by default), with any credentials
//! and region in the environment, such as `AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1`. The
//! engine is our own fake: it answers in 10 ms, as SQS does within its region, and counts its requests.

mod plain;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/support/queue.rs"]
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_aws::prices::SQS_REQUEST;
use soundoff_aws::sqs::{SqsOptions, SqsQueues};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job, Verdict, consume};
use soundoff_common::ports::queues::{Message, Outgoing, QueueName, Queues};
use soundoff_common::protocol::ErrorBody;
use soundoff_common::telemetry::Metrics;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use plain::Plain;

const QUEUE: &str = "soundoff-main_q";
const ENVELOPE: usize = 260;
/// How many senders wait for an answer at once when no rate is given.
const SENDERS: u64 = 2000;

/// A load, and which part of the envelopes it sends: a slow one needs fewer to show the same.
struct Load {
    name: &'static str,
    rate: Option<u64>,
    share: u64,
}

const LOADS: &[Load] = &[
    Load { name: "trickle, 10/s", rate: Some(10), share: 100 },
    Load { name: "100/s", rate: Some(100), share: 20 },
    Load { name: "1,000/s", rate: Some(1000), share: 1 },
    Load { name: "as fast as it goes", rate: None, share: 1 },
];

/// Counts the envelopes that arrived, and when.
#[derive(Default)]
struct Count {
    done: AtomicU64,
    all: u64,
    ages: Mutex<Vec<u64>>,
    finished: Notify,
}

impl Count {
    async fn count(&self, bodies: impl Iterator<Item = &str>) {
        let mut ages = self.ages.lock().await;
        let before = ages.len();
        ages.extend(bodies.map(|text| {
            let sent = text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            now().saturating_sub(sent)
        }));
        let count = (ages.len() - before) as u64;
        if self.done.fetch_add(count, Ordering::AcqRel) + count >= self.all {
            self.finished.notify_one();
        }
    }
}

#[async_trait]
impl Job for Count {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        self.count(batch.iter().map(|message| std::str::from_utf8(&message.body).unwrap_or_default())).await;
        vec![Verdict::Done; batch.len()]
    }

    async fn give_up(&self, _: &Message, _: &str) {}

    async fn refuse(&self, _: &Message, _: &ErrorBody) {}
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// How envelopes are sent and received.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// One envelope in each request, or batches.
    Plain(usize),
    Packs,
}

const WAYS: &[(Way, &str)] =
    &[(Way::Plain(1), "one a request"), (Way::Plain(10), "batches of ten"), (Way::Packs, "ours: packs")];
const LATENCY: Duration = Duration::from_millis(10);
const ACTIONS: &[&str] =
    &["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];
/// The payload that one request is billed for.
const CHUNK: usize = 64 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let envelopes = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    println!(
        "| load | way | envelopes | per second | requests per million | sends + receives + deletes + visibility, per 1,000 | $ per million | p50, p99 to the handler |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for load in LOADS {
        for &(way, name) in WAYS {
            measure(load, way, name, envelopes / load.share).await?;
        }
    }
    Ok(())
}

async fn measure(load: &Load, way: Way, name: &str, all: u64) -> anyhow::Result<()> {
    let fake = queue::Fake::serve(LATENCY).await;
    let job = Arc::new(Count { all, ..Count::default() });
    let took = match way {
        Way::Plain(most) => through_plain(&fake, load, most, &job).await,
        Way::Packs => through_packs(&fake, load, &job).await?,
    };
    let left = fake.bodies(QUEUE).len();
    anyhow::ensure!(left == 0, "{left} messages were never deleted");
    let calls: Vec<Vec<queue::Call>> = ACTIONS.iter().map(|action| fake.calls(QUEUE, action)).collect();
    let thousand = |calls: &Vec<queue::Call>| format!("{:.1}", calls.len() as f64 * 1000.0 / all as f64);
    let million = |count: usize| count as f64 * 1e6 / all as f64;
    let requests = calls.iter().map(Vec::len).sum::<usize>();
    // A message is billed by its size when it is sent and when it is received; every other request is billed once.
    let larger: usize = calls[0].iter().map(|call| call.bytes.div_ceil(CHUNK) - 1).sum();
    let mut ages = job.ages.lock().await;
    ages.sort_unstable();
    let age = |part: usize| ages[(ages.len() - 1) * part / 100] as f64 / 1000.0;
    println!(
        "| {} | {name} | {all} | {:.0} | {:.0} | {} | {:.4} | {:.0} ms, {:.0} ms |",
        load.name,
        all as f64 / took.as_secs_f64(),
        million(requests),
        calls.iter().map(thousand).collect::<Vec<_>>().join(" + "),
        million(requests + 2 * larger) * SQS_REQUEST.dollars_per_million() / 1e6,
        age(50),
        age(99),
    );
    Ok(())
}

/// Through the adapter and the pull loop, as in the product.
async fn through_packs(fake: &queue::Fake, load: &Load, job: &Arc<Count>) -> anyhow::Result<Duration> {
    let config = AwsConfig { sqs_endpoint: Some(fake.endpoint.clone()), ..AwsConfig::default() };
    let metrics = Metrics::default();
    let aws = Aws::connect(config, &Weather::new(metrics.clone())).await?;
    let name = QueueName::main();
    let queues: Arc<dyn Queues> =
        SqsQueues::open(&aws, std::slice::from_ref(&name), SqsOptions::default()).await?;
    let stop = CancellationToken::new();
    let config = ConsumerConfig { slots: 512, ..ConsumerConfig::default() };
    let consumer = consume(
        queues.clone(),
        name.clone(),
        config,
        job.clone(),
        Weather::new(metrics.clone()),
        stop.clone(),
    );
    let consumer = tokio::spawn(consumer);
    let began = Instant::now();
    let one = move |body: String| {
        let (queues, queue) = (queues.clone(), name.clone());
        async move {
            let answers = queues.send(vec![Outgoing { queue, body: Bytes::from(body), user: None }]).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
    };
    send(one, load.rate, job.all).await;
    job.finished.notified().await;
    let took = began.elapsed();
    stop.cancel();
    consumer.await?;
    Ok(took)
}

async fn through_plain(fake: &queue::Fake, load: &Load, most: usize, job: &Arc<Count>) -> Duration {
    let plain = Plain::new(&fake.endpoint, QUEUE, most);
    let (sender, envelopes) = mpsc::channel(4096);
    let sending = tokio::spawn(plain.clone().send(envelopes));
    let stop = CancellationToken::new();
    let counted = job.clone();
    let done = move |bodies: Vec<String>| {
        let counted = counted.clone();
        tokio::spawn(async move { counted.count(bodies.iter().map(String::as_str)).await });
    };
    let consumer = tokio::spawn(plain.consume(done, stop.clone()));
    let began = Instant::now();
    let one = move |body: String| {
        let sender = sender.clone();
        async move {
            let (sent, waiting) = oneshot::channel();
            sender.send((body, sent)).await.expect("the sender lives");
            waiting.await.expect("it is sent");
        }
    };
    send(one, load.rate, job.all).await;
    job.finished.notified().await;
    let took = began.elapsed();
    stop.cancel();
    let _ended = tokio::join!(sending, consumer);
    took
}

/// Sends envelopes one by one: at a rate, or by several senders that each wait for their answer.
async fn send<S>(one: impl Fn(String) -> S + Clone + Send + 'static, rate: Option<u64>, all: u64)
where
    S: Future<Output = ()> + Send + 'static,
{
    let body = || {
        let mut body = format!("{} ", now());
        body.push_str(&"x".repeat(ENVELOPE - body.len()));
        body
    };
    let mut senders = JoinSet::new();
    if let Some(rate) = rate {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
        for _ in 0..all {
            ticks.tick().await;
            senders.spawn(one(body()));
        }
    } else {
        let left = Arc::new(AtomicU64::new(all));
        for _ in 0..SENDERS.min(all) {
            let (one, left) = (one.clone(), left.clone());
            let take =
                move || left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            senders.spawn(async move {
                while take().is_ok() {
                    one(body()).await;
                }
            });
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("a sender broke");
    }
}
