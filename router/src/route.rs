//! The job of main_q: each message goes to its type's queues and to the archive, each of them once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::lock::lock;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::{Routed, sender_of};
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::queues::{Message, Outgoing, QueueError, QueueName, Queues};
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::{ErrorBody, now_ms, rfc3339};

use ulid::Ulid;

use crate::late::ARCHIVE_LATE;
use crate::record::{Archivable, Recorder};

/// How long the tables are waited for. Then what is to be archived waits on a queue of its own.
const PATIENCE: Duration = Duration::from_secs(1);

/// The job of main_q.
pub struct Router {
    catalog: Arc<Catalog>,
    queues: Arc<dyn Queues>,
    archive: Arc<dyn Archive>,
    recorder: Recorder,
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
struct Run<'a> {
    verdicts: Vec<Verdict>,
    /// What earlier runs have left to do, by message. Empty while all goes well.
    begun: HashMap<usize, Left>,
    out: Vec<Outgoing>,
    /// For each of `out` its message, and which of the message's queues it is for.
    owners: Vec<(usize, usize)>,
    archivable: Vec<Archivable<'a>>,
    /// The place of each of them among the messages.
    places: Vec<usize>,
}

impl Router {
    /// A router by `catalog`. `outward` is for senders whose message is given up.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        queues: Arc<dyn Queues>,
        archive: Arc<dyn Archive>,
        tables: Arc<dyn Tables>,
        outward: Outward,
    ) -> Self {
        let (late, recorder) = (QueueName::of_type(ARCHIVE_LATE), Recorder::new(tables));
        Self { catalog, queues, archive, recorder, outward, late, left: Mutex::default() }
    }

    /// Adds what is to be done for a message. `resuming`: some messages wait, and this may be one of them.
    fn plan<'a>(
        &self,
        run: &mut Run<'a>,
        (at, message): (usize, &'a Message),
        resuming: bool,
    ) -> Result<(), Verdict> {
        let envelope = Routed::of(message)?;
        let route = self.catalog.routed(&envelope.message_type)?;
        let begun = if resuming { lock(&self.left).remove(&envelope.mid) } else { None };
        let (queues, archived) = match &begun {
            Some(left) => (&left.queues, left.archived),
            None => (&route.queues, route.archived == Archived::Not),
        };
        for (nth, queue) in queues.iter().enumerate() {
            run.owners.push((at, nth));
            let (queue, body) = (queue.clone(), message.body.clone());
            run.out.push(Outgoing { queue, body, user: Some(envelope.from.clone()) });
        }
        if !archived {
            run.places.push(at);
            run.archivable.push(Archivable::new(envelope, route.archived));
        }
        run.begun.extend(begun.map(|left| (at, left)));
        Ok(())
    }

    /// Archives messages, or puts those for which something is away on the queue of those that are archived later.
    async fn archive(
        &self,
        batch: &[Message],
        places: &[usize],
        messages: Vec<Archivable<'_>>,
        ingested: &Arc<str>,
    ) -> Vec<Result<(), QueueError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let mut records = Vec::with_capacity(messages.len());
        let (mut recorded, mut late) = (Vec::with_capacity(messages.len()), Vec::new());
        // Slots of main_q are held meanwhile, so tables that hang are not waited for.
        match tokio::time::timeout(PATIENCE, self.recorder.records(messages, ingested)).await {
            Ok(made) => {
                for (nth, made) in made.into_iter().enumerate() {
                    match made {
                        Ok(record) => {
                            records.push(record);
                            recorded.push(nth);
                        }
                        Err(verdict) => {
                            tracing::debug!(?verdict, "to be archived later");
                            late.push(nth);
                        }
                    }
                }
            }
            Err(_) => late.extend(0..places.len()),
        }
        if !records.is_empty()
            && let Err(error) = self.archive.put(records).await
        {
            tracing::debug!(%error, "to be archived later");
            late.append(&mut recorded);
        }
        let mut answers = vec![Ok(()); places.len()];
        if !late.is_empty() {
            let outgoing = |nth: &usize| {
                let message = &batch[places[*nth]];
                Outgoing { queue: self.late.clone(), body: message.body.clone(), user: sender_of(message) }
            };
            let sent = self.queues.forward(late.iter().map(outgoing).collect()).await;
            late.into_iter().zip(sent).for_each(|(nth, sent)| answers[nth] = sent);
        }
        answers
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
            if let Err(verdict) = self.plan(&mut run, (at, message), resuming) {
                run.verdicts[at] = verdict;
            }
        }
        let Run { mut verdicts, begun, out, owners, archivable, places } = run;
        // The ack comes after both: a message that is cut off in between goes to both again, and readers of both
        // dedupe.
        let archived = self.archive(batch, &places, archivable, &ingested);
        let (sent, put) = tokio::join!(self.queues.forward(out), archived);
        let mut unsent: HashMap<usize, Vec<usize>> = HashMap::new();
        for ((at, nth), sent) in owners.into_iter().zip(sent) {
            if let Err(error) = sent {
                unsent.entry(at).or_default().push(nth);
                verdicts[at] = refused(&error);
            }
        }
        let mut unarchived = HashSet::new();
        for (at, put) in places.into_iter().zip(put) {
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
