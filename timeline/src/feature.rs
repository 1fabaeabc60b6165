//! The timelines as a feature: their types, stages and what these touch.

use schemars::SchemaGenerator;
use soundoff_common::model::posts::{FANOUT, PostFanout};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::handler::{Nothing, Source, Told};
use soundoff_common::pipeline::job::OnEnvelopes;
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::Table;

use crate::compute::Compute;
use crate::config::TimelineConfig;
use crate::fetch::Fetching;
use crate::memory::Memory;
use crate::messages::{
    COMPUTE, COMPUTE_QUEUE, FETCH, PERSONALIZE, PERSONALIZE_QUEUE, RECENT_QUEUE, SCHEDULE, SCHEDULE_QUEUE,
    SESSION, Scan, Users,
};
use crate::page::{Fetch, Page};
use crate::pager::Pager;
use crate::personalize::Personalize;
use crate::ranker::Ranker;
use crate::recent::Recent;
use crate::schedule::Schedule;
use crate::session::Session;
use crate::ticker::Ticker;

/// The most messages that a queue's consumer has in progress: each is about many users, and keeps all cores busy.
const FEW: Pull = Pull::at_most(2);
const TOGETHER: Pull = Pull { together: true, ..Pull::ONE_BY_ONE };

const PEOPLE: &[Table] = &[Table::Users, Table::Entities, Table::Relationships];

const WELCOMED: &[Told] =
    &[Told::event::<Page>("timeline", "The first page of your timeline, right after `welcome`.")];

/// The timelines as a feature. The stages of one process share a memory and the tables of scores. `config` is used as
/// it is: call [`TimelineConfig::validate`] first.
#[must_use]
pub fn feature(config: TimelineConfig) -> Feature {
    let memory = Memory::new(&config);
    let ranker = Ranker::new(&config.weights);
    let TimelineConfig { interval, tiers, .. } = config;
    let computes = memory.clone();
    let ranks = ranker.clone();
    let fetches = (memory.clone(), ranker.clone());
    Feature::new("timelines")
        .works(scheduled(), move |world| Ok(OnEnvelopes(Schedule::new(tiers.clone(), world))))
        .works(computed(), move |world| Ok(OnEnvelopes(Compute::new(&computes, world))))
        .works(personalized(), move |world| Ok(OnEnvelopes(Personalize::new(&ranks, world))))
        .works(noted(), |world| Ok(OnEnvelopes(Recent::new(&world.cache))))
        .works(welcomed(), move |world| {
            let pager = Pager::new(&memory, &ranker, world)?;
            let (tables, outward) = (world.tables.clone(), world.outward.clone());
            Ok(OnEnvelopes(Session { pager, tables, outward }))
        })
        .works(fetched(), move |world| {
            let pager = Pager::new(&fetches.0, &fetches.1, world)?;
            Ok(OnEnvelopes(Fetching { pager, outward: world.outward.clone() }))
        })
        .runs(Tier::Schedule, "schedule of timelines", &[SCHEDULE], move |world, stop| {
            Ok(Ticker::new(interval, world).run(stop))
        })
        .touches(Tier::Schedule, Touches { scans: &[Table::Users], ..Touches::default() })
        .touches(Tier::Compute, Touches { reads: PEOPLE, ..Touches::default() })
        .touches(Tier::Personalize, Touches { reads: &[Table::Relationships], ..Touches::default() })
        .touches(Tier::Fetch, Touches { reads: PEOPLE, writes: &[Table::Users], ..Touches::default() })
}

fn scheduled() -> Spec {
    let summary = "Queues users whose timeline is due.";
    let spec = Spec::job::<Scan>(Tier::Schedule, SCHEDULE, summary).on(SCHEDULE_QUEUE);
    Spec { pull: FEW, causes: &[SCHEDULE, COMPUTE], ..spec }
}

fn computed() -> Spec {
    let summary = "Gathers the newest candidates of some users.";
    let spec = Spec::job::<Users>(Tier::Compute, COMPUTE, summary).on(COMPUTE_QUEUE);
    Spec { pull: FEW, causes: &[PERSONALIZE], ..spec }
}

fn personalized() -> Spec {
    let summary = "Ranks the candidates of some users.";
    let spec = Spec::job::<Users>(Tier::Personalize, PERSONALIZE, summary).on(PERSONALIZE_QUEUE);
    Spec { pull: FEW, causes: &[COMPUTE], ..spec }
}

fn noted() -> Spec {
    let summary = "Notes new and deleted posts for timelines.";
    let spec = Spec::job::<PostFanout>(Tier::Fetch, FANOUT, summary).on(RECENT_QUEUE);
    Spec { pull: TOGETHER, ..spec }
}

fn welcomed() -> Spec {
    Spec {
        archived: Archived::Whole,
        terms: Terms::USUAL.sheddable(),
        tells: WELCOMED,
        causes: &[COMPUTE],
        reply_schema: SchemaGenerator::subschema_for::<Page>,
        ..Spec::job::<Nothing>(Tier::Fetch, SESSION, "A user has said hello.")
    }
}

fn fetched() -> Spec {
    let summary = "The sender's timeline, precomputed and repaired to what is true now. Comes unasked after `welcome`, as the event `timeline`.";
    Spec {
        archived: Archived::Whole,
        reads: true,
        terms: Terms::USUAL.cost(4).sheddable(),
        source: Source::Client,
        causes: &[COMPUTE],
        reply_schema: SchemaGenerator::subschema_for::<Page>,
        ..Spec::job::<Fetch>(Tier::Fetch, FETCH, summary)
    }
}
