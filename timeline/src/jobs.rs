//! The timelines' types and the queues' jobs.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use soundoff_common::model::ids;
use soundoff_common::model::posts::{FANOUT, PostFanout};
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::handler::{Failure, Nothing, Source, Told, raw};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::pipeline::worker::Own;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::queues::Message;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{ErrorBody, ErrorCode, Handle, now_ms};

use crate::candidates::{self, ITEMS, off_the_runtime};
use crate::config::TimelineConfig;
use crate::fetch::{Fetch, Page};
use crate::format::{Kind, Timeline};
use crate::listing::Ranking;
use crate::recent::{self, Note};
use crate::schedule::Scan;
use crate::timelines::{TimelineDeps, Timelines};

/// How many users one message is about.
pub(crate) const USERS_AT_ONCE: usize = 500;

pub(crate) const SCHEDULE: &str = "timeline.schedule";
pub(crate) const COMPUTE: &str = "timeline.compute";
pub(crate) const PERSONALIZE: &str = "timeline.personalize";
const FETCH: &str = "timeline.fetch";
const SESSION: &str = "user_session";

/// Whose timelines.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Users {
    /// Their handles.
    pub(crate) users: Vec<Handle>,
}

const WELCOMED: &[Told] =
    &[Told::event::<Page>("timeline", "The first page of your timeline, right after `welcome`.")];

/// The timelines as a feature.
#[must_use]
pub fn feature(config: TimelineConfig) -> Feature {
    const PEOPLE: &[Table] = &[Table::Users, Table::Entities, Table::Relationships];
    let few = Pull::at_most(2);
    let scan = "Queues users whose timeline is due.";
    let gather = "Gathers the newest candidates of some users.";
    let rank = "Ranks the candidates of some users.";
    let note = "Notes what is new and gone for timelines.";
    let fetch = "The sender's timeline, precomputed and repaired to what is true now. Comes unasked after `welcome`, as the event `timeline`.";
    let specs = [
        (
            Stage::Schedule,
            Spec {
                pull: few,
                causes: &[SCHEDULE, COMPUTE],
                ..Spec::job::<Scan>(Tier::Schedule, SCHEDULE, scan).on("schedule_q")
            },
        ),
        (
            Stage::Compute,
            Spec {
                pull: few,
                causes: &[PERSONALIZE],
                ..Spec::job::<Users>(Tier::Compute, COMPUTE, gather).on("precompute_q")
            },
        ),
        (
            Stage::Personalize,
            Spec {
                pull: few,
                causes: &[COMPUTE],
                ..Spec::job::<Users>(Tier::Personalize, PERSONALIZE, rank).on("personalize_q")
            },
        ),
        (
            Stage::Recent,
            Spec {
                pull: Pull { together: true, ..Pull::ONE_BY_ONE },
                ..Spec::job::<PostFanout>(Tier::Fetch, FANOUT, note).on("recent_q")
            },
        ),
        (
            Stage::Session,
            Spec {
                archived: true,
                tells: WELCOMED,
                causes: &[COMPUTE],
                reply_schema: SchemaGenerator::subschema_for::<Page>,
                ..Spec::job::<Nothing>(Tier::Fetch, SESSION, "A user has said hello.")
            },
        ),
        (
            Stage::Fetch,
            Spec {
                archived: true,
                source: Source::Client,
                causes: &[COMPUTE],
                reply_schema: SchemaGenerator::subschema_for::<Page>,
                ..Spec::job::<Fetch>(Tier::Fetch, FETCH, fetch)
            },
        ),
    ];
    let made = move |world: &World| {
        let deps = TimelineDeps {
            tables: world.tables.clone(),
            cache: world.cache.clone(),
            queues: world.queues.clone(),
            outward: world.outward.clone(),
            metrics: world.metrics.clone(),
        };
        Timelines::new(config.clone(), deps).map_err(anyhow::Error::msg)
    };
    let schedule = made.clone();
    let mut feature = Feature::new("timelines")
        .runs(Tier::Schedule, "schedule of timelines", &[SCHEDULE], move |world, stop| {
            Ok(schedule(world)?.run_schedule(stop))
        })
        .touches(Tier::Schedule, Touches { scans: &[Table::Users], ..Touches::default() })
        .touches(Tier::Compute, Touches { reads: PEOPLE, ..Touches::default() })
        .touches(Tier::Personalize, Touches { reads: &[Table::Relationships], ..Touches::default() })
        .touches(Tier::Fetch, Touches { reads: PEOPLE, writes: &[Table::Users], ..Touches::default() });
    for (stage, spec) in specs {
        let made = made.clone();
        feature = feature.works(spec, move |world| Ok(Stages { timelines: made(world)?, stage }));
    }
    feature
}

/// The messages that carry users to a type's queue.
pub(crate) fn in_batches(message_type: &'static str, users: &[Handle]) -> Vec<Own> {
    let message = |users: &[Handle]| Own {
        message_type,
        about: users[0].clone(),
        body: raw(&Users { users: users.to_vec() }),
    };
    users.chunks(USERS_AT_ONCE).map(message).collect()
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Schedule,
    Compute,
    Personalize,
    Recent,
    Session,
    Fetch,
}

struct Stages {
    timelines: Arc<Timelines>,
    stage: Stage,
}

impl Timelines {
    /// TLC: gathers, stores, and passes on.
    async fn compute(&self, users: &[Handle]) -> Result<(), Failure> {
        let gathered = self.gather(users, ITEMS).await?;
        let users: Vec<Handle> = gathered.iter().map(|(user, _)| user.clone()).collect();
        {
            let _time = self.stage("store chronological");
            let keyed = gathered.into_iter().map(|(user, timeline)| (candidates::key(&user), timeline));
            candidates::store_newer(&*self.deps.cache, keyed.collect()).await?;
        }
        self.queue(in_batches(PERSONALIZE, &users)).await
    }

