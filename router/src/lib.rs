//! The router: main_q in, per-type queues and the archive out.
//!
//! It knows only what the catalog says about a type, and passes bodies on as the bytes in which they arrived.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::{Sends, Touches};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::ports::queues::{Message, Outgoing, QueueError, Queues};
use soundoff_common::protocol::{now_ms, rfc3339};

/// The version of archived records.
const RECORD_VERSION: u32 = 1;

/// What a router touches.
#[must_use]
pub fn feature() -> Feature {
    let touches = Touches { archive: true, sends: Sends::Types, ..Touches::default() };
    Feature::new("router").touches(Tier::Router, touches)
}

/// The job of main_q.
pub struct Router {
    catalog: Arc<Catalog>,
    queues: Arc<dyn Queues>,
    archive: Arc<dyn Archive>,
    outward: Outward,
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
        Self { catalog, queues, archive, outward }
    }

    /// Where one message goes, and its archive record if its type has one.
    fn route(
        &self,
        message: &Message,
        ingested: &Arc<str>,
    ) -> Result<(Vec<Outgoing>, Option<Record>), Verdict> {
        let envelope = Routed::of(message)?;
        // A type of a newer edge: another try may reach a newer router.
        let route = self
            .catalog
            .route(&envelope.message_type)
            .ok_or_else(|| Verdict::Retry(format!("no type {}", envelope.message_type)))?;
        let queues = route.queues.iter().cloned();
        let out = queues.map(|queue| Outgoing { queue, body: message.body.clone() }).collect();
        let mid: Arc<str> = envelope.mid.to_string().into();
        let record = route.archived.then(|| Record {
            id: mid.clone(),
            message_type: envelope.message_type.into_owned(),
            v: RECORD_VERSION,
            ts: rfc3339(envelope.at),
            ingest_ts: ingested.clone(),
            user_key: envelope.from,
            trace_id: mid,
            body: envelope.body.to_owned(),
        });
        Ok((out, record))
    }
}

#[async_trait]
impl Job for Router {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let ingested = rfc3339(now_ms()).into();
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let (mut out, mut owners, mut records, mut archived) = (vec![], vec![], vec![], vec![]);
        for (at, message) in batch.iter().enumerate() {
            match self.route(message, &ingested) {
                Ok((outgoing, record)) => {
                    owners.extend(outgoing.iter().map(|_| at));
                    out.extend(outgoing);
                    archived.extend(record.is_some().then_some(at));
                    records.extend(record);
                }
                Err(verdict) => verdicts[at] = verdict,
            }
        }
        // The ack comes after both: a message that is cut off in between goes to both again, and readers of both
        // dedupe.
        let (sent, put) = tokio::join!(self.queues.forward(out), self.archive.put(records));
        for (at, sent) in owners.into_iter().zip(sent) {
            if let Err(error) = sent {
                verdicts[at] = refused(&error);
            }
        }
        if let Err(error) = put {
            for at in archived {
                if verdicts[at] == Verdict::Done {
                    verdicts[at] = Verdict::Retry(format!("cannot archive: {error}"));
                }
            }
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        self.outward.give_up(message).await;
    }
}

fn refused(error: &QueueError) -> Verdict {
    match error {
        QueueError::TooLarge(_) => Verdict::Dead(error.to_string()),
        QueueError::Full | QueueError::NoRoom | QueueError::UnknownQueue(_) | QueueError::Unavailable(_) => {
            Verdict::Retry(error.to_string())
        }
    }
}
