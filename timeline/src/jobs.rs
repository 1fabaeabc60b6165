//! The timelines' types and the queues' jobs.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use soundoff_common::catalog::{Source, Spec, Told, Work};
use soundoff_common::consumer::{ConsumerConfig, Job, Verdict};
use soundoff_common::envelope::Envelope;
use soundoff_common::handler::{Failure, Nothing, raw};
use soundoff_common::ids;
use soundoff_common::ports::queues::{Message, QueueName};
use soundoff_common::posts::PostFanout;
use soundoff_common::protocol::{ErrorBody, ErrorCode, Handle, Role, now_ms};
use soundoff_common::worker::Own;

use crate::candidates::{self, ITEMS, off_the_runtime};
use crate::fetch::{Fetch, Page};
use crate::format::{Kind, Timeline};
use crate::listing::Ranking;
use crate::recent::{self, Note};
use crate::schedule::Scan;
use crate::timelines::Timelines;

/// How many users one message is about.
pub(crate) const USERS_AT_ONCE: usize = 500;

pub(crate) const SCHEDULE: &str = "timeline.schedule";
pub(crate) const COMPUTE: &str = "timeline.compute";
pub(crate) const PERSONALIZE: &str = "timeline.personalize";
const FETCH: &str = "timeline.fetch";
const SESSION: &str = "user_session";
const FANOUT: &str = "post.fanout";

/// Whose timelines.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Users {
    /// Their handles.
    pub(crate) users: Vec<Handle>,
}

const WELCOMED: &[Told] =
    &[Told::event::<Page>("timeline", "The first page of your timeline, right after `welcome`.")];

/// One row per queue, as the jobs of [`Timelines::job`].
#[must_use]
pub fn specs() -> Vec<Spec> {
    let fetch = "The sender's timeline, precomputed and repaired to what is true now. Comes unasked after `welcome`, as the event `timeline`.";
    vec![
        row::<Scan, Nothing>(SCHEDULE, "schedule_q", "Queues users whose timeline is due."),
        row::<Users, Nothing>(COMPUTE, "precompute_q", "Gathers the newest candidates of some users."),
        row::<Users, Nothing>(PERSONALIZE, "personalize_q", "Ranks the candidates of some users."),
        row::<PostFanout, Nothing>(FANOUT, "recent_q", "Notes what is new and gone for timelines."),
        Spec {
            archived: true,
            tells: WELCOMED,
            ..row::<Nothing, Page>(SESSION, "user_session_q", "A user has said hello.")
        },
        Spec {
            archived: true,
            source: Source::Client,
            ..row::<Fetch, Page>(FETCH, "timeline_fetch_q", fetch)
        },
    ]
}

fn row<B: JsonSchema, R: JsonSchema>(message_type: &'static str, queue: &str, summary: &'static str) -> Spec {
    Spec {
        message_type,
        queue: QueueName::new(queue),
        source: Source::Internal,
        role: Role::User,
        archived: false,
        summary,
        body_schema: SchemaGenerator::subschema_for::<B>,
        reply_schema: SchemaGenerator::subschema_for::<R>,
        tells: &[],
        work: Work::Job,
    }
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

/// What is done with a queue's messages, and how it is pulled.
fn stage(queue: &QueueName, base: ConsumerConfig) -> (Stage, ConsumerConfig) {
    // Batches of users are work for all cores: more of them at once would only take more memory.
    let few = ConsumerConfig { slots: base.slots.min(2), ..base };
    match queue.as_str() {
        "schedule_q" => (Stage::Schedule, few),
        "precompute_q" => (Stage::Compute, few),
        "personalize_q" => (Stage::Personalize, few),
        // Whatever has gathered is one write of each ring.
        "recent_q" => (Stage::Recent, ConsumerConfig { batch: base.slots, ..base }),
        "user_session_q" => (Stage::Session, base),
        "timeline_fetch_q" => (Stage::Fetch, base),
        other => panic!("no job of the timelines pulls {other}"),
    }
}

impl Timelines {
    /// The job of one of the queues of [`specs`], and how it is pulled, where `base` is how other queues are.
    ///
    /// # Panics
    /// When the queue is none of them: a defect of the wiring.
    #[must_use]
    pub fn job(self: &Arc<Self>, queue: &QueueName, base: ConsumerConfig) -> (Arc<dyn Job>, ConsumerConfig) {
        let (stage, config) = stage(queue, base);
        (Arc::new(Stages { timelines: self.clone(), stage }), config)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_its_stage_and_no_more_slots_than_are_configured() {
        let base = ConsumerConfig { slots: 3, ..ConsumerConfig::default() };
        for spec in specs() {
            let (_, config) = stage(&spec.queue, base);
            assert!(config.slots <= 3 && config.batch <= config.slots, "{}: {config:?}", spec.queue);
        }
    }
}
