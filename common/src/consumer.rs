//! The pull loop: takes work only with a free slot, keeps long work out of sight, acks what is done.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ports::queues::{Message, QueueName, Queues, Receipt};
use crate::telemetry::{Metrics, QueueLabel};

/// How a queue is pulled.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerConfig {
    /// The most messages in progress at once.
    pub slots: usize,
    /// The most messages in one run of the job.
    pub batch: usize,
    /// How long a received message stays out of sight; extended while its run goes on.
    pub visibility: Duration,
    /// How long a receive waits for the first message.
    pub wait: Duration,
    /// How often a message is tried before it goes to the dead letters.
    pub max_receives: u32,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            slots: 64,
            batch: 1,
            visibility: Duration::from_secs(30),
            wait: Duration::from_secs(20),
            max_receives: 5,
        }
    }
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done with, whether it took effect or its sender was told why not.
    Done,
    /// To be tried again; the text says why, for the log.
    Retry(String),
    /// Not worth another try.
    Dead(String),
}

/// What a queue's messages are for.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Runs some messages, one verdict each, in order. A panic counts as [`Verdict::Retry`] for all of them.
    async fn run(&self, batch: &[Message]) -> Vec<Verdict>;

    /// Tells whoever waits for this message that it is given up, before it is buried.
    async fn give_up(&self, message: &Message, reason: &str);
}

/// The most receipts in one ack.
const ACKS: usize = 4096;

/// One queue's consumer.
#[derive(Clone)]
struct Consumer {
    queues: Arc<dyn Queues>,
    queue: QueueName,
    label: QueueLabel,
    config: ConsumerConfig,
    job: Arc<dyn Job>,
    metrics: Metrics,
    acks: mpsc::UnboundedSender<Receipt>,
}

/// Pulls `queue` until `stop`, then finishes what is in progress.
pub async fn consume(
    queues: Arc<dyn Queues>,
    queue: QueueName,
    config: ConsumerConfig,
    job: Arc<dyn Job>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    // Unbounded but never long: a receipt waits here only while its message holds no slot and one ack is in flight.
    let (acks, pending) = mpsc::unbounded_channel();
    let acking = tokio::spawn(ack_all(queues.clone(), queue.clone(), pending));
    let label = QueueLabel { queue: queue.to_string() };
    let consumer = Consumer { queues, queue, label, config, job, metrics, acks };
    consumer.pull(stop).await;
    drop(consumer);
    if let Err(error) = acking.await {
        tracing::error!(%error, "the ack task broke; its messages come again");
    }
}

/// Acks receipts, gathering whatever comes while one ack is in flight: an adapter may take its time over one, so that the next is fuller.
async fn ack_all(queues: Arc<dyn Queues>, queue: QueueName, mut pending: mpsc::UnboundedReceiver<Receipt>) {
    let mut receipts = Vec::new();
    while pending.recv_many(&mut receipts, ACKS).await > 0 {
        if let Err(error) = queues.ack(&queue, std::mem::take(&mut receipts)).await {
            // They come again, and their dedupe records stop a second effect.
            tracing::warn!(%queue, %error, "cannot ack");
        }
    }
}

