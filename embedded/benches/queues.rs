//! The throughput of the queue log on this disk: `cargo bench -p soundoff-embedded --bench queues [-- DIRECTORY]`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_common::ports::queues::{Outgoing, QueueName, Queues, Receipt};
use soundoff_embedded::queues::{EmbeddedQueues, Options};

const HIDDEN: Duration = Duration::from_secs(600);
const SPAN: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let root = given.map_or_else(std::env::temp_dir, Into::into);
    for senders in [1, 10, 100] {
        let dir = tempfile::tempdir_in(&root).expect("a directory");
        append(dir.path(), senders).await;
    }
    for (in_flight, batch) in [(1, 1), (10, 1), (100, 1), (200, 10), (1000, 10)] {
        let dir = tempfile::tempdir_in(&root).expect("a directory");
        hops(dir.path(), in_flight, batch).await;
    }
}

fn first() -> QueueName {
    QueueName::new("main_q")
}

fn second() -> QueueName {
    QueueName::new("post_create_q")
}

fn open(dir: &Path) -> Arc<EmbeddedQueues> {
    EmbeddedQueues::open(dir, &[first(), second()], Options::default()).expect("the log opens")
}

/// A message of the usual size: an envelope of about 400 bytes.
fn body() -> Bytes {
    Bytes::from(vec![b'x'; 400])
}

async fn append(dir: &Path, senders: usize) {
    let queues = open(dir);
    let sent = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let (queues, sent) = (queues.clone(), sent.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while began.elapsed() < SPAN {
                    let start = Instant::now();
                    let answers =
                        queues.send(vec![Outgoing { queue: first(), body: body(), user: None }]).await;
                    assert!(answers[0].is_ok());
                    times.push(start.elapsed());
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a sender"));
    }
    report(&format!("append, {senders} senders"), sent.load(Ordering::Relaxed), began.elapsed(), times);
}

/// send → receive → send → receive → ack, `in_flight` messages on their way at once, moved in batches of `batch`.
async fn hops(dir: &Path, in_flight: usize, batch: usize) {
    let queues = open(dir);
    let began = Instant::now();
    let router = tokio::spawn(forward(queues.clone(), batch));
    let window = Arc::new(tokio::sync::Semaphore::new(in_flight));
    let worker = tokio::spawn(finish(queues.clone(), batch, window.clone(), began));
    let mut senders = Vec::new();
    for _ in 0..in_flight.div_ceil(batch) {
        let (queues, window) = (queues.clone(), window.clone());
        senders.push(tokio::spawn(async move {
            while began.elapsed() < SPAN {
                window.acquire_many(u32::try_from(batch).expect("small")).await.expect("open").forget();
                // The body holds the time at which it was sent.
                let stamp = u64::try_from(began.elapsed().as_nanos()).expect("a short run").to_le_bytes();
                let mut body = body().to_vec();
                body[..8].copy_from_slice(&stamp);
                let outgoing = Outgoing { queue: first(), body: body.into(), user: None };
                assert!(queues.send(vec![outgoing; batch]).await.iter().all(Result::is_ok));
            }
        }));
    }
    for sender in senders {
        sender.await.expect("a sender");
    }
    let (times, span) = worker.await.expect("the worker");
    router.abort();
    report(&format!("two hops, {in_flight} in flight in {batch}s"), times.len(), span, times);
}

async fn forward(queues: Arc<EmbeddedQueues>, batch: usize) {
    let lanes = Arc::new(tokio::sync::Semaphore::new(64));
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("open");
        let got = queues.receive(&first(), batch, HIDDEN, HIDDEN).await.expect("a receive");
        let queues = queues.clone();
        tokio::spawn(async move {
            let onward = got.iter();
            let onward =
                onward.map(|m| Outgoing { queue: second(), body: m.body.clone(), user: None }).collect();
            assert!(queues.send(onward).await.iter().all(Result::is_ok));
            let receipts: Vec<Receipt> = got.into_iter().map(|m| m.receipt).collect();
            queues.ack(&first(), receipts).await.expect("an ack");
            drop(lane);
        });
    }
}

async fn finish(
    queues: Arc<EmbeddedQueues>,
    batch: usize,
    window: Arc<tokio::sync::Semaphore>,
    began: Instant,
) -> (Vec<Duration>, Duration) {
    let (mut times, mut last) = (Vec::new(), Duration::ZERO);
    loop {
        let wait = Duration::from_millis(500);
        let got = queues.receive(&second(), batch, wait, HIDDEN).await.expect("a receive");
        if got.is_empty() && began.elapsed() > SPAN {
            return (times, last);
        }
        last = began.elapsed();
        for message in &got {
            let stamp = u64::from_le_bytes(message.body[..8].try_into().expect("a stamp"));
            times.push(began.elapsed() - Duration::from_nanos(stamp));
        }
        window.add_permits(got.len());
        queues.ack(&second(), got.into_iter().map(|m| m.receipt).collect()).await.expect("an ack");
    }
}

fn report(what: &str, count: usize, span: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at =
        |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let rate = count as f64 / span.as_secs_f64();
    println!("{what:<36} {rate:>9.0} msg/s   p50 {:>7.3} ms   p99 {:>7.3} ms", at(50), at(99));
}
