//! The archive's second way: messages that were routed while the archive was away, or the tables that say who is who
//! and who is private, wait on a queue of their own.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::queues::Message;
use soundoff_common::protocol::{ErrorBody, now_ms, rfc3339};

use crate::record::{Archivable, Recorder};

/// The MessageType whose queue holds them.
pub(crate) const ARCHIVE_LATE: &str = "archive.late";

/// The message as it came, of any type.
#[derive(JsonSchema)]
pub(crate) struct AsItCame(#[expect(dead_code, reason = "only its schema is used")] serde_json::Value);

/// Archives messages that were routed before.
pub(crate) struct Late {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) recorder: Recorder,
}

impl Late {
    pub(crate) fn new(world: &World) -> anyhow::Result<Self> {
        let catalog = world.outward.catalog.clone();
        Ok(Self { catalog, archive: world.archive()?, recorder: Recorder::new(world.tables.clone()) })
    }

    /// A message of a type that is archived; the verdict on any other.
    fn archivable<'a>(&self, message: &'a Message) -> Result<Archivable<'a>, Verdict> {
        let envelope = Routed::of(message)?;
        let route = self.catalog.routed(&envelope.message_type)?;
        // It was archived when the message was put here.
        if route.archived == Archived::Not {
            return Err(Verdict::Done);
        }
        Ok(Archivable::new(envelope, route.archived))
    }
}

#[async_trait]
impl Job for Late {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let ingested = rfc3339(now_ms()).into();
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let (mut messages, mut places) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (at, message) in batch.iter().enumerate() {
            match self.archivable(message) {
                Ok(message) => {
                    messages.push(message);
                    places.push(at);
                }
                Err(verdict) => verdicts[at] = verdict,
            }
        }
        let (mut records, mut recorded) = (Vec::with_capacity(messages.len()), Vec::new());
        for (at, made) in places.into_iter().zip(self.recorder.records(messages, &ingested).await) {
            match made {
                Ok(record) => {
                    records.push(record);
                    recorded.push(at);
                }
                Err(verdict) => verdicts[at] = verdict,
            }
        }
        if !records.is_empty()
            && let Err(error) = self.archive.put(records).await
        {
            recorded.into_iter().for_each(|at| verdicts[at] = Verdict::Wait(error.to_string()));
        }
        verdicts
    }

    /// Its sender was answered when it took effect.
    async fn give_up(&self, _message: &Message, _reason: &str) {}

    async fn refuse(&self, _message: &Message, _error: &ErrorBody) {}
}
