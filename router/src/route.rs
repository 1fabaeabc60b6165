//! The job of main_q: each message goes to its type's queues and to the archive, each of them once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use soundoff_common::lock::lock;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::ports::queues::{Message, Outgoing, QueueError, QueueName, Queues};
use soundoff_common::protocol::{ErrorBody, now_ms, rfc3339};

use ulid::Ulid;

use crate::late::ARCHIVE_LATE;
use crate::record::record;

/// The job of main_q.
pub struct Router {
    catalog: Arc<Catalog>,
    queues: Arc<dyn Queues>,
    archive: Arc<dyn Archive>,
    outward: Outward,
    late: QueueName,
    /// What is still to be done for messages that wait in their slots, by their `mid`: some for each slot.
    left: Mutex<HashMap<Ulid, Left>>,
}

/// What is still to be done for a message.
#[derive(Debug)]
struct Left {
    mid: Ulid,
    queues: Vec<QueueName>,
    archived: bool,
}

/// The messages of one run: what is left to do for each, and its verdict.
struct Run {
    left: Vec<Left>,
    verdicts: Vec<Verdict>,
}

impl Router {
    /// A router by `catalog`. `outward` is for senders whose message is given up.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        queues: Arc<dyn Queues>,
        archive: Arc<dyn Archive>,
        outward: Outward,
    ) -> Self {
        let late = QueueName::of_type(ARCHIVE_LATE);
        Self { catalog, queues, archive, outward, late, left: Mutex::default() }
    }

    /// What is left to do for a message, and its archive record if it still needs one.
    fn plan(&self, message: &Message, ingested: &Arc<str>) -> Result<(Left, Option<Record>), Verdict> {
        let envelope = Routed::of(message)?;
        // A type of a newer edge: another try may reach a newer router.
        let route = self
            .catalog
            .route(&envelope.message_type)
            .ok_or_else(|| Verdict::Retry(format!("no type {}", envelope.message_type)))?;
        let begun = || lock(&self.left).remove(&envelope.mid);
        // Only a message that waits has been worked on by this router.
        let left = begun().unwrap_or_else(|| Left {
            mid: envelope.mid,
            queues: route.queues.clone(),
            archived: !route.archived,
        });
        let record = (!left.archived).then(|| record(envelope, ingested));
        Ok((left, record))
    }

    /// Puts messages on their queues, and notes what has been put there.
    async fn forward(&self, batch: &[Message], wanted: Vec<(usize, QueueName)>) -> Vec<(usize, Sent)> {
        let out =
            wanted.iter().map(|(at, queue)| Outgoing { queue: queue.clone(), body: batch[*at].body.clone() });
        let sent = self.queues.forward(out.collect()).await;
        wanted.into_iter().zip(sent).map(|((at, queue), sent)| (at, (queue, sent))).collect()
    }

    /// Archives records, or puts their messages on the queue of those that are archived later.
    async fn archive(
        &self,
        batch: &[Message],
        owners: Vec<usize>,
        records: Vec<Record>,
    ) -> Vec<(usize, Result<(), QueueError>)> {
        if records.is_empty() {
            return Vec::new();
        }
        match self.archive.put(records).await {
            Ok(()) => owners.into_iter().map(|at| (at, Ok(()))).collect(),
            Err(error) => {
                tracing::debug!(%error, "to be archived later");
                let wanted = owners.into_iter().map(|at| (at, self.late.clone())).collect();
                let sent = self.forward(batch, wanted).await;
                sent.into_iter().map(|(at, (_, sent))| (at, sent)).collect()
            }
        }
    }
}

/// A queue, and whether it took a message.
type Sent = (QueueName, Result<(), QueueError>);

#[async_trait]
impl Job for Router {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let ingested = rfc3339(now_ms()).into();
        let mut run = Run::new(batch.len());
        let (mut wanted, mut owners, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for (at, message) in batch.iter().enumerate() {
            match self.plan(message, &ingested) {
                Ok((left, record)) => {
                    wanted.extend(left.queues.iter().map(|queue| (at, queue.clone())));
                    owners.extend(record.is_some().then_some(at));
                    records.extend(record);
                    run.left.push(left);
                }
                Err(verdict) => run.reject(at, verdict),
            }
        }
        // The ack comes after both: a message that is cut off in between goes to both again, and readers of both
        // dedupe.
        let (forwarded, archived) =
            tokio::join!(self.forward(batch, wanted), self.archive(batch, owners, records));
        run.forwarded(forwarded);
        run.archived(archived);
        let (verdicts, waiting) = run.end();
        if !waiting.is_empty() {
            lock(&self.left).extend(waiting);
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        self.outward.give_up(message).await;
    }

    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        self.outward.refuse(message, error).await;
    }
}

impl Run {
    fn new(messages: usize) -> Self {
        Self { left: Vec::with_capacity(messages), verdicts: vec![Verdict::Done; messages] }
    }

    fn reject(&mut self, at: usize, verdict: Verdict) {
        self.verdicts[at] = verdict;
        self.left.push(Left { mid: Ulid::nil(), queues: Vec::new(), archived: true });
    }

    fn forwarded(&mut self, sent: Vec<(usize, Sent)>) {
        for (at, (queue, sent)) in sent {
            match sent {
                Ok(()) => self.left[at].queues.retain(|left| *left != queue),
                Err(error) => self.verdicts[at] = refused(&error),
            }
        }
    }

    fn archived(&mut self, done: Vec<(usize, Result<(), QueueError>)>) {
        for (at, done) in done {
            match done {
                Ok(()) => self.left[at].archived = true,
                Err(error) if self.verdicts[at] == Verdict::Done => self.verdicts[at] = refused(&error),
                Err(_) => {}
            }
        }
    }

    /// The verdicts, and what is left to do for the messages that wait.
    fn end(self) -> (Vec<Verdict>, Vec<(Ulid, Left)>) {
        let each = self.left.into_iter().zip(&self.verdicts);
        let waits = each.filter(|(_, verdict)| matches!(verdict, Verdict::Wait(_)));
        let waiting = waits.map(|(left, _)| (left.mid, left)).collect();
        (self.verdicts, waiting)
    }
}

/// What happens to a message that a queue refused.
fn refused(error: &QueueError) -> Verdict {
    match error {
        QueueError::TooLarge(_) => Verdict::Dead(error.to_string()),
        QueueError::Full | QueueError::NoRoom | QueueError::Unavailable(_) => {
            Verdict::Wait(error.to_string())
        }
        QueueError::UnknownQueue(_) => Verdict::Retry(error.to_string()),
    }
}
