//! The job of main_q: each message goes to its type's queues and to the archive, each of them once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use soundoff_common::lock::lock;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::{Routed, sender_of};
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

/// What is still to be done for a message that waits.
#[derive(Debug, Default)]
struct Left {
    queues: Vec<QueueName>,
    archived: bool,
}

/// The messages of one run.
#[derive(Default)]
struct Run {
    verdicts: Vec<Verdict>,
    /// What earlier runs have left to do, by message. Empty while all goes well.
    begun: HashMap<usize, Left>,
    out: Vec<Outgoing>,
    /// For each of `out` its message, and which of the message's queues it is for.
    owners: Vec<(usize, usize)>,
    records: Vec<Record>,
    /// The message of each record.
    archived: Vec<usize>,
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

    /// Adds what is to be done for a message. `resuming`: some messages wait, and this may be one of them.
    fn plan(
        &self,
        run: &mut Run,
        (at, message): (usize, &Message),
        ingested: &Arc<str>,
        resuming: bool,
    ) -> Result<(), Verdict> {
        let envelope = Routed::of(message)?;
        // A type of a newer edge: another try may reach a newer router.
        let route = self
            .catalog
            .route(&envelope.message_type)
            .ok_or_else(|| Verdict::Retry(format!("no type {}", envelope.message_type)))?;
        let begun = if resuming { lock(&self.left).remove(&envelope.mid) } else { None };
        let (queues, archived) = match &begun {
            Some(left) => (&left.queues, left.archived),
            None => (&route.queues, !route.archived),
        };
        for (nth, queue) in queues.iter().enumerate() {
            run.owners.push((at, nth));
            let (queue, body) = (queue.clone(), message.body.clone());
            run.out.push(Outgoing { queue, body, user: Some(envelope.from.clone()) });
        }
        if !archived {
            run.archived.push(at);
            run.records.push(record(envelope, ingested));
        }
        run.begun.extend(begun.map(|left| (at, left)));
        Ok(())
    }

    /// Archives records, or puts their messages on the queue of those that are archived later.
    async fn archive(
        &self,
        batch: &[Message],
        owners: &[usize],
        records: Vec<Record>,
    ) -> Vec<Result<(), QueueError>> {
        if records.is_empty() {
            return Vec::new();
        }
        let Err(error) = self.archive.put(records).await else { return vec![Ok(()); owners.len()] };
        tracing::debug!(%error, "to be archived later");
        let late = |at: &usize| {
            let message = &batch[*at];
            Outgoing { queue: self.late.clone(), body: message.body.clone(), user: sender_of(message) }
        };
        self.queues.forward(owners.iter().map(late).collect()).await
    }

    /// Remembers what is left to do for a message that waits.
    fn remember(&self, message: &Message, begun: Option<&Left>, unsent: &[usize], unarchived: bool) {
        let Ok(envelope) = Routed::of(message) else { return };
        let all = begun.map(|left| &left.queues);
        let all = all.or_else(|| self.catalog.route(&envelope.message_type).map(|route| &route.queues));
        let queues = unsent.iter().filter_map(|nth| all?.get(*nth).cloned()).collect();
        lock(&self.left).insert(envelope.mid, Left { queues, archived: !unarchived });
    }
}

#[async_trait]
impl Job for Router {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let ingested = rfc3339(now_ms()).into();
        let resuming = !lock(&self.left).is_empty();
        let mut run = Run { verdicts: vec![Verdict::Done; batch.len()], ..Run::default() };
        for (at, message) in batch.iter().enumerate() {
            if let Err(verdict) = self.plan(&mut run, (at, message), &ingested, resuming) {
                run.verdicts[at] = verdict;
            }
        }
        let Run { mut verdicts, begun, out, owners, records, archived } = run;
        // The ack comes after both: a message that is cut off in between goes to both again, and readers of both
        // dedupe.
        let (sent, put) = tokio::join!(self.queues.forward(out), self.archive(batch, &archived, records));
        let mut unsent: HashMap<usize, Vec<usize>> = HashMap::new();
        for ((at, nth), sent) in owners.into_iter().zip(sent) {
            if let Err(error) = sent {
                unsent.entry(at).or_default().push(nth);
                verdicts[at] = refused(&error);
            }
        }
        let mut unarchived = HashSet::new();
        for (at, put) in archived.into_iter().zip(put) {
            if let Err(error) = put {
                unarchived.insert(at);
                if verdicts[at] == Verdict::Done {
                    verdicts[at] = refused(&error);
                }
            }
        }
        if !(unsent.is_empty() && unarchived.is_empty()) {
            for (at, _) in
                verdicts.iter().enumerate().filter(|(_, verdict)| matches!(verdict, Verdict::Wait(_)))
            {
                let unsent = unsent.get(&at).map_or(&[][..], Vec::as_slice);
                self.remember(&batch[at], begun.get(&at), unsent, unarchived.contains(&at));
            }
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

/// What happens to a message that a queue refused.
fn refused(error: &QueueError) -> Verdict {
    match error {
        QueueError::TooLarge(_) => Verdict::Dead(error.to_string()),
        QueueError::Full | QueueError::Share | QueueError::NoRoom | QueueError::Unavailable(_) => {
            Verdict::Wait(error.to_string())
        }
        QueueError::UnknownQueue(_) => Verdict::Retry(error.to_string()),
    }
}
