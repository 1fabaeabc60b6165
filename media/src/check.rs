//! `media.check`: looks into what was uploaded, makes what may be shown of it, and passes on what came of it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::ids;
use soundoff_common::model::media::{self, Rendition, Renditions, State};
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::feature::{Feature, handler};
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::handler::raw;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::pipeline::worker::Own;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::queues::Message;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::ReasonLabel;
use soundoff_common::web::http::Answer;
use soundoff_common::web::pages::Pages;
use soundoff_common::web::uploads::UploadKey;
use ulid::Ulid;

use crate::blob;
use crate::checked::{CHECKED, Finding, MediaChecked};
use crate::config::{CHECKS, MAX_UPLOAD_BYTES, MediaConfig};
use crate::kind::{Kind, describe};
use crate::render::{Picture, Rendered, render};
use crate::service::{Media, MediaDeps};
use crate::uploaded::{Notification, UPLOADED, Uploaded};

/// The MessageType of the check, which is a job: [`Media::job`].
pub(crate) const CHECK: &str = "media.check";

/// Which medium.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Checked {
    /// Its id.
    pub(crate) media: String,
}

/// Media as a feature.
#[must_use]
pub fn feature(config: MediaConfig) -> Feature {
    const ITEMS: &[Table] = &[Table::Entities];
    const PEOPLE: &[Table] = &[Table::Users, Table::Entities];
    let made = move |world: &World| {
        let deps = MediaDeps {
            tables: world.tables.clone(),
            blobs: world.blobs()?,
            outward: world.outward.clone(),
            verifier: world.verifier()?,
            uploads: UploadKey::of(&world.secret),
            metrics: world.metrics.clone(),
        };
        anyhow::Ok(Media::new(config.clone(), deps))
    };
    let (uploaded, check, pages, collector) = (made.clone(), made.clone(), made.clone(), made);
    let looks = Spec {
        pull: Pull::at_most(CHECKS),
        causes: &[CHECKED],
        ..Spec::job::<Checked>(Tier::Workers, CHECK, "Looks into an uploaded picture.")
    };
    let says = "Has a picture looked into that a client put into the bucket.";
    let notified = Spec { causes: &[CHECK], ..Spec::job::<Notification>(Tier::Workers, UPLOADED, says) };
    Feature::new("media")
        .handles([handler::<crate::begin::MediaBegin>()])
        .works(notified, move |world| Ok(Uploaded(uploaded(world)?)))
        .works(looks, move |world| Ok(Check(check(world)?)))
        .handles([handler::<MediaChecked>()])
        .shows(Tier::Users, &["/v1/media"], &[CHECK], move |world| Ok(MediaPages(pages(world)?)))
        .runs(Tier::Users, "collector of media", &[], move |world, stop| {
            Ok(collector(world)?.run_collector(stop))
        })
        .touches(Tier::Users, Touches { reads: PEOPLE, writes: ITEMS, blobs: true, ..Touches::default() })
        .touches(Tier::Workers, Touches { reads: ITEMS, writes: ITEMS, blobs: true, ..Touches::default() })
        .keeps(media::HOLDINGS)
}

/// The pages of the media service.
struct MediaPages(Arc<Media>);

#[async_trait]
impl Pages for MediaPages {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.0.answer(request).await
    }
}

struct Check(Arc<Media>);

/// Whose turn it is to look into a medium.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Mine,
    /// That of another message, which will.
    Anothers,
    /// Nobody's: it was found what the medium is, or it is gone.
    Over,
}

impl Media {
    async fn check(&self, owner: &Handle, id: Ulid, check: Ulid) -> Result<(), String> {
        let name = blob::raw(id);
        match self.turn(id, check).await? {
            Turn::Mine => {}
            Turn::Anothers => return Ok(()),
            Turn::Over => return self.deps.blobs.delete(&name).await.map_err(|error| error.to_string()),
        }
        let Some(bytes) = self.deps.blobs.size(&name).await.map_err(|error| error.to_string())? else {
            // An earlier run was cut off at its end: what it found is on its way.
            return Ok(());
        };
        let finding = match self.look_at(&name, bytes).await? {
            Ok(rendered) => {
                let renditions = renditions(&rendered);
                self.keep(id, rendered).await.map_err(|error| error.to_string())?;
                match self.state(id).await? {
                    Some(State::Checking) => {}
                    // This message was here twice at once. Both had the same bytes, and what is shown stays.
                    Some(State::Ready) => return Ok(()),
                    _ => return self.clear(id).await,
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

    /// Of the messages that ask for one medium's check the first does it, however often it must be tried. Where clients put the bytes
    /// themselves they may put others at any time: a second check might read those, and change a picture that is shown.
    async fn turn(&self, id: Ulid, check: Ulid) -> Result<Turn, String> {
        let stored = self.read(id).await.map_err(|error| error.to_string())?;
        let Some(stored) = stored.filter(|stored| stored.state == State::Checking) else {
            return Ok(Turn::Over);
        };
        match stored.check {
            Some(first) if first == check => Ok(Turn::Mine),
            Some(_) => Ok(Turn::Anothers),
            None => {
                let taken = self.deps.tables.write(vec![media::look(id, check)]).await;
                // Whoever lost the race reads its end when it comes again.
                taken.map(|()| Turn::Mine).map_err(|error| error.to_string())
            }
        }
    }

    async fn state(&self, id: Ulid) -> Result<Option<State>, String> {
        let stored = self.read(id).await.map_err(|error| error.to_string())?;
        Ok(stored.map(|stored| stored.state))
    }

    /// What comes of a blob that has so many bytes; the inner error is what is wrong with it.
    async fn look_at(&self, name: &str, bytes: u64) -> Result<Result<Rendered, String>, String> {
        if bytes > MAX_UPLOAD_BYTES {
            return Ok(Err(format!("this is larger than {MAX_UPLOAD_BYTES} bytes")));
        }
        // Bounded here as well: what lies there may have been replaced since.
        let read = self.deps.blobs.get(name, Some(0..MAX_UPLOAD_BYTES)).await;
        let bytes =
            read.map_err(|error| error.to_string())?.ok_or("the upload went away while it was read")?;
        Ok(self.look(bytes).await)
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

/// Whom a check is for, of which medium, and the message's own id.
fn parse(message: &Message) -> Result<(Handle, Ulid, Ulid), String> {
    let envelope = Envelope::parse(&message.body).map_err(|error| format!("not an envelope: {error}"))?;
    let body: Checked = serde_json::from_str(envelope.body.get()).map_err(|error| error.to_string())?;
    let id = ids::parse(&body.media).ok_or("not an id")?;
    Ok((envelope.from, id, envelope.mid))
}

#[async_trait]
impl Job for Check {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for message in batch {
            verdicts.push(match parse(message) {
                Ok((owner, id, check)) => match self.0.check(&owner, id, check).await {
                    Ok(()) => Verdict::Done,
                    Err(error) => Verdict::Retry(error),
                },
                Err(error) => Verdict::Dead(error),
            });
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        let Ok((owner, id, check)) = parse(message) else { return };
        let given_up = async {
            match self.0.turn(id, check).await? {
                Turn::Mine => {}
                Turn::Anothers | Turn::Over => return Ok(()),
            }
            let finding = Finding::Refused("the picture could not be looked into; try another".to_owned());
            self.0.tell(&owner, id, finding).await?;
            self.0.deps.blobs.delete(&blob::raw(id)).await.map_err(|error| error.to_string())
        };
        if let Err(error) = given_up.await {
            tracing::warn!(error, "a check that was given up leaves something to be collected");
        }
    }
}
