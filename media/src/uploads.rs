//! `POST /v1/media`, and the PUT that `media.begin` gave a URL for: takes media in.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::json;
use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::model::sign_ins::{self, Closed};
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{TableError, Tables};
use soundoff_common::ports::tokens::TokenVerifier;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{Answer, json, refuse, unauthorized, whole};
use soundoff_common::web::uploads::UploadKey;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::config::{MAX_POST_BYTES, MediaConfig};
use crate::kind::{Kind, SNIFF_BYTES};
use crate::places::Places;
use crate::receive::{Expected, Received, Seated, drain, receive};
use crate::refusals::{count, household_of, no_pixels, no_place_in, no_such, unavailable};
use crate::turns::Turns;
use crate::{blob, items};

/// How often an upload that lost a race against another of its user is begun again.
const RACES: u32 = 8;

/// Takes uploads in.
pub(crate) struct Uploads {
    config: MediaConfig,
    places: Places,
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    turns: Turns,
    metrics: Metrics,
    verifier: Arc<dyn TokenVerifier>,
    /// Knows the URLs that this service signed.
    key: UploadKey,
}

impl Uploads {
    pub(crate) fn new(config: MediaConfig, places: Places, world: &World) -> anyhow::Result<Self> {
        let (blobs, verifier, key) = (world.blobs()?, world.verifier()?, UploadKey::of(&world.secret));
        let World { tables, outward, metrics, .. } = world.clone();
        let turns = Turns { tables: tables.clone(), outward };
        Ok(Self { config, places, tables, blobs, turns, metrics, verifier, key })
    }

    /// A place for an upload of a user from an address.
    fn seat(&self, owner: &Handle, household: IpAddr) -> Result<Seated, Box<Answer>> {
        let gives_way = CancellationToken::new();
        let place = self.places.take(household, Some(owner), gives_way.clone());
        let place = place.map_err(|full| no_place_in(full, &self.metrics))?;
        if place.is_anothers {
            count(&self.metrics, "in_gave_way");
        }
        Ok(Seated { place, gives_way, config: self.config.clone() })
    }

    /// Takes a picture in. Its item is written before its bytes, so that an upload which is cut off is collected.
    pub(crate) async fn post(&self, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (head, body) = request.into_parts();
        let (id, now) = (Ulid::generate(), now_ms());
        let admitted = async {
            let owner = self.sender(&head.headers).await?;
            let seated = self.seat(&owner, household_of(&head.extensions))?;
            self.begin(id, &owner, now).await?;
            Ok((owner, seated))
        };
        let (owner, seated) = match admitted.await {
            Ok(admitted) => admitted,
            Err(refusal) => return unread(body, Err(refusal)),
        };
        let taken = self.take(id, body, Expected::AtMost(MAX_POST_BYTES), seated).await;
        if taken.is_err() {
            self.forget(id, &Stored::begun(&owner, now)).await;
        }
        taken
    }

    async fn begin(&self, id: Ulid, owner: &Handle, now: u64) -> Result<(), Box<Answer>> {
        for _ in 0..RACES {
            let counted = items::counted(&*self.tables, owner).await.map_err(|error| unavailable(&error))?;
            if let Some(wait) = counted.wait(now) {
                return Err(no_pixels(wait, &self.metrics));
            }
            let writes = media::begin(id, owner, now, counted.loose.as_ref()).map_err(|too_many| {
                count(&self.metrics, "loose");
                Box::new(refuse(StatusCode::CONFLICT, "conflict", &too_many.to_string()))
            })?;
            match self.tables.write(writes).await {
                Ok(()) => return Ok(()),
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&"lost every race for the count of loose media"))
    }

