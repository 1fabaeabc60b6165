//! Keeps the events of the audit trail where `soundoff audit` reads them.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::model::audit::{EVENT, Event, HOLDINGS, keep};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::{EnvelopeJob, OnEnvelopes};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::{MAX_WRITES, Tables};

/// Adds the job to the feature.
pub(crate) fn join(feature: Feature) -> Feature {
    let summary = "Keeps what happened to accounts and to the deployment, for operators.";
    let spec = Spec::job::<Event>(Tier::Workers, EVENT, summary);
    // Nothing causes them that is archived.
    let spec = Spec { archived: Archived::Keyed("user"), pull: Pull { slots: None, together: true }, ..spec };
    feature.works(spec, |world| Ok(OnEnvelopes(Keep { tables: world.tables.clone() }))).keeps(HOLDINGS)
}

struct Keep {
    tables: Arc<dyn Tables>,
}

#[async_trait]
impl EnvelopeJob for Keep {
    type Body = Event;
    const TOGETHER: bool = true;

    async fn work(&self, envelope: &Envelope, event: Event) -> Result<(), Failure> {
        Ok(self.tables.write(vec![keep(event, envelope.at, envelope.mid)]).await?)
    }

    async fn work_together(&self, batch: &[(Envelope, Event)]) -> Option<Result<(), Failure>> {
        for chunk in batch.chunks(MAX_WRITES) {
            let writes = chunk.iter().map(|(envelope, event)| keep(event.clone(), envelope.at, envelope.mid));
            if let Err(error) = self.tables.write(writes.collect()).await {
                return Some(Err(error.into()));
            }
        }
        Some(Ok(()))
    }
}
