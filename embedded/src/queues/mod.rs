//! Queues in one segmented append log.
//!
//! Sends, burials and redrives return once they are synced to disk, many in one sync. Forwards, acks and receive counts
//! return once the operating system has them: a killed process loses none. Power loss may bring back a message that was
//! acked in the last moments; its handler's dedupe record recognizes it. The log is read up to its first gap. So when
//! an ack is there, everything before it is there too, also what its message forwarded. Visibility timeouts and the
//! index are in memory only.

mod compact;
mod forward;
mod log;
mod options;
mod record;
mod replay;
mod room;
mod segment;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turns_tests;
mod users;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::ports::queues::{
    DeadLetter, Depth, MAX_BODY_BYTES, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::protocol::now_ms;
use tokio::sync::oneshot;

pub use options::Options;

use log::{Arrival, Job, Log};
use record::{FRAME_HEADER, Frame, Id};
use segment::Use;
use state::{Burial, Delivery, Source, Taken};

/// The longest reason that is kept; longer ones are cut.
const MAX_REASON_BYTES: usize = 1024;

/// Bytes of an ack in the log.
const ACK_BYTES: usize = 11;

/// All queues of one machine.
#[derive(Debug)]
pub struct EmbeddedQueues {
    log: Arc<Log>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedQueues {
    /// Opens the log in `dir`, or begins one. Messages of queues that are not in `queues` are kept and reported.
    ///
    /// Reads the whole log: call it where blocking does no harm. The caller must make sure that only one process has it
    /// open.
    ///
    /// # Errors
    /// If the log cannot be read or written, or is damaged in another way than by a crash at its end.
    pub fn open(dir: &Path, queues: &[QueueName], options: Options) -> anyhow::Result<Arc<Self>> {
        let log = Arc::new(Log::open(dir, queues, options)?);
        let work = log.clone();
        let name = "queue-log".to_owned();
        let writer = std::thread::Builder::new().name(name).spawn(move || writer::run(work));
        let writer = Mutex::new(Some(writer.context("cannot start the queue log's thread")?));
        Ok(Arc::new(Self { log, writer }))
    }

    /// Finishes what was begun, syncs it to disk and ends the writer. Blocks until then; every later call fails as
    /// unavailable.
    pub fn close(&self) {
        self.log.close();
        if let Some(writer) = self.writer.lock().expect("nothing panics under this lock").take()
            && writer.join().is_err()
        {
            tracing::error!("the queue log's thread panicked");
        }
    }

    fn take(&self, queue: u16, max: usize, visibility: Duration, out: &mut Vec<Taken>) {
        let now = self.log.now();
        let until = Log::after(now, visibility);
        let mut state = self.log.state();
        state.take(queue, max, now, until, out);
        let more = state.any_ready(queue);
        let sooner = !out.is_empty() && until < state.next_expiry;
        if sooner {
            state.next_expiry = until;
        }
        drop(state);
        if more && !out.is_empty() {
            // The writer wakes one receiver; each receiver wakes the next while messages are left.
            self.log.arrived[usize::from(queue)].notify_one();
        }
        if sooner {
            self.log.nudge();
        }
    }

    /// Records in the log that these are handed out, before they are: a message that kills its process must not start
    /// at attempt 1 forever. Without room for that they are not handed out.
    fn mark(&self, queue: u16, taken: &[Taken]) -> Result<(), QueueError> {
        let mut frame = Frame::new();
        for Delivery { seq, life, attempt } in taken.iter().map(|taken| taken.delivery) {
            frame.received(Id { queue, seq }, life, attempt);
        }
        self.note(frame).inspect_err(|_| {
            let taken: Vec<_> = taken.iter().map(|taken| taken.delivery).collect();
            self.log.state().put_back(queue, &taken);
        })
    }

    /// Writes what happened to receives into the log.
    fn note(&self, mut frame: Frame) -> Result<(), QueueError> {
        let mut tail = self.log.tail();
        let noted = tail.make_room(frame.len(), Use::Receive).and_then(|()| tail.append(&mut frame));
        drop(tail);
        noted.map(drop).map_err(|error| self.log.failed("writing the queue log", &error))
    }

    async fn body(&self, source: Source) -> Result<Bytes, QueueError> {
        let (file, place) = match source {
            Source::Memory(body) => return Ok(body),
            Source::Log(file, place) => (file, place),
        };
        let read = tokio::task::spawn_blocking(move || replay::body_at(&file, place)).await;
        let body = match read {
            Ok(body) => body,
            // The process ends: the disk is not to blame.
            Err(error) if error.is_cancelled() => return Err(QueueError::Unavailable(error.to_string())),
            Err(error) => Err(std::io::Error::other(error)),
        };
        body.map_err(|error| self.log.broken("reading the queue log", &error))
    }

    /// The entries of a batch that can go into the log, and each entry's result so far.
    fn arrivals(&self, batch: Vec<Outgoing>) -> (Vec<Result<(), QueueError>>, Vec<Arrival>) {
        let mut arrivals = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for (index, Outgoing { queue, body, user }) in batch.into_iter().enumerate() {
            answers.push(match self.log.number(&queue) {
                Ok(_) if body.len() > MAX_BODY_BYTES => Err(QueueError::TooLarge(body.len())),
                Ok(queue) => {
                    arrivals.push(Arrival { index, queue, body, user });
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        (answers, arrivals)
    }

    /// Asks the writer to send, and corrects the results by its answer.
    async fn sent(&self, arrivals: Vec<Arrival>, passing: bool, answers: &mut [Result<(), QueueError>]) {
        let (reply, answer) = oneshot::channel();
        match self.done(Job::Send { sent_at: now_ms(), arrivals, passing, reply }, answer).await {
            Ok(refused) => refused.into_iter().for_each(|(index, why)| answers[index] = Err(why)),
            Err(error) => refuse_all(answers, &error),
        }
    }

    /// Asks the writer to do a job, and waits until it is on disk.
    async fn done<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, QueueError> {
        self.log.enqueue(job)?;
        answer
            .await
            .map_err(|_| self.log.check().err().unwrap_or(QueueError::Unavailable("closed".to_owned())))
    }
}

impl Drop for EmbeddedQueues {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Queues for EmbeddedQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let (mut answers, arrivals) = self.arrivals(batch);
        if !arrivals.is_empty() {
            self.sent(arrivals, false, &mut answers).await;
        }
        answers
    }

    async fn send_passing(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let (mut answers, arrivals) = self.arrivals(batch);
        if !arrivals.is_empty() {
            self.sent(arrivals, true, &mut answers).await;
        }
        answers
    }

    async fn forward(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let (mut answers, arrivals) = self.arrivals(batch);
        match self.log.forward(now_ms(), arrivals) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => self.sent(left, false, &mut answers).await,
            Err(error) => refuse_all(&mut answers, &error),
        }
        answers
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let number = self.log.number(queue)?;
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let mut taken = Vec::new();
        loop {
            let mut arrived = std::pin::pin!(self.log.arrived[usize::from(number)].notified());
            // From now on a message that arrives between the look and the wait is not missed.
            arrived.as_mut().enable();
            self.log.check()?;
            self.take(number, max, visibility, &mut taken);
            if !taken.is_empty() || max == 0 {
                break;
            }
            tokio::select! {
                () = arrived => {}
                () = &mut deadline => return Ok(Vec::new()),
            }
        }
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        self.mark(number, &taken)?;
        let mut receipts = receipts(&taken);
        let mut messages = Vec::with_capacity(taken.len());
        for Taken { delivery, sent_at, source } in taken {
            let (receipt, attempt) = (Receipt(receipts.split_to(RECEIPT_BYTES)), delivery.attempt);
            messages.push(Message { receipt, body: self.body(source).await?, attempt, sent_at });
        }
        Ok(messages)
    }

    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        let queue = self.log.number(queue)?;
        self.log.check()?;
        let mut frame = Frame::new();
        let mut tail = self.log.tail();
        // Before anything is removed: an ack that the log has no room for changes nothing.
        let room = tail.make_room(FRAME_HEADER + receipts.len() * ACK_BYTES, Use::Settle);
        room.map_err(|error| self.log.failed("writing the queue log", &error))?;
        let mut state = self.log.state();
        for Delivery { seq, life, .. } in receipts.iter().filter_map(delivery) {
            let id = Id { queue, seq };
            if state.remove(id, life) {
                frame.ack(id);
            }
        }
        let untidy = state.untidy(self.log.options.segment_bytes);
        drop(state);
        if !frame.is_empty() {
            tail.append(&mut frame).map_err(|error| self.log.broken("writing the queue log", &error))?;
        }
        let long = u64::from(tail.offset) >= self.log.options.segment_bytes;
        drop(tail);
        if untidy || long {
            self.log.nudge();
        }
        Ok(())
    }

    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let queue = self.log.number(queue)?;
        self.log.check()?;
        let now = self.log.now();
        let until = Log::after(now, visibility);
        let mut state = self.log.state();
        for Delivery { seq, life, attempt } in receipts.iter().filter_map(delivery) {
            state.extend(Id { queue, seq }, life, attempt, until, now);
        }
        let (more, sooner) = (state.any_ready(queue), until < state.next_expiry);
        if sooner {
            state.next_expiry = until;
        }
        drop(state);
        if more {
            self.log.arrived[usize::from(queue)].notify_one();
        }
        if sooner {
            self.log.nudge();
        }
        Ok(())
    }

    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        let number = self.log.number(queue)?;
        self.log.check()?;
        let given: Vec<_> = {
            let state = self.log.state();
            let latest = |delivery: &Delivery| state.is_latest(number, *delivery);
            receipts.iter().filter_map(delivery).filter(latest).collect()
        };
        // In the log before anybody can receive them again: the count of that receive follows.
        let mut frame = Frame::new();
        for Delivery { seq, life, attempt } in given.iter().copied() {
            frame.given_back(Id { queue: number, seq }, life, attempt);
        }
        self.note(frame)?;
        self.log.state().put_back(number, &given);
        self.log.arrived[usize::from(number)].notify_one();
        Ok(())
    }

    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError> {
        let queue = self.log.number(queue)?;
        self.log.check()?;
        let Some(Delivery { seq, life, .. }) = delivery(&receipt) else { return Ok(()) };
        let id = Id { queue, seq };
        let begun = self.log.state().begin_bury(id, life);
        let (reply, answer) = oneshot::channel();
        let job = match begun {
            Burial::Past => return Ok(()),
            Burial::Begun => {
                let reason = reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].into();
                Job::Bury { id, at: now_ms(), reason, reply }
            }
            // Ok means that it is on disk, also when another call asked first.
            Burial::OnItsWay => Job::Redrive { ids: Vec::new(), reply },
        };
        let buried = self.done(job, answer).await?;
        if begun == Burial::OnItsWay && self.log.state().is_live(id, life) {
            return Err(QueueError::NoRoom);
        }
        buried
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError> {
        let number = self.log.number(queue)?;
        self.log.check()?;
        let mut state = self.log.state();
        let queue = state.queue(number);
        if queue.expire(self.log.now()) {
            self.log.arrived[usize::from(number)].notify_one();
        }
        let oldest = queue.live.first_key_value().map(|(_, entry)| entry.sent_at);
        Ok(Depth {
            visible: queue.visible(),
            in_flight: queue.in_flight(),
            oldest_age_ms: oldest.map_or(0, |sent_at| now_ms().saturating_sub(sent_at)),
            dead: queue.dead_count(),
        })
    }

    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let number = self.log.number(queue)?;
        self.log.check()?;
        let found = self.log.state().letters(number, limit);
        let mut letters = Vec::with_capacity(found.len());
        for (seq, source, letter) in found {
            let body = String::from_utf8_lossy(&self.body(source).await?).into_owned();
            let (reason, buried_at) = (letter.reason.into_string(), letter.at);
            let attempts = Some(letter.entry.attempt);
            letters.push(DeadLetter { key: seq.to_string(), body, reason, attempts, buried_at });
        }
        Ok(letters)
    }

    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError> {
        let queue = self.log.number(queue)?;
        self.log.check()?;
        let ids = self.log.state().begin_redrive(queue, limit);
        let count = ids.len();
        if count > 0 {
            let (reply, answer) = oneshot::channel();
            self.done(Job::Redrive { ids, reply }, answer).await??;
        }
        Ok(count)
    }
}