    /// Takes the bytes of a medium that was begun. The URL says how many and until when; a sender who has it needs
    /// nothing else.
    pub(crate) async fn put(&self, id: Ulid, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let Some(bytes) = self.key.allows(id, query, now_ms() / 1000) else {
            let detail = "the upload URL is altered or has expired; ask for another with media.begin";
            let refusal = refuse(StatusCode::FORBIDDEN, "forbidden", detail);
            return unread(body, Err(Box::new(refusal)));
        };
        let admitted = async {
            let stored = self.stored(id).await?.ok_or_else(no_such)?;
            // The answer was lost, or the check was not queued: both are made up for.
            if stored.state == State::Checking
                && let Some(kind) = self.waiting(id).await?
            {
                self.turns.ask(id, &stored).await.map_err(|error| unavailable(&error))?;
                return Ok(Err(said(StatusCode::OK, id, kind, bytes)));
            }
            let seated = self.seat(&stored.owner, household_of(&head.extensions))?;
            Ok(Ok(seated))
        };
        let seated = match admitted.await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(taken_before)) => return unread(body, Ok(taken_before)),
            Err(refusal) => return unread(body, Err(refusal)),
        };
        self.take(id, body, Expected::Exactly(bytes), seated).await
    }

    /// Who sends this.
    async fn sender(&self, headers: &HeaderMap) -> Result<Handle, Box<Answer>> {
        let refused = || Box::new(whole(unauthorized("send a good access token as bearer")));
        match sign_ins::of_bearer(&*self.tables, &*self.verifier, headers, now_ms() / 1000).await {
            Ok(Some(claims)) => Ok(claims.user),
            Ok(None) | Err(Closed::NoUser | Closed::Ended) => Err(refused()),
            Err(error @ (Closed::Unknown(_) | Closed::NoKeys)) => Err(unavailable(&error)),
        }
    }

    async fn stored(&self, id: Ulid) -> Result<Option<Stored>, Box<Answer>> {
        items::read(&*self.tables, id).await.map_err(|error| unavailable(&error))
    }

    async fn take(
        &self,
        id: Ulid,
        body: Incoming,
        expected: Expected,
        mut seated: Seated,
    ) -> Result<Answer, Box<Answer>> {
        let post = matches!(expected, Expected::AtMost(_));
        let writer = self.blobs.create(&blob::raw(id)).await.map_err(|error| unavailable(&error))?;
        let received = receive(body, writer, expected, &mut seated).await?;
        let Received { kind, bytes, writer } = received;
        // Of several uploads to one URL only one passes here, unless the first was cut off before its bytes became the
        // blob.
        let stored = self.claim_to_write(id).await?;
        writer.finish().await.map_err(|error| unavailable(&error))?;
        self.turns.ask(id, &stored).await.map_err(|error| unavailable(&error))?;
        Ok(said(if post { StatusCode::CREATED } else { StatusCode::OK }, id, kind, bytes))
    }

    /// The kind of the bytes that wait for their check, if there are any.
    async fn waiting(&self, id: Ulid) -> Result<Option<Kind>, Box<Answer>> {
        let head = self.blobs.get(&blob::raw(id), Some(0..SNIFF_BYTES as u64)).await;
        Ok(head.map_err(|error| unavailable(&error))?.and_then(|head| Kind::sniff(&head)))
    }

    /// Ends the upload of a medium whose bytes have all arrived and are about to become the blob.
    async fn claim_to_write(&self, id: Ulid) -> Result<Stored, Box<Answer>> {
        let used = || {
            let detail = "this medium was uploaded already; ask for another with media.begin";
            Box::new(refuse(StatusCode::CONFLICT, "conflict", detail))
        };
        let stored = self.stored(id).await?.ok_or_else(no_such)?;
        if stored.state == State::Checking && self.waiting(id).await?.is_none() {
            return Ok(stored);
        }
        if stored.state != State::Uploading {
            return Err(used());
        }
        let claimed = items::claim(&*self.tables, id, &stored).await.map_err(|error| unavailable(&error))?;
        claimed.ok_or_else(used)
    }

    /// Undoes what a refused upload has begun. If this fails, what is left is collected.
    async fn forget(&self, id: Ulid, begun: &Stored) {
        let forgotten = self.tables.write(media::end(id, begun)).await;
        let _collected_otherwise = self.blobs.delete(&blob::raw(id)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a refused upload is left to be collected");
        }
    }
}

/// An answer before the body was read. The body is read nevertheless, so that its sender reads the answer.
fn unread(body: Incoming, answer: Result<Answer, Box<Answer>>) -> Result<Answer, Box<Answer>> {
    tokio::spawn(drain(body));
    answer
}

/// The answer to an upload.
fn said(status: StatusCode, id: Ulid, kind: Kind, bytes: u64) -> Answer {
    let media = json!({
        "id": id.to_string(), "url": media::url(id), "content_type": kind.content_type(), "bytes": bytes,
    });
    json(status, &json!({ "media": media }))
}
