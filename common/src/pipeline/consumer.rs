//! The pull loop: receives work only with a free slot, extends the visibility timeout of long work, acks what is done,
//! and keeps what an absent engine holds up.

use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::Weather;
use crate::ports::queues::{Message, QueueError, QueueName, Queues, Receipt};
use crate::protocol::{ErrorBody, now_ms};
use crate::telemetry::ConsumerMetrics;

/// How a queue is pulled.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerConfig {
    /// The most messages in progress at once.
    pub slots: usize,
    /// The most messages in one run of the job.
    pub batch: usize,
    /// The visibility timeout of a received message; extended while its run goes on.
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

/// The outcome of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done: it took effect, or its sender got the reason why not.
    Done,
    /// It must be tried again; the text says why, for the log.
    Retry(String),
    /// Nothing is wrong with the message: an engine is away, or others were faster at the same items. It keeps its
    /// slot and runs again, and this run counts as no try. The text says why, for the log.
    Wait(String),
    /// Its sender's mistake: it is done, and its sender hears why when it cannot come again.
    Refused(ErrorBody),
    /// Another try would not help.
    Dead(String),
}

/// What a queue's messages are for.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Runs some messages; returns a verdict for each, in order. A panic counts as [`Verdict::Retry`] for all of them.
    async fn run(&self, batch: &[Message]) -> Vec<Verdict>;

    /// Reports to the sender, if one waits, that this message is given up: it is among the dead letters.
    async fn give_up(&self, message: &Message, reason: &str);

    /// Reports to the sender why its message was refused: it is acked.
    async fn refuse(&self, message: &Message, error: &ErrorBody);
}

/// The most receipts in one ack.
const ACKS: usize = 4096;

/// How many tasks for each core share what one receive brought: enough that a long run leaves work for the other cores.
const TASKS_PER_CORE: usize = 2;

const UNPOISONED: &str = "nothing panics while it frees a slot";

/// The shortest pause between two extensions: a visibility near zero must not keep a processor busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// How long a run goes on before its messages are kept out of sight again.
fn between_extensions(visibility: Duration) -> Duration {
    (visibility / 2).max(SHORTEST_PAUSE)
}

/// The first pause of a message that waits; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest pause. A run is cheap while an engine is away: its breaker refuses the call.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One queue's consumer.
struct Consumer {
    queues: Arc<dyn Queues>,
    queue: QueueName,
    config: ConsumerConfig,
    job: Arc<dyn Job>,
    metrics: ConsumerMetrics,
    weather: Weather,
    stop: CancellationToken,
    /// How many tasks share what one receive brought.
    tasks: usize,
    acks: mpsc::UnboundedSender<Ack>,
}

/// A message to be acked, and who wants to know whether it was.
struct Ack {
    receipt: Receipt,
    acked: Option<oneshot::Sender<()>>,
}

/// The messages of one run, and their slots.
struct Batch {
    messages: Vec<Message>,
    slots: OwnedSemaphorePermit,
}

/// What a run holds: a slot for each of its messages, or only for those that wait.
struct Hold {
    slots: OwnedSemaphorePermit,
    waiting: Option<Vec<Receipt>>,
}

fn receipts(messages: &[Message]) -> impl Iterator<Item = Receipt> {
    messages.iter().map(|message| message.receipt.clone())
}

/// Where a run's hold is among those of its task.
#[derive(Clone, Copy)]
struct Place<'a> {
    holds: &'a Mutex<Vec<Option<Hold>>>,
    at: usize,
}

impl Place<'_> {
    /// Frees what the run holds for all messages but these.
    fn keep(self, messages: &[Message]) {
        if let Some(hold) = &mut self.holds.lock().expect(UNPOISONED)[self.at]
            && messages.len() < hold.slots.num_permits()
        {
            hold.waiting = Some(receipts(messages).collect());
            drop(hold.slots.split(hold.slots.num_permits() - messages.len()));
        }
    }
}

