//! TLC's job: gathers the candidates of some users, stores them, and queues the users to be ranked.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::protocol::Handle;
use soundoff_common::telemetry::Metrics;

use crate::gather::{Gatherer, ITEMS};
use crate::measure::stage;
use crate::memory::Memory;
use crate::messages::{PERSONALIZE, Users, in_batches, queue};
use crate::store::{chronological_key, store_newer};

/// Computes chronological timelines.
pub(crate) struct Compute {
    gatherer: Gatherer,
    cache: Arc<dyn Cache>,
    outward: Outward,
    metrics: Metrics,
}

impl Compute {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> Self {
        let gatherer = Gatherer::new(memory, world);
        let World { cache, outward, metrics, .. } = world.clone();
        Self { gatherer, cache, outward, metrics }
    }
}

#[async_trait]
impl EnvelopeJob for Compute {
    type Body = Users;

    async fn work(&self, _: &Envelope, Users { users }: Users) -> Result<(), Failure> {
        let gathered = self.gatherer.gather(&users, ITEMS).await?;
        let users: Vec<Handle> = gathered.iter().map(|(user, _)| user.clone()).collect();
        {
            let _time = stage(&self.metrics, "store chronological");
            let keyed = gathered.into_iter().map(|(user, timeline)| (chronological_key(&user), timeline));
            store_newer(&*self.cache, keyed.collect()).await?;
        }
        queue(&self.outward, in_batches(PERSONALIZE, &users)).await
    }
}
