//! What SQS asks for envelopes that pass one queue, as a Markdown table: sent one by one, consumed by the pull loop, acked.
//!
//! `cargo run -p soundoff-aws --example sqs_cost -- [ENVELOPES]` (20,000 unless told), with any credentials and region in the
//! environment, as `AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1`: the engine is one of our own
//! that answers in 3 ms, and in 10 ms as SQS does from within its region.

#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../tests/support/queue.rs"]
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_aws::prices::SQS_REQUEST;
use soundoff_aws::sqs::{SqsOptions, SqsQueues};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::consumer::{ConsumerConfig, Job, Verdict, consume};
use soundoff_common::ports::queues::{Message, Outgoing, QueueName, Queues};
use soundoff_common::telemetry::{BillLabel, Metrics, RequestLabel};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

const ENVELOPE: usize = 260;
/// How many senders wait for an answer at once when there is no pace.
const SENDERS: u64 = 2000;

/// A load, and how many of the envelopes it takes: a trickle is as telling with fewer.
struct Load {
    name: &'static str,
    rate: Option<u64>,
    share: u64,
}

const LOADS: [Load; 4] = [
    Load { name: "trickle, 10/s", rate: Some(10), share: 100 },
    Load { name: "100/s", rate: Some(100), share: 20 },
    Load { name: "1,000/s", rate: Some(1000), share: 1 },
    Load { name: "as fast as it goes", rate: None, share: 1 },
];

/// Counts what came, and when.
#[derive(Default)]
struct Count {
    done: AtomicU64,
    all: u64,
    ages: Mutex<Vec<u64>>,
    finished: Notify,
}

#[async_trait]
impl Job for Count {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let mut ages = self.ages.lock().await;
        for message in batch {
            let text = std::str::from_utf8(&message.body).unwrap_or_default();
            let sent = text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            ages.push(now().saturating_sub(sent));
        }
        let count = batch.len() as u64;
        if self.done.fetch_add(count, Ordering::AcqRel) + count >= self.all {
            self.finished.notify_one();
        }
        vec![Verdict::Done; batch.len()]
    }

    async fn give_up(&self, _: &Message, _: &str) {}
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let envelopes = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    println!(
        "| load | answer after | envelopes | per second | requests per 1,000 | sends + receives + deletes + visibility | billed units per million | $ per million | p50, p99 to the handler |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for latency in [3, 10] {
        for load in &LOADS {
            measure(load, Duration::from_millis(latency), envelopes / load.share).await?;
        }
    }
    for (name, units) in [("one request a step", 3e6), ("batches of ten", 3e5)] {
        let dollars = units * SQS_REQUEST.dollars_per_million / 1e6;
        println!("| {name} (by arithmetic) | | | | {:.0} | | {units:.0} | {dollars:.4} | |", units / 1000.0);
    }
    Ok(())
}

async fn measure(load: &Load, latency: Duration, all: u64) -> anyhow::Result<()> {
    let fake = queue::Fake::serve(latency).await;
    let config = AwsConfig { sqs_endpoint: Some(fake.endpoint.clone()), ..AwsConfig::default() };
    let metrics = Metrics::default();
    let aws = Aws::connect(config, &metrics).await?;
    let name = QueueName::main();
    let queues: Arc<dyn Queues> =
        SqsQueues::open(&aws, std::slice::from_ref(&name), SqsOptions::default()).await?;
    let before = asked(&metrics, &["GetQueueUrl"]);
    let job = Arc::new(Count { all, ..Count::default() });
    let stop = CancellationToken::new();
    let config = ConsumerConfig { slots: 512, ..ConsumerConfig::default() };
    let consumer = consume(queues.clone(), name.clone(), config, job.clone(), metrics.clone(), stop.clone());
    let consumer = tokio::spawn(consumer);
    let began = Instant::now();
    send(&queues, &name, load.rate, all).await;
    job.finished.notified().await;
    let took = began.elapsed();
    stop.cancel();
    consumer.await?;
    let left = fake.bodies("soundoff-main_q").len();
    anyhow::ensure!(left == 0, "{left} messages were never deleted");
    let thousand = |actions: &[&str]| asked(&metrics, actions) as f64 * 1000.0 / all as f64;
    let label = BillLabel { service: SQS_REQUEST.service, unit: SQS_REQUEST.unit };
    let units = (metrics.bill.units.get_or_create(&label).get() - before as f64) * 1e6 / all as f64;
    let mut ages = job.ages.lock().await;
    ages.sort_unstable();
    let age = |part: usize| ages[(ages.len() - 1) * part / 100] as f64 / 1000.0;
    let parts = [
        thousand(&["SendMessageBatch", "SendMessage"]),
        thousand(&["ReceiveMessage"]),
        thousand(&["DeleteMessageBatch"]),
        thousand(&["ChangeMessageVisibilityBatch"]),
    ];
    println!(
        "| {} | {} ms | {all} | {:.0} | {:.1} | {:.1} + {:.1} + {:.1} + {:.1} | {units:.0} | {:.4} | {:.0} ms, {:.0} ms |",
        load.name,
        latency.as_millis(),
        all as f64 / took.as_secs_f64(),
        parts.iter().sum::<f64>(),
        parts[0],
        parts[1],
        parts[2],
        parts[3],
        units * SQS_REQUEST.dollars_per_million / 1e6,
        age(50),
        age(99),
    );
    Ok(())
}

fn asked(metrics: &Metrics, actions: &[&str]) -> u64 {
    let label = |action: &&str| RequestLabel { service: "sqs".to_owned(), action: (*action).to_owned() };
    actions.iter().map(|action| metrics.bill.requests.get_or_create(&label(action)).get()).sum()
}

/// Sends envelopes one by one: at a rate, or as many senders do that each wait for their answer.
async fn send(queues: &Arc<dyn Queues>, name: &QueueName, rate: Option<u64>, all: u64) {
    let one = |queues: Arc<dyn Queues>, queue: QueueName| async move {
        let mut body = format!("{} ", now());
        body.push_str(&"x".repeat(ENVELOPE - body.len()));
        let answers = queues.send(vec![Outgoing { queue, body: Bytes::from(body) }]).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    };
    let mut senders = tokio::task::JoinSet::new();
    if let Some(rate) = rate {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
        for _ in 0..all {
            ticks.tick().await;
            senders.spawn(one(queues.clone(), name.clone()));
        }
    } else {
        let left = Arc::new(AtomicU64::new(all));
        for _ in 0..SENDERS.min(all) {
            let (queues, name, left) = (queues.clone(), name.clone(), left.clone());
            let take =
                move || left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            senders.spawn(async move {
                while take().is_ok() {
                    one(queues.clone(), name.clone()).await;
                }
            });
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("a sender broke");
    }
}
