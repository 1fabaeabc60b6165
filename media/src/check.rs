//! `media.check`: checks what was uploaded, makes what may be shown of it, and reports the result.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::model::ids;
use soundoff_common::model::media::{self, Rendition, Renditions, State, Stored};
use soundoff_common::model::media_checks::{count_pixels, pixels_key, wait_for_pixels};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{Table, TableError, Tables};
use soundoff_common::protocol::{ErrorCode, Handle, now_ms};
use soundoff_common::telemetry::{Metrics, ReasonLabel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ulid::Ulid;

use crate::blob;
use crate::bounds::Bounds;
use crate::config::MAX_UPLOAD_BYTES;
use crate::items::{self, TOO_MANY_PIXELS};
use crate::kind::{Kind, describe};
use crate::messages::{Checked, Finding, report};
use crate::picture::{Picture, Rendered};
use crate::refusals::count;
use crate::render::{pixels, render};
use crate::turns::Turns;

/// How often a claim that lost a race is tried again: few pictures of a user are checked at once.
const RACES: u32 = 8;

/// Checks pictures.
pub(crate) struct Check {
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    outward: Outward,
    turns: Turns,
    metrics: Metrics,
    bounds: Bounds,
    /// Places for pictures that are being rendered.
    rendering: Arc<Semaphore>,
}

/// A picture that may be rendered, by what its file says of itself.
struct Measured {
    bytes: Bytes,
    kind: Kind,
    pixels: u64,
    /// Among the pictures that are being rendered.
    place: OwnedSemaphorePermit,
}

/// Whose work a medium is.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Mine,
    /// Another message does it, or has done it, or the medium is gone.
    Anothers,
    /// Mine, but its owner must wait so many milliseconds until it may be rendered.
    TooMany(u64),
}

impl Check {
    pub(crate) fn new(bounds: Bounds, rendering: Arc<Semaphore>, world: &World) -> anyhow::Result<Self> {
        let blobs = world.blobs()?;
        let World { tables, outward, metrics, .. } = world.clone();
        let turns = Turns { tables: tables.clone(), outward: outward.clone() };
        Ok(Self { tables, blobs, outward, turns, metrics, bounds, rendering })
    }

    async fn check(&self, owner: &Handle, id: Ulid, check: Ulid, ended: bool) -> Result<(), Failure> {
        let name = blob::raw(id);
        let Some(stored) = self.checking(id).await? else {
            // The result is known already, or the medium is gone.
            self.blobs.delete(&name).await?;
            return if ended { self.turns.next(owner).await } else { Ok(()) };
        };
        match stored.check {
            Some(first) if first != check => return Ok(()),
            None if !self.turns.has(id, &stored).await? => return Ok(()),
            _ => {}
        }
        let Some(bytes) = self.blobs.size(&name).await? else {
            // An earlier run was cut off at its end: its result is already queued. Or the bytes are still to come.
            return self.turns.pass_on(id, &stored).await;
        };
        let finding = match self.look_at(id, bytes, &stored, check).await? {
            None => return Ok(()),
            Some(Ok(rendered)) => {
                let renditions = renditions(&rendered);
                self.keep(id, rendered).await?;
                match items::read(&*self.tables, id).await?.map(|stored| stored.state) {
                    Some(State::Checking) => {}
                    // This message ran twice at the same time. Both runs had the same bytes, and what is shown stays.
                    Some(State::Ready) => return Ok(()),
                    _ => return self.clear(id).await,
                }
                Finding::Ready(renditions)
            }
            Some(Err(reason)) => Finding::Refused(reason),
        };
        let reason = if matches!(finding, Finding::Ready(_)) { "ready" } else { "refused" };
        self.metrics.media_checked.get_or_create(&ReasonLabel { reason }).inc();
        self.report(owner, id, finding).await?;
        Ok(self.blobs.delete(&name).await?)
    }

    async fn checking(&self, id: Ulid) -> Result<Option<Stored>, TableError> {
        let stored = items::read(&*self.tables, id).await?;
        Ok(stored.filter(|stored| stored.state == State::Checking))
    }