/// Pulls `queue` until `stop`, then finishes what is in progress.
pub async fn consume(
    queues: Arc<dyn Queues>,
    queue: QueueName,
    config: ConsumerConfig,
    job: Arc<dyn Job>,
    weather: Weather,
    stop: CancellationToken,
) {
    // Unbounded but never long: a receipt waits here only while its message holds no slot and another ack is in flight.
    let (acks, pending) = mpsc::unbounded_channel();
    let acking = tokio::spawn(ack_all(queues.clone(), queue.clone(), pending));
    let metrics = weather.metrics().of_consumer(&queue);
    // Asked once: the answer is read from files.
    let tasks = TASKS_PER_CORE * std::thread::available_parallelism().map_or(1, NonZero::get);
    let consumer = Consumer { queues, queue, config, job, metrics, weather, stop, tasks, acks };
    let consumer = Arc::new(consumer);
    consumer.pull().await;
    drop(consumer);
    if let Err(error) = acking.await {
        tracing::error!(%error, "the ack task broke; its messages come again");
    }
}

/// Acks receipts, and gathers those that come while one ack is in flight: when an adapter takes long over one, the next
/// one is fuller.
async fn ack_all(queues: Arc<dyn Queues>, queue: QueueName, mut pending: mpsc::UnboundedReceiver<Ack>) {
    let mut gathered = Vec::new();
    while pending.recv_many(&mut gathered, ACKS).await > 0 {
        let (receipts, acked): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|ack| (ack.receipt, ack.acked)).unzip();
        match queues.ack(&queue, receipts).await {
            // Nobody may wait any more.
            Ok(()) => acked.into_iter().flatten().for_each(|acked| {
                let _ = acked.send(());
            }),
            // The messages come again, and their dedupe records prevent a second effect.
            Err(error) => tracing::warn!(%queue, %error, "cannot ack"),
        }
    }
}