impl Consumer {
    async fn pull(&self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.config.slots));
        let tracker = TaskTracker::new();
        let mut failures = 0;
        while let Some(mut permits) = self.free_slots(&slots, &stop).await {
            let receive = self.queues.receive(
                &self.queue,
                permits.num_permits(),
                self.config.wait,
                self.config.visibility,
            );
            let received = tokio::select! {
                biased;
                received = receive => received,
                () = stop.cancelled() => break,
            };
            match received {
                Ok(messages) => {
                    failures = 0;
                    self.start(messages, &mut permits, &tracker);
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(queue = %self.queue, %error, "cannot receive");
                    let pause = tokio::time::sleep(Duration::from_millis(50 << failures.min(6)));
                    tokio::select! { () = pause => {}, () = stop.cancelled() => break }
                }
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// All slots that are free, at least one; `None` when asked to stop.
    async fn free_slots(
        &self,
        slots: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<OwnedSemaphorePermit> {
        let one = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            one = slots.clone().acquire_owned() => one,
        };
        let mut permits = one.expect("nobody closes the slots");
        while let Ok(more) = slots.clone().try_acquire_many_owned(slots.available_permits().max(1) as u32) {
            permits.merge(more);
        }
        Some(permits)
    }

    fn start(&self, messages: Vec<Message>, permits: &mut OwnedSemaphorePermit, tracker: &TaskTracker) {
        self.metrics.consumer_received.get_or_create(&self.label).inc_by(messages.len() as u64);
        let mut messages = messages.into_iter();
        loop {
            let batch: Vec<Message> = messages.by_ref().take(self.config.batch).collect();
            if batch.is_empty() {
                return;
            }
            let permit = permits.split(batch.len()).expect("never more messages than slots were asked for");
            let consumer = self.clone();
            tracker.spawn(async move {
                consumer.run(batch).await;
                drop(permit);
            });
        }
    }

    async fn run(&self, batch: Vec<Message>) {
        let in_flight = self.metrics.consumer_in_flight.get_or_create_owned(&self.label);
        in_flight.inc_by(batch.len() as i64);
        let begun = Instant::now();
        let (worn_out, batch): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|message| message.attempt > self.config.max_receives);
        let mut count = batch.len() as i64;
        for message in worn_out {
            count += 1;
            // Its last try ended without a word: the process died with it.
            self.bury(&message, "the process died while working on it").await;
        }
        if !batch.is_empty() {
            let verdicts = self.verdicts(&batch).await;
            for (message, verdict) in batch.iter().zip(verdicts) {
                self.settle(message, verdict).await;
            }
        }
        self.metrics.consumer_run_seconds.get_or_create(&self.label).observe(begun.elapsed().as_secs_f64());
        in_flight.dec_by(count);
    }

    /// Runs the job, extending the messages' visibility for as long as it takes.
    async fn verdicts(&self, batch: &[Message]) -> Vec<Verdict> {
        let run = AssertUnwindSafe(self.job.run(batch)).catch_unwind();
        tokio::pin!(run);
        let half = self.config.visibility / 2;
        loop {
            let finished = match tokio::time::timeout(half, &mut run).await {
                Ok(finished) => finished,
                Err(_) => {
                    let receipts = batch.iter().map(|message| message.receipt.clone()).collect();
                    if let Err(error) =
                        self.queues.extend(&self.queue, receipts, self.config.visibility).await
                    {
                        tracing::warn!(queue = %self.queue, %error, "cannot extend");
                    }
                    continue;
                }
            };
            return match finished {
                Ok(verdicts) if verdicts.len() == batch.len() => verdicts,
                Ok(_) => vec![Verdict::Retry("the job lost count of its messages".to_owned()); batch.len()],
                Err(_) => vec![Verdict::Retry("the job panicked".to_owned()); batch.len()],
            };
        }
    }

    async fn settle(&self, message: &Message, verdict: Verdict) {
        match verdict {
            Verdict::Done => {
                self.metrics.consumer_done.get_or_create(&self.label).inc();
                self.metrics.bill.took_message();
                // The ack task outlives every run; if it broke, the message comes again.
                let _ = self.acks.send(message.receipt.clone());
            }
            Verdict::Retry(reason) if message.attempt >= self.config.max_receives => {
                self.bury(message, &reason).await;
            }
            Verdict::Retry(reason) => {
                self.metrics.consumer_retried.get_or_create(&self.label).inc();
                tracing::warn!(queue = %self.queue, attempt = message.attempt, reason, "will be tried again");
                let pause = Duration::from_millis(100 << message.attempt.min(8)).min(self.config.visibility);
                let receipts = vec![message.receipt.clone()];
                if let Err(error) = self.queues.extend(&self.queue, receipts, pause).await {
                    tracing::warn!(queue = %self.queue, %error, "cannot hasten the next try");
                }
            }
            Verdict::Dead(reason) => self.bury(message, &reason).await,
        }
    }

    async fn bury(&self, message: &Message, reason: &str) {
        tracing::error!(queue = %self.queue, attempt = message.attempt, reason, "given up: to the dead letters");
        self.metrics.consumer_buried.get_or_create(&self.label).inc();
        self.job.give_up(message, reason).await;
        if let Err(error) = self.queues.bury(&self.queue, message.receipt.clone(), reason).await {
            tracing::warn!(queue = %self.queue, %error, "cannot bury; it comes again");
        }
    }
}
