//! The pull loop on queues in memory, on a clock that stands still while something is to be done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::*;
use crate::ports::memory::MemoryQueues;
use crate::ports::queues::{Depth, Outgoing};
use crate::protocol::ErrorCode;
use crate::telemetry::Metrics;

const SLOTS: usize = 4;
const VISIBILITY: Duration = Duration::from_secs(4);

fn queue() -> QueueName {
    QueueName::new("note_make_q")
}

/// A job whose messages wait while the weather is bad; all of them, or `only` those that begin so.
#[derive(Default)]
struct Weathered {
    is_bad: AtomicBool,
    only: Option<&'static str>,
    runs: Mutex<HashMap<Bytes, usize>>,
    given_up: Mutex<Vec<Bytes>>,
    dead: AtomicUsize,
    refused: AtomicUsize,
}

#[async_trait]
impl Job for Weathered {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let mut runs = self.runs.lock().unwrap();
        let verdicts = batch.iter().map(|message| {
            *runs.entry(message.body.clone()).or_default() += 1;
            let waits = self.only.is_none_or(|only| message.body.starts_with(only.as_bytes()));
            match &message.body[..] {
                b"poison" => Verdict::Retry("poison".to_owned()),
                b"corrupt" => Verdict::Dead("corrupt".to_owned()),
                b"bad" => Verdict::Refused(ErrorBody::new(ErrorCode::Forbidden, "bad")),
                _ if waits && self.is_bad.load(Ordering::SeqCst) => Verdict::Wait("bad weather".to_owned()),
                _ => Verdict::Done,
            }
        });
        verdicts.collect()
    }

    async fn give_up(&self, message: &Message, _: &str) {
        self.dead.fetch_add(1, Ordering::SeqCst);
        self.given_up.lock().unwrap().push(message.body.clone());
    }

    async fn refuse(&self, _: &Message, error: &ErrorBody) {
        assert_eq!(error.code, ErrorCode::Forbidden);
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

struct Bench {
    queues: Arc<MemoryQueues>,
    job: Arc<Weathered>,
    metrics: Metrics,
    weather: Weather,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Bench {
    fn start(job: Weathered, batch: usize) -> Self {
        let (queues, job, metrics) = (Arc::new(MemoryQueues::new([queue()])), Arc::new(job), Metrics::new());
        let (weather, stop) = (Weather::new(metrics.clone()), CancellationToken::new());
        let config =
            ConsumerConfig { slots: SLOTS, batch, visibility: VISIBILITY, ..ConsumerConfig::default() };
        let running = tokio::spawn(consume(
            queues.clone(),
            queue(),
            config,
            job.clone(),
            weather.clone(),
            stop.clone(),
        ));
        Self { queues, job, metrics, weather, stop, running }
    }

    async fn send(&self, bodies: &[&str]) {
        let out =
            |body: &&str| Outgoing { queue: queue(), body: Bytes::from((*body).to_owned()), user: None };
        let sent = self.queues.send(bodies.iter().map(out).collect()).await;
        sent.into_iter().for_each(|sent| sent.unwrap());
    }

    async fn depth(&self) -> Depth {
        self.queues.depth(&queue()).await.unwrap()
    }

    fn waiting(&self) -> i64 {
        self.metrics.of_consumer(&queue()).waiting.get()
    }

    /// Lets time pass until something is so.
    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..10_000 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {what}");
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn bad() -> Weathered {
    Weathered { is_bad: AtomicBool::new(true), ..Weathered::default() }
}

#[test]
fn extensions_come_before_a_message_is_seen_again_and_never_without_a_pause() {
    assert_eq!(between_extensions(Duration::from_secs(30)), Duration::from_secs(15));
    assert_eq!(between_extensions(Duration::ZERO), SHORTEST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn what_waits_keeps_its_slot_is_seen_by_nobody_else_and_is_done_once_when_the_engine_is_back() {
    let bench = Bench::start(bad(), 1);
    bench.send(&["1", "2", "3", "4", "5", "6"]).await;
    bench.until("all slots wait", async || bench.waiting() == SLOTS as i64).await;
    // Far longer than the visibility timeout, and than all tries together would take.
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Depth { visible, in_flight, dead, .. } = bench.depth().await;
        assert_eq!((visible, in_flight, dead), (2, SLOTS as u64, 0), "pulling has stopped by itself");
    }
    let most = bench.job.runs.lock().unwrap().values().copied().max().unwrap();
    assert!((500..1_000).contains(&most), "about once a second: {most}");
    let metrics = bench.metrics.of_consumer(&queue());
    assert_eq!((metrics.received.get(), metrics.retried.get(), metrics.buried.get()), (SLOTS as u64, 0, 0));

    bench.job.is_bad.store(false, Ordering::SeqCst);
    bench.until("all done", async || bench.depth().await == Depth::default()).await;
    assert_eq!((metrics.done.get(), metrics.buried.get(), bench.waiting()), (6, 0, 0));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_closes_wakes_what_waits() {
    let bench = Bench::start(bad(), 1);
    let breaker = bench.weather.engine("tables");
    while let Some(pass) = breaker.admit() {
        pass.end(false);
    }
    bench.send(&["1"]).await;
    bench
        .until("it waits long by now", async || bench.job.runs.lock().unwrap().values().any(|n| *n > 8))
        .await;
    bench.job.is_bad.store(false, Ordering::SeqCst);
    for _ in 0..8 {
        breaker.admitted(Duration::from_secs(5)).await.unwrap().end(true);
    }
    let back = tokio::time::Instant::now();
    while bench.depth().await != Depth::default() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(back.elapsed() <= Duration::from_millis(50), "{:?}", back.elapsed());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_run_only_what_waits_keeps_slots() {
    let job = Weathered { only: Some("w"), ..bad() };
    let bench = Bench::start(job, SLOTS);
    bench.send(&["w1", "2", "3", "4"]).await;
    bench.until("one waits", async || bench.depth().await.in_flight == 1).await;
    bench.send(&["5", "6", "7", "8", "9", "10"]).await;
    bench.until("the others are done", async || bench.metrics.of_consumer(&queue()).done.get() == 9).await;
    assert_eq!(bench.waiting(), 1);
    bench.send(&["w2", "w3", "w4", "w5"]).await;
    bench.until("no slot is free", async || bench.waiting() == SLOTS as i64).await;
    let Depth { visible, in_flight, .. } = bench.depth().await;
    assert_eq!((visible, in_flight), (1, SLOTS as u64), "never more than there are slots");
    bench.job.is_bad.store(false, Ordering::SeqCst);
    bench.until("all done", async || bench.depth().await == Depth::default()).await;
    assert!(bench.job.runs.lock().unwrap().iter().all(|(body, runs)| *runs == 1 || body.starts_with(b"w")));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_stopped_gives_back_what_waits_at_once() {
    let bench = Bench::start(bad(), 1);
    bench.send(&["1", "2"]).await;
    bench.until("both wait", async || bench.waiting() == 2).await;
    let Bench { queues, stop, running, .. } = bench;
    let asked = tokio::time::Instant::now();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(queues.depth(&queue()).await.unwrap().visible, 2);
    let again = queues.receive(&queue(), 2, Duration::ZERO, VISIBILITY).await.unwrap();
    assert_eq!(again.iter().map(|message| message.attempt).collect::<Vec<_>>(), [1, 1], "it was no try");
}

#[tokio::test(start_paused = true)]
async fn poison_is_given_up_after_all_its_tries_and_what_helps_nothing_at_once() {
    let bench = Bench::start(Weathered::default(), 1);
    let begun = tokio::time::Instant::now();
    bench.send(&["poison", "corrupt"]).await;
    bench.until("both are dead", async || bench.depth().await.dead == 2).await;
    // 200, 400, 800 and 1600 ms.
    assert!(begun.elapsed() >= Duration::from_secs(3), "its tries come further and further apart");
    let runs = bench.job.runs.lock().unwrap().clone();
    assert_eq!((runs[&Bytes::from("poison")], runs[&Bytes::from("corrupt")]), (5, 1));
    assert_eq!(*bench.job.given_up.lock().unwrap(), ["corrupt", "poison"]);
    let metrics = bench.metrics.of_consumer(&queue());
    assert_eq!((metrics.retried.get(), metrics.buried.get(), metrics.in_flight.get()), (4, 2, 0));
    bench.end().await;
}

/// A job that loses count.
struct Miscounting;

#[async_trait]
impl Job for Miscounting {
    async fn run(&self, _: &[Message]) -> Vec<Verdict> {
        Vec::new()
    }

    async fn give_up(&self, _: &Message, _: &str) {}

    async fn refuse(&self, _: &Message, _: &ErrorBody) {}
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_verdict_for_each_message_is_tried_again() {
    let (queues, stop) = (Arc::new(MemoryQueues::new([queue()])), CancellationToken::new());
    queues
        .send(vec![Outgoing { queue: queue(), body: Bytes::from_static(b"1"), user: None }])
        .await
        .remove(0)
        .unwrap();
    let weather = Weather::new(Metrics::new());
    let running = consume(
        queues.clone(),
        queue(),
        ConsumerConfig::default(),
        Arc::new(Miscounting),
        weather.clone(),
        stop.clone(),
    );
    let running = tokio::spawn(running);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(weather.metrics().of_consumer(&queue()).retried.get(), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_asked_less_and_less_often() {
    let (queues, stop) = (Arc::new(MemoryQueues::new([])), CancellationToken::new());
    let (config, job) = (ConsumerConfig::default(), Arc::new(Weathered::default()));
    let weather = Weather::new(Metrics::new());
    let running = tokio::spawn(consume(queues.clone(), queue(), config, job, weather, stop.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = queues.receives();
    // After 0.1, 0.2, 0.4, 0.8 and 1.6 s, and then every 3.2 s.
    assert!((20..=24).contains(&asked), "asked {asked} times in a minute");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sender_hears_of_a_burial_when_it_is_true_and_once() {
    let bench = Bench::start(Weathered::default(), 1);
    bench.send(&["corrupt"]).await;
    // Nothing runs until this test waits.
    bench.queues.take_away([queue()]);
    tokio::time::sleep(3 * VISIBILITY).await;
    assert!(bench.job.runs.lock().unwrap()[&Bytes::from("corrupt")] > 1, "it came again");
    assert_eq!((bench.depth().await.dead, bench.job.dead.load(Ordering::SeqCst)), (0, 0));
    bench.queues.take_away([]);
    bench.until("it is dead", async || bench.depth().await.dead == 1).await;
    bench.until("its sender knows", async || bench.job.dead.load(Ordering::SeqCst) == 1).await;
    assert_eq!(bench.metrics.of_consumer(&queue()).buried.get(), 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_hears_of_a_refusal_when_the_message_cannot_come_again() {
    let bench = Bench::start(Weathered::default(), 1);
    bench.send(&["bad"]).await;
    // Nothing runs until this test waits.
    bench.queues.take_away([queue()]);
    tokio::time::sleep(3 * VISIBILITY).await;
    assert!(bench.job.runs.lock().unwrap()[&Bytes::from("bad")] > 1, "it was not acked and came again");
    assert_eq!(bench.job.refused.load(Ordering::SeqCst), 0);
    bench.queues.take_away([]);
    bench.until("its sender knows", async || bench.job.refused.load(Ordering::SeqCst) == 1).await;
    assert_eq!(bench.depth().await, Depth::default());
    assert_eq!(bench.metrics.of_consumer(&queue()).done.get(), 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn receives_count_as_tries_only_in_calm_weather() {
    let (weather, config) = (Weather::new(Metrics::new()), ConsumerConfig::default());
    let breaker = weather.engine("queues");
    let consumer = Consumer {
        queues: Arc::new(MemoryQueues::new([queue()])),
        queue: queue(),
        config,
        job: Arc::new(Weathered::default()),
        metrics: weather.metrics().of_consumer(&queue()),
        weather,
        stop: CancellationToken::new(),
        tasks: 1,
        acks: mpsc::unbounded_channel().0,
    };
    let of = |attempt| Message { receipt: Receipt(Bytes::new()), body: Bytes::new(), attempt, sent_at: 0 };
    let spent = || {
        [(4, 1), (5, 1), (5, 0), (6, 0)].map(|(attempt, present)| consumer.is_spent(&of(attempt), present))
    };
    assert_eq!(spent(), [false, true, false, true], "no engine was ever away");
    while let Some(pass) = breaker.admit() {
        pass.end(false);
    }
    assert_eq!(spent(), [false; 4], "a queue that is away shows again what is in progress");
    for _ in 0..8 {
        breaker.admitted(Duration::from_secs(5)).await.unwrap().end(true);
    }
    tokio::time::sleep(config.visibility * config.max_receives - Duration::from_secs(1)).await;
    assert_eq!(spent(), [false; 4], "what was received then may still come");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(spent(), [false, true, false, true]);
}