impl Consumer {
    async fn pull(self: &Arc<Self>) {
        let slots = Arc::new(Semaphore::new(self.config.slots));
        let tracker = TaskTracker::new();
        let mut failures = 0;
        while let Some(mut permits) = self.free_slots(&slots).await {
            let receive = self.queues.receive(
                &self.queue,
                permits.num_permits(),
                self.config.wait,
                self.config.visibility,
            );
            let received = tokio::select! {
                biased;
                received = receive => received,
                () = self.stop.cancelled() => break,
            };
            match received {
                Ok(messages) => {
                    failures = 0;
                    let now = now_ms();
                    messages.iter().for_each(|message| {
                        // One that comes again says how long its run took.
                        if message.attempt == 1 {
                            self.metrics.lag.note(now.saturating_sub(message.sent_at));
                        }
                    });
                    self.start(messages, &mut permits, &tracker);
                }
                Err(error) => {
                    failures += 1;
                    self.cannot("receive", &error);
                    let pause = tokio::time::sleep(Duration::from_millis(50 << failures.min(6)));
                    tokio::select! { () = pause => {}, () = self.stop.cancelled() => break }
                }
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// All slots that are free, at least one; `None` when asked to stop.
    async fn free_slots(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let one = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            one = slots.clone().acquire_owned() => one,
        };
        let mut permits = one.expect("nobody closes the slots");
        while let Ok(more) = slots.clone().try_acquire_many_owned(slots.available_permits().max(1) as u32) {
            permits.merge(more);
        }
        Some(permits)
    }

    /// Shares what was received among a few tasks: one task for each message would cost as much as a short run.
    fn start(
        self: &Arc<Self>,
        messages: Vec<Message>,
        permits: &mut OwnedSemaphorePermit,
        tracker: &TaskTracker,
    ) {
        self.metrics.received.inc_by(messages.len() as u64);
        let runs = messages.len().div_ceil(self.config.batch);
        let in_a_task = runs.div_ceil(self.tasks);
        let mut messages = messages.into_iter();
        let mut batches = std::iter::from_fn(|| {
            let messages: Vec<Message> = messages.by_ref().take(self.config.batch).collect();
            let slots = permits.split(messages.len()).expect("never more messages than slots were asked for");
            (!messages.is_empty()).then_some(Batch { messages, slots })
        });
        loop {
            let share: Vec<Batch> = batches.by_ref().take(in_a_task).collect();
            if share.is_empty() {
                return;
            }
            let consumer = self.clone();
            tracker.spawn(async move { consumer.run_all(share).await });
        }
    }

    /// Runs batches side by side, and extends the visibility timeout of those that take long. The slots of each are
    /// free as soon as it ends.
    async fn run_all(&self, batches: Vec<Batch>) {
        let hold = |Batch { messages, slots }| (messages, Some(Hold { slots, waiting: None }));
        let (messages, holds): (Vec<_>, Vec<_>) = batches.into_iter().map(hold).unzip();
        let holds = &Mutex::new(holds);
        let run = |(at, batch)| async move {
            self.run(batch, Place { holds, at }).await;
            at
        };
        let mut runs: FuturesUnordered<_> = messages.iter().map(Vec::as_slice).enumerate().map(run).collect();
        let finish = async {
            while let Some(at) = runs.next().await {
                drop(holds.lock().expect(UNPOISONED)[at].take());
            }
        };
        let extend = async {
            loop {
                tokio::time::sleep(between_extensions(self.config.visibility)).await;
                let mut going_on = Vec::new();
                for (batch, hold) in messages.iter().zip(&*holds.lock().expect(UNPOISONED)) {
                    match hold {
                        Some(Hold { waiting: Some(waiting), .. }) => going_on.extend_from_slice(waiting),
                        Some(_) => going_on.extend(receipts(batch)),
                        None => {}
                    }
                }
                if let Err(error) = self.queues.extend(&self.queue, going_on, self.config.visibility).await {
                    self.cannot("extend", &error);
                }
            }
        };
        // Side by side: an engine that is slow to extend delays no run.
        tokio::select! {
            biased;
            () = finish => {}
            () = extend => {}
        }
    }

    async fn run(&self, batch: &[Message], place: Place<'_>) {
        self.metrics.in_flight.inc_by(batch.len() as i64);
        let begun = Instant::now();
        let is_worn_out = |message: &Message| self.is_spent(message, 0);
        if batch.iter().any(is_worn_out) {
            let (worn_out, rest): (Vec<_>, Vec<_>) = batch.iter().cloned().partition(is_worn_out);
            for message in worn_out {
                // Its last try ended without a verdict: the process died with it.
                self.bury(&message, "the process died while working on it").await;
            }
            self.work(&rest, place).await;
        } else {
            self.work(batch, place).await;
        }
        self.metrics.run_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.in_flight.dec_by(batch.len() as i64);
    }

    async fn work(&self, batch: &[Message], place: Place<'_>) {
        if batch.is_empty() {
            return;
        }
        let waiting = self.try_all(batch).await;
        if !waiting.is_empty() {
            self.outlast(waiting, place).await;
        }
    }

    /// Runs messages once and settles them; returns those that must wait.
    async fn try_all(&self, batch: &[Message]) -> Vec<Message> {
        let mut waiting = Vec::new();
        for (message, verdict) in batch.iter().zip(self.verdicts(batch).await) {
            if self.settle(message, verdict).await {
                waiting.push(message.clone());
            }
        }
        waiting
    }

    /// Keeps messages in their slots, out of everybody else's sight, and runs them again until no engine's absence is
    /// in their way. So a consumer whose engine is away stops pulling, and buries nothing for it.
    async fn outlast(&self, mut waiting: Vec<Message>, place: Place<'_>) {
        let mut cleared = self.weather.cleared();
        let mut pause = FIRST_WAIT;
        while !waiting.is_empty() {
            place.keep(&waiting);
            self.metrics.waiting.inc_by(waiting.len() as i64);
            let drawn = pause.mul_f64(rand::rng().random_range(0.75..1.25));
            let stopped = tokio::select! {
                biased;
                () = self.stop.cancelled() => true,
                _ = cleared.changed() => false,
                () = tokio::time::sleep(drawn) => false,
            };
            self.metrics.waiting.dec_by(waiting.len() as i64);
            if stopped {
                return self.let_go(&waiting).await;
            }
            pause = (pause * 2).min(LONGEST_WAIT);
            waiting = self.try_all(&waiting).await;
        }
    }

    /// Whether all tries of a message are over, `present` of which is going on. Receives that an outage may have caused
    /// do not count: a queue that is away shows again what is in progress, though nobody's try has failed.
    fn is_spent(&self, message: &Message, present: u32) -> bool {
        let calm = self.config.visibility * self.config.max_receives;
        message.attempt + present > self.config.max_receives && self.weather.calm_for() >= calm
    }

    /// Logs that the queue does not do something; once for an outage, as its breaker logs that.
    fn cannot(&self, what: &str, error: &QueueError) {
        if self.weather.is_calm() {
            tracing::warn!(queue = %self.queue, %error, "cannot {what}");
        } else {
            tracing::debug!(queue = %self.queue, %error, "cannot {what}");
        }
    }

    /// Leaves messages to the one who pulls the queue next; their receive was no try.
    async fn let_go(&self, messages: &[Message]) {
        let receipts = receipts(messages).collect();
        if let Err(error) = self.queues.give_back(&self.queue, receipts).await {
            self.cannot("give messages back; they come again by themselves", &error);
        }
    }

    async fn verdicts(&self, batch: &[Message]) -> Vec<Verdict> {
        match AssertUnwindSafe(self.job.run(batch)).catch_unwind().await {
            Ok(verdicts) if verdicts.len() == batch.len() => verdicts,
            Ok(_) => {
                vec![Verdict::Retry("the job returned another number of verdicts".to_owned()); batch.len()]
            }
            Err(_) => vec![Verdict::Retry("the job panicked".to_owned()); batch.len()],
        }
    }

    /// Does what a verdict asks for; returns whether the message must wait.
    async fn settle(&self, message: &Message, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Wait(reason) => {
                tracing::debug!(queue = %self.queue, reason, "waits");
                return true;
            }
            Verdict::Done => {
                self.metrics.done.inc();
                self.metrics.bill.took_message();
                // The ack task outlives every run; if it broke, the message comes again.
                let _ = self.acks.send(Ack { receipt: message.receipt.clone(), acked: None });
            }
            Verdict::Refused(error) => self.refuse(message, &error).await,
            Verdict::Retry(reason) if self.is_spent(message, 1) => {
                self.bury(message, &reason).await;
            }
            Verdict::Retry(reason) => {
                self.metrics.retried.inc();
                tracing::warn!(queue = %self.queue, attempt = message.attempt, reason, "will be tried again");
                let pause = Duration::from_millis(100 << message.attempt.min(8)).min(self.config.visibility);
                let receipts = vec![message.receipt.clone()];
                if let Err(error) = self.queues.extend(&self.queue, receipts, pause).await {
                    self.cannot("bring the next try forward", &error);
                }
            }
            Verdict::Dead(reason) => self.bury(message, &reason).await,
        }
        false
    }

    /// Acks a message and then tells its sender: one that comes again might take effect after all, as nothing records a
    /// refusal.
    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        let (acked, told) = oneshot::channel();
        let _ = self.acks.send(Ack { receipt: message.receipt.clone(), acked: Some(acked) });
        if told.await.is_ok() {
            self.metrics.done.inc();
            self.metrics.bill.took_message();
            self.job.refuse(message, error).await;
        }
    }

    async fn bury(&self, message: &Message, reason: &str) {
        if let Err(error) = self.queues.bury(&self.queue, message.receipt.clone(), reason).await {
            self.cannot("bury; it comes again", &error);
            return;
        }
        // Told when it is true: a message that comes again may still take effect.
        tracing::error!(queue = %self.queue, attempt = message.attempt, reason, "given up: to the dead letters");
        self.metrics.buried.inc();
        self.job.give_up(message, reason).await;
    }
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