/// Makes every result that was good so far an error: none of them is certain.
fn refuse_all(answers: &mut [Result<(), QueueError>], error: &QueueError) {
    answers.iter_mut().filter(|answer| answer.is_ok()).for_each(|answer| *answer = Err(error.clone()));
}

/// The length of a receipt, which names the message, its life (how often it was redriven) and the delivery.
const RECEIPT_BYTES: usize = 14;

/// All receipts in one buffer, one after the other.
fn receipts(taken: &[Taken]) -> Bytes {
    let mut bytes = Vec::with_capacity(RECEIPT_BYTES * taken.len());
    for Delivery { seq, life, attempt } in taken.iter().map(|taken| taken.delivery) {
        bytes.extend_from_slice(&seq.to_le_bytes());
        bytes.extend_from_slice(&life.to_le_bytes());
        bytes.extend_from_slice(&attempt.to_le_bytes());
    }
    bytes.into()
}

/// What a receipt of ours names; `None` for a receipt of another engine.
fn delivery(receipt: &Receipt) -> Option<Delivery> {
    let bytes: &[u8; RECEIPT_BYTES] = receipt.0.as_ref().try_into().ok()?;
    let (seq, rest) = bytes.split_first_chunk::<8>()?;
    let (life, attempt) = rest.split_first_chunk::<2>()?;
    let (seq, life) = (u64::from_le_bytes(*seq), u16::from_le_bytes(*life));
    Some(Delivery { seq, life, attempt: u32::from_le_bytes(attempt.try_into().ok()?) })
}