    /// Ranks what TLC has stored.
    async fn personalize(&self, users: &[Handle]) -> Result<(), Failure> {
        let keys: Vec<String> = users.iter().map(candidates::key).collect();
        let stored = self.deps.cache.get_many(&keys).await?;
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        for (user, cached) in users.iter().zip(stored) {
            match cached.and_then(|cached| Timeline::read(cached.value, Kind::Chronological)) {
                Some(timeline) => found.push((user, timeline)),
                // Evicted between the stages: from the start again.
                None => lost.push(user.clone()),
            }
        }
        self.queue(in_batches(COMPUTE, &lost)).await?;
        let of: Vec<&Handle> = found.iter().map(|(user, _)| *user).collect();
        let affinities = {
            let _time = self.stage("affinities");
            self.all_affinities(&of, now_ms()).await?
        };
        let ranked = {
            let _time = self.stage("rank");
            let ranked = || {
                let pairs = found.par_iter().zip(&affinities);
                let rank =
                    |ranking: &mut Ranking, ((user, timeline), affinities): (&(&Handle, Timeline), _)| {
                        let in_a_row = self.config.weights.in_a_row;
                        (key(user), ranking.ranked(timeline, affinities, &self.scorer, in_a_row))
                    };
                pairs.map_init(Ranking::default, rank).collect::<Vec<_>>()
            };
            off_the_runtime(ranked)
        };
        let _time = self.stage("store ranked");
        candidates::store_newer(&*self.deps.cache, ranked).await?;
        self.deps.metrics.timeline_computed.inc_by(found.len() as u64);
        Ok(())
    }

    /// Notes what fan-outs tell.
    async fn note(&self, batch: &[(Envelope, PostFanout)]) -> Result<(), Failure> {
        let first_pages = batch.iter().filter(|(_, page)| page.before.is_none());
        let note = |(envelope, page): &(Envelope, PostFanout)| {
            let post = ids::parse(&page.post)?;
            Some(Note { author: envelope.from.clone(), post, news: page.news })
        };
        let notes: Vec<Note> = first_pages.filter_map(note).collect();
        Ok(recent::append(&*self.deps.cache, &notes).await?)
    }

    pub(crate) async fn queue(&self, messages: Vec<Own>) -> Result<(), Failure> {
        let queued = self.deps.outward.queue(messages, now_ms()).await;
        queued.map_err(|error| Failure::Retry(anyhow::anyhow!(error)))
    }
}

/// Where a user's ranked timeline lies in the cache.
pub(crate) fn key(user: &Handle) -> String {
    format!("t:{user}")
}

fn body<B: DeserializeOwned>(envelope: &Envelope) -> Result<B, Failure> {
    let parsed = serde_json::from_str(envelope.body.get());
    parsed.map_err(|e| Failure::reject(ErrorCode::BadMessage, format!("{}: {e}", envelope.message_type)))
}

impl Stages {
    async fn one(&self, message: &Message) -> Verdict {
        let envelope = match Envelope::parse(&message.body) {
            Ok(envelope) => envelope,
            Err(error) => return Verdict::Dead(format!("not an envelope: {error}")),
        };
        match self.work(&envelope).await {
            Ok(()) => Verdict::Done,
            Err(Failure::Retry(error)) => Verdict::Retry(format!("{error:#}")),
            Err(Failure::Reject(error)) if matches!(self.stage, Stage::Fetch) => {
                self.timelines.deps.outward.refuse(&envelope, &error).await;
                Verdict::Done
            }
            // Nobody sent it but ourselves.
            Err(Failure::Reject(ErrorBody { message, .. })) => Verdict::Dead(message),
        }
    }

    async fn work(&self, envelope: &Envelope) -> Result<(), Failure> {
        let timelines = &self.timelines;
        match self.stage {
            Stage::Schedule => timelines.scan(body(envelope)?).await,
            Stage::Compute => timelines.compute(&body::<Users>(envelope)?.users).await,
            Stage::Personalize => timelines.personalize(&body::<Users>(envelope)?.users).await,
            Stage::Recent => timelines.note(&[(envelope.clone(), body(envelope)?)]).await,
            Stage::Session => {
                let page = timelines.welcome(envelope).await?;
                timelines.deps.outward.event(envelope, "timeline", &raw(&page)).await;
                Ok(())
            }
            Stage::Fetch => {
                let page = timelines.fetch(&envelope.from, &body(envelope)?).await?;
                timelines.deps.outward.reply(envelope, &raw(&page)).await;
                Ok(())
            }
        }
    }

    /// Many notes in one write of each ring; `None` when one of them is no note and each must be judged by itself.
    async fn noted_together(&self, batch: &[Message]) -> Option<Vec<Verdict>> {
        let parsed = batch.iter().map(|message| {
            let envelope = Envelope::parse(&message.body).ok()?;
            let page = body(&envelope).ok()?;
            Some((envelope, page))
        });
        let parsed: Vec<(Envelope, PostFanout)> = parsed.collect::<Option<_>>()?;
        let verdict = match self.timelines.note(&parsed).await {
            Ok(()) => Verdict::Done,
            Err(failure) => Verdict::Retry(failure.to_string()),
        };
        Some(vec![verdict; batch.len()])
    }
}

#[async_trait]
impl Job for Stages {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        if matches!(self.stage, Stage::Recent)
            && let Some(verdicts) = self.noted_together(batch).await
        {
            return verdicts;
        }
        join_all(batch.iter().map(|message| self.one(message))).await
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        if matches!(self.stage, Stage::Fetch) {
            self.timelines.deps.outward.give_up(message).await;
        }
    }
}
