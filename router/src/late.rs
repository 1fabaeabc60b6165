//! The archive's second way: messages that were routed while the archive was away wait on a queue of their own.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Routed;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::queues::Message;
use soundoff_common::protocol::{ErrorBody, now_ms, rfc3339};

use crate::record::record;

/// The MessageType whose queue holds them.
pub(crate) const ARCHIVE_LATE: &str = "archive.late";

/// The message as it came, of any type.
#[derive(JsonSchema)]
pub(crate) struct AsItCame(#[expect(dead_code, reason = "only its schema is used")] serde_json::Value);

/// Archives messages that were routed before.
pub(crate) struct Late {
    pub(crate) archive: Arc<dyn Archive>,
}

impl Late {
    pub(crate) fn new(world: &World) -> anyhow::Result<Self> {
        Ok(Self { archive: world.archive()? })
    }
}

#[async_trait]
impl Job for Late {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let ingested = rfc3339(now_ms()).into();
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let mut records = Vec::with_capacity(batch.len());
        for (at, message) in batch.iter().enumerate() {
            match Routed::of(message) {
                Ok(envelope) => records.push(record(envelope, &ingested)),
                Err(verdict) => verdicts[at] = verdict,
            }
        }
        if let Err(error) = self.archive.put(records).await {
            let waits = verdicts.iter_mut().filter(|verdict| **verdict == Verdict::Done);
            waits.for_each(|verdict| *verdict = Verdict::Wait(error.to_string()));
        }
        verdicts
    }

    /// Its sender was answered when it took effect.
    async fn give_up(&self, _message: &Message, _reason: &str) {}

    async fn refuse(&self, _message: &Message, _error: &ErrorBody) {}
}
