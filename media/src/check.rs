//! `media.check`: looks into what was uploaded, makes what may be shown of it, and passes on what came of it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use soundoff_common::catalog::{Source, Spec, Work, spec};
use soundoff_common::consumer::{ConsumerConfig, Job, Verdict};
use soundoff_common::envelope::Envelope;
use soundoff_common::handler::{Nothing, raw};
use soundoff_common::ids;
use soundoff_common::media::{self, Rendition, Renditions, State};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::queues::{Message, QueueName};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{Handle, Role, now_ms};
use soundoff_common::telemetry::ReasonLabel;
use soundoff_common::worker::Own;
use ulid::Ulid;

use crate::blob;
use crate::checked::{CHECKED, Finding, MediaChecked};
use crate::kind::{Kind, describe};
use crate::render::{Picture, Rendered, render};
use crate::service::Media;

/// The MessageType of the check, which is a job: [`Media::job`].
pub const CHECK: &str = "media.check";

/// Which medium.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Checked {
    /// Its id.
    pub(crate) media: String,
}

/// One row per queue.
#[must_use]
pub fn specs() -> Vec<Spec> {
    let check = Spec {
        message_type: CHECK,
        queue: QueueName::of_type(CHECK),
        source: Source::Internal,
        role: Role::User,
        archived: false,
        summary: "Looks into an uploaded picture.",
        body_schema: SchemaGenerator::subschema_for::<Checked>,
        reply_schema: SchemaGenerator::subschema_for::<Nothing>,
        work: Work::Job,
    };
    vec![spec::<crate::begin::MediaBegin>(), check, spec::<MediaChecked>()]
}

struct Check(Arc<Media>);

impl Media {
    /// The job of the check's queue, and how it is pulled, where `base` is how other queues are.
    #[must_use]
    pub fn job(self: &Arc<Self>, base: ConsumerConfig) -> (Arc<dyn Job>, ConsumerConfig) {
        let config = ConsumerConfig { slots: self.config.checks.min(base.slots), batch: 1, ..base };
        (Arc::new(Check(self.clone())), config)
    }

    async fn check(&self, owner: &Handle, id: Ulid) -> Result<(), String> {
        let name = blob::raw(id);
        if !self.is_checking(id).await? {
            // An earlier run was cut off before its last step.
            return self.deps.blobs.delete(&name).await.map_err(|error| error.to_string());
        }
        let Some(bytes) = self.deps.blobs.get(&name, None).await.map_err(|error| error.to_string())? else {
            // An earlier run was cut off at its end: what it found is on its way.
            return Ok(());
        };
        let finding = match self.look(bytes).await {
            Ok(rendered) => {
                let renditions = renditions(&rendered);
                self.keep(id, rendered).await.map_err(|error| error.to_string())?;
                if !self.is_checking(id).await? {
                    return self.clear(id).await;
                }
                Finding::Ready(renditions)
            }
            Err(reason) => Finding::Refused(reason),
        };
        let reason = if matches!(finding, Finding::Ready(_)) { "ready" } else { "refused" };
        self.deps.metrics.media_checked.get_or_create(&ReasonLabel { reason }).inc();
        self.tell(owner, id, finding).await?;
        self.deps.blobs.delete(&name).await.map_err(|error| error.to_string())
    }

    async fn is_checking(&self, id: Ulid) -> Result<bool, String> {
        let found = self.deps.tables.get(Table::Entities, media::key(id)).await;
        let stored = found.and_then(media::parse).map_err(|error| error.to_string())?;
        Ok(stored.is_some_and(|stored| stored.state == State::Checking))
    }

    /// Deletes the bytes of a medium that was collected while it was looked into.
    async fn clear(&self, id: Ulid) -> Result<(), String> {
        for name in blob::all(id) {
            self.deps.blobs.delete(&name).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Renders off the runtime's threads, and not for longer than the bounds allow. A decoder that does not look at the clock goes on for a while
    /// after that, within the bounds on pixels and scans; nobody waits for it.
    async fn look(&self, bytes: Bytes) -> Result<Rendered, String> {
        let kind = Kind::sniff(&bytes).ok_or_else(|| format!("this is {}", describe(&bytes)))?;
        let bounds = self.config.bounds.clone();
        let limit = bounds.time;
        // Held by the thread itself: one that nobody waits for any more still takes a place.
        let place = self.checking.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let rendering = tokio::task::spawn_blocking(move || {
            let rendered = render(&bytes, kind, &bounds);
            drop(place);
            rendered
        });
        match tokio::time::timeout(2 * limit, rendering).await {
            Ok(Ok(rendered)) => rendered.map_err(|refused| refused.to_string()),
            Ok(Err(_)) => Err("the picture cannot be read".to_owned()),
            Err(_) => Err("the picture takes too long to be read".to_owned()),
        }
    }

    async fn keep(&self, id: Ulid, rendered: Rendered) -> Result<(), Unavailable> {
        let pictures = [rendered.full, rendered.feed, rendered.thumb];
        for (size, picture) in blob::SIZES.into_iter().zip(pictures) {
            self.deps.blobs.put(&blob::rendition(id, size), picture.bytes.into()).await?;
        }
        Ok(())
    }

    async fn tell(&self, owner: &Handle, id: Ulid, finding: Finding) -> Result<(), String> {
        let body = raw(&crate::checked::Body { media: id.to_string(), finding });
        let own = Own { message_type: CHECKED, about: owner.clone(), body };
        self.deps.outward.queue(vec![own], now_ms()).await
    }
}

fn renditions(rendered: &Rendered) -> Renditions {
    let of = |picture: &Picture| Rendition {
        content_type: picture.kind.content_type().to_owned(),
        bytes: picture.bytes.len() as u64,
        width: picture.width,
        height: picture.height,
    };
    Renditions { full: of(&rendered.full), feed: of(&rendered.feed), thumb: of(&rendered.thumb) }
}

fn parse(message: &Message) -> Result<(Handle, Ulid), String> {
    let envelope = Envelope::parse(&message.body).map_err(|error| format!("not an envelope: {error}"))?;
    let body: Checked = serde_json::from_str(envelope.body.get()).map_err(|error| error.to_string())?;
    let id = ids::parse(&body.media).ok_or("not an id")?;
    Ok((envelope.from, id))
}

#[async_trait]
impl Job for Check {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for message in batch {
            verdicts.push(match parse(message) {
                Ok((owner, id)) => match self.0.check(&owner, id).await {
                    Ok(()) => Verdict::Done,
                    Err(error) => Verdict::Retry(error),
                },
                Err(error) => Verdict::Dead(error),
            });
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        let Ok((owner, id)) = parse(message) else { return };
        let finding = Finding::Refused("the picture could not be looked into; try another".to_owned());
        let told = self.0.tell(&owner, id, finding).await;
        let deleted = self.0.deps.blobs.delete(&blob::raw(id)).await.map_err(|error| error.to_string());
        if let Err(error) = told.and(deleted) {
            tracing::warn!(error, "a check that was given up leaves something to be collected");
        }
    }
}
