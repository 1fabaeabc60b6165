//! Personalization's job: ranks what TLC has stored.

use std::sync::Arc;

use async_trait::async_trait;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::Metrics;

use crate::affinities::{Affinities, all_affinities};
use crate::format::{Kind, Timeline};
use crate::measure::stage;
use crate::messages::{COMPUTE, Users, in_batches, queue};
use crate::ranker::{Ranker, Scratch};
use crate::store::{chronological_key, ranked_key, store_newer};

/// Ranks timelines.
pub(crate) struct Personalize {
    ranker: Arc<Ranker>,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    outward: Outward,
    metrics: Metrics,
}

impl Personalize {
    pub(crate) fn new(ranker: &Arc<Ranker>, world: &World) -> Self {
        let World { tables, cache, outward, metrics, .. } = world.clone();
        Self { ranker: ranker.clone(), tables, cache, outward, metrics }
    }

    fn ranked(&self, found: &[(&Handle, Timeline)], affinities: &[Affinities]) -> Vec<(String, Timeline)> {
        let _time = stage(&self.metrics, "rank");
        let rank = |scratch: &mut Scratch, ((user, timeline), affinities): (&(&Handle, Timeline), _)| {
            (ranked_key(user), self.ranker.ranked(timeline, affinities, scratch))
        };
        // A whole batch keeps this thread busy for long.
        tokio::task::block_in_place(|| {
            found.par_iter().zip(affinities).map_init(Scratch::default, rank).collect()
        })
    }
}

#[async_trait]
impl EnvelopeJob for Personalize {
    type Body = Users;

    async fn work(&self, _: &Envelope, Users { users }: Users) -> Result<(), Failure> {
        let keys: Vec<String> = users.iter().map(chronological_key).collect();
        let stored = self.cache.get_many(&keys).await?;
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        for (user, cached) in users.iter().zip(stored) {
            match cached.and_then(|cached| Timeline::read(cached.value, Kind::Chronological)) {
                Some(timeline) => found.push((user, timeline)),
                // Evicted between the two stages: begins again.
                None => lost.push(user.clone()),
            }
        }
        queue(&self.outward, in_batches(COMPUTE, &lost)).await?;
        let of: Vec<&Handle> = found.iter().map(|(user, _)| *user).collect();
        let affinities = {
            let _time = stage(&self.metrics, "affinities");
            all_affinities(&*self.tables, &of, now_ms()).await?
        };
        let ranked = self.ranked(&found, &affinities);
        let _time = stage(&self.metrics, "store ranked");
        store_newer(&*self.cache, ranked).await?;
        self.metrics.timeline_computed.inc_by(found.len() as u64);
        Ok(())
    }
}