    /// Of the messages that ask for the check of one medium, the first does it, however often it must be tried. Clients
    /// who upload to the bucket may upload other bytes at any time: a second check might read those, and change a
    /// picture that is shown. In the same step its pixels are counted, so that they are counted once.
    async fn claim(&self, id: Ulid, owner: &Handle, check: Ulid, pixels: u64) -> Result<Claim, Failure> {
        for _ in 0..RACES {
            let now = now_ms();
            let counted = self.tables.get(Table::Entities, pixels_key(owner)).await?;
            let wait = wait_for_pixels(pixels, now, counted.as_ref());
            let mut writes = vec![media::look(id, check)];
            if pixels > 0 && wait == 0 {
                writes.push(count_pixels(owner, pixels, now, counted.as_ref()));
            }
            match self.tables.write(writes).await {
                Ok(()) if wait > 0 => return Ok(Claim::TooMany(wait)),
                Ok(()) => return Ok(Claim::Mine),
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
            match self.checking(id).await? {
                Some(Stored { check: None, .. }) => {}
                // This message, in another run, too: then that one goes on.
                _ => return Ok(Claim::Anothers),
            }
        }
        Err(Failure::Wait(anyhow::anyhow!("lost every race for a user's pixels")))
    }

    /// What a blob of this size is rendered to, if that is this message's work; the inner error is what is wrong with
    /// it.
    async fn look_at(
        &self,
        id: Ulid,
        bytes: u64,
        stored: &Stored,
        check: Ulid,
    ) -> Result<Option<Result<Rendered, String>>, Failure> {
        let read = self.read(&blob::raw(id), bytes).await?;
        let measured = match read {
            Ok(bytes) => self.measure(bytes).await,
            Err(reason) => Err(reason),
        };
        if stored.check.is_none() {
            let pixels = measured.as_ref().map_or(0, |measured| measured.pixels);
            match self.claim(id, &stored.owner, check, pixels).await? {
                Claim::Mine => {}
                Claim::Anothers => return Ok(None),
                Claim::TooMany(wait) => {
                    count(&self.metrics, "pixels");
                    let minutes = wait.div_ceil(60_000);
                    return Ok(Some(Err(format!("{TOO_MANY_PIXELS}; send it again in {minutes} min"))));
                }
            }
        }
        match measured {
            Ok(measured) => Ok(Some(self.look(measured).await)),
            Err(reason) => Ok(Some(Err(reason))),
        }
    }

    /// The bytes of a blob of this size; the inner error is what is wrong with it.
    async fn read(&self, name: &str, bytes: u64) -> Result<Result<Bytes, String>, Failure> {
        if bytes > MAX_UPLOAD_BYTES {
            return Ok(Err(format!("this is larger than {MAX_UPLOAD_BYTES} bytes")));
        }
        // Bounded here as well: the blob may have been replaced since its size was read.
        let read = self.blobs.get(name, Some(0..MAX_UPLOAD_BYTES)).await?;
        let gone = || Failure::Retry(anyhow::anyhow!("the upload went away while it was read"));
        Ok(Ok(read.ok_or_else(gone)?))
    }

    /// Deletes the bytes of a medium that was collected during its check.
    async fn clear(&self, id: Ulid) -> Result<(), Failure> {
        for name in blob::all(id) {
            self.blobs.delete(&name).await?;
        }
        Ok(())
    }

    /// Looks at what a file says of itself, outside of the runtime's threads.
    async fn measure(&self, bytes: Bytes) -> Result<Measured, String> {
        let kind = Kind::sniff(&bytes).ok_or_else(|| format!("this is {}", describe(&bytes)))?;
        let bounds = self.bounds.clone();
        let place = self.rendering.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let measuring = tokio::task::spawn_blocking(move || {
            let pixels = pixels(&bytes, kind, &bounds).map_err(|refused| refused.to_string())?;
            Ok(Measured { bytes, kind, pixels, place })
        });
        measuring.await.map_err(|_| "the picture cannot be read".to_owned())?
    }

    /// Renders outside of the runtime's threads, and not for longer than the bounds allow. A decoder that does not look
    /// at the clock continues for a while after that, within the bounds on pixels and scans; nobody waits for it.
    async fn look(&self, Measured { bytes, kind, place, .. }: Measured) -> Result<Rendered, String> {
        let bounds = self.bounds.clone();
        let limit = bounds.time;
        // The thread itself holds the place: it takes up room even when nobody waits for it any more.
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
        let Some(stored) = self.checking(id).await? else {
            return Ok(self.blobs.delete(&blob::raw(id)).await?);
        };
        let is_mine = match stored.check {
            Some(first) => first == check,
            None => self.claim(id, owner, check, 0).await? == Claim::Mine,
        };
        if !is_mine {
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

    async fn work(&self, envelope: &Envelope, Checked { media, ended }: Checked) -> Result<(), Failure> {
        let id = ids::parse(&media).ok_or_else(|| Failure::reject(ErrorCode::BadMessage, "not an id"))?;
        self.check(&envelope.from, id, envelope.mid, ended).await
    }

    async fn give_up(&self, envelope: &Envelope, Checked { media, .. }: Checked) {
        let Some(id) = ids::parse(&media) else { return };
        if let Err(error) = self.refuse(&envelope.from, id, envelope.mid).await {
            tracing::warn!(%error, "a check that was given up leaves something to be collected");
        }
    }
}
