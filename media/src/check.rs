//! `media.check`: checks what was uploaded, makes what may be shown of it, and reports the result.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::model::ids;
use soundoff_common::model::media::{self, Rendition, Renditions, State};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{TableError, Tables};
use soundoff_common::protocol::{ErrorCode, Handle};
use soundoff_common::telemetry::{Metrics, ReasonLabel};
use tokio::sync::Semaphore;
use ulid::Ulid;

use crate::bounds::Bounds;
use crate::config::MAX_UPLOAD_BYTES;
use crate::kind::{Kind, describe};
use crate::messages::{Checked, Finding, report};
use crate::picture::{Picture, Rendered};
use crate::render::render;
use crate::{blob, items};

/// Checks pictures.
pub(crate) struct Check {
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    outward: Outward,
    metrics: Metrics,
    bounds: Bounds,
    /// Places for pictures that are being rendered.
    rendering: Arc<Semaphore>,
}

/// Which message checks a medium.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Mine,
    /// Another message does, or has done.
    Anothers,
    /// None: the result is known already, or the medium is gone.
    Over,
}

impl Check {
    pub(crate) fn new(bounds: Bounds, rendering: Arc<Semaphore>, world: &World) -> anyhow::Result<Self> {
        let blobs = world.blobs()?;
        let World { tables, outward, metrics, .. } = world.clone();
        Ok(Self { tables, blobs, outward, metrics, bounds, rendering })
    }

    async fn check(&self, owner: &Handle, id: Ulid, check: Ulid) -> Result<(), Failure> {
        let name = blob::raw(id);
        match self.turn(id, check).await? {
            Turn::Mine => {}
            Turn::Anothers => return Ok(()),
            Turn::Over => return Ok(self.blobs.delete(&name).await?),
        }
        let Some(bytes) = self.blobs.size(&name).await? else {
            // An earlier run was cut off at its end: its result is already queued.
            return Ok(());
        };
        let finding = match self.look_at(&name, bytes).await? {
            Ok(rendered) => {
                let renditions = renditions(&rendered);
                self.keep(id, rendered).await?;
                match self.state(id).await? {
                    Some(State::Checking) => {}
                    // This message ran twice at the same time. Both runs had the same bytes, and what is shown stays.
                    Some(State::Ready) => return Ok(()),
                    _ => return self.clear(id).await,
                }
                Finding::Ready(renditions)
            }
            Err(reason) => Finding::Refused(reason),
        };
        let reason = if matches!(finding, Finding::Ready(_)) { "ready" } else { "refused" };
        self.metrics.media_checked.get_or_create(&ReasonLabel { reason }).inc();
        self.report(owner, id, finding).await?;
        Ok(self.blobs.delete(&name).await?)
    }

    /// Of the messages that ask for the check of one medium, the first does it, however often it must be tried. Clients
    /// who upload to the bucket may upload other bytes at any time: a second check might read those, and change a
    /// picture that is shown.
    async fn turn(&self, id: Ulid, check: Ulid) -> Result<Turn, TableError> {
        let stored = items::read(&*self.tables, id).await?;
        let Some(stored) = stored.filter(|stored| stored.state == State::Checking) else {
            return Ok(Turn::Over);
        };
        match stored.check {
            Some(first) if first == check => Ok(Turn::Mine),
            Some(_) => Ok(Turn::Anothers),
            // A message that loses the race is retried, and finds out then.
            None => self.tables.write(vec![media::look(id, check)]).await.map(|()| Turn::Mine),
        }
    }

    async fn state(&self, id: Ulid) -> Result<Option<State>, TableError> {
        let stored = items::read(&*self.tables, id).await?;
        Ok(stored.map(|stored| stored.state))
    }

    /// What a blob of this size is rendered to; the inner error is what is wrong with it.
    async fn look_at(&self, name: &str, bytes: u64) -> Result<Result<Rendered, String>, Failure> {
        if bytes > MAX_UPLOAD_BYTES {
            return Ok(Err(format!("this is larger than {MAX_UPLOAD_BYTES} bytes")));
        }
        // Bounded here as well: the blob may have been replaced since its size was read.
        let read = self.blobs.get(name, Some(0..MAX_UPLOAD_BYTES)).await?;
        let gone = || Failure::Retry(anyhow::anyhow!("the upload went away while it was read"));
        Ok(self.look(read.ok_or_else(gone)?).await)
    }

    /// Deletes the bytes of a medium that was collected during its check.
    async fn clear(&self, id: Ulid) -> Result<(), Failure> {
        for name in blob::all(id) {
            self.blobs.delete(&name).await?;
        }
        Ok(())
    }

    /// Renders outside of the runtime's threads, and not for longer than the bounds allow. A decoder that does not look
    /// at the clock continues for a while after that, within the bounds on pixels and scans; nobody waits for it.
    async fn look(&self, bytes: Bytes) -> Result<Rendered, String> {
        let kind = Kind::sniff(&bytes).ok_or_else(|| format!("this is {}", describe(&bytes)))?;
        let bounds = self.bounds.clone();
        let limit = bounds.time;
        // The thread itself holds the place: it takes up room even when nobody waits for it any more.
        let place = self.rendering.clone().acquire_owned().await.map_err(|error| error.to_string())?;
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
            self.blobs.put(&blob::rendition(id, size), picture.bytes.into()).await?;
        }
        Ok(())
    }

    async fn report(&self, owner: &Handle, id: Ulid, finding: Finding) -> Result<(), Failure> {
        report(&self.outward, id, owner, finding).await
    }

    /// Refuses a medium whose check is given up, if no other message checks it.
    async fn refuse(&self, owner: &Handle, id: Ulid, check: Ulid) -> Result<(), Failure> {
        if self.turn(id, check).await? != Turn::Mine {
            return Ok(());
        }
        let finding = Finding::Refused("the picture could not be checked; try another".to_owned());
        self.report(owner, id, finding).await?;
        Ok(self.blobs.delete(&blob::raw(id)).await?)
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

#[async_trait]
impl EnvelopeJob for Check {
    type Body = Checked;

    async fn work(&self, envelope: &Envelope, Checked { media }: Checked) -> Result<(), Failure> {
        let id = ids::parse(&media).ok_or_else(|| Failure::reject(ErrorCode::BadMessage, "not an id"))?;
        self.check(&envelope.from, id, envelope.mid).await
    }

    async fn give_up(&self, envelope: &Envelope, Checked { media }: Checked) {
        let Some(id) = ids::parse(&media) else { return };
        if let Err(error) = self.refuse(&envelope.from, id, envelope.mid).await {
            tracing::warn!(%error, "a check that was given up leaves something to be collected");
        }
    }
}
