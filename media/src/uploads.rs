//! Media on their way in: `POST /v1/media`, and the PUT that `media.begin` gave a URL for.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;
use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::ports::tables::{Table, TableError};
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::web::http::{Answer, json, refuse};
use ulid::Ulid;

use crate::blob;
use crate::config::MAX_POST_BYTES;
use crate::kind::{Kind, SNIFF_BYTES};
use crate::receive::{Expected, Received, drain, receive};
use crate::service::{Media, no_such, unavailable};

/// How often an upload that raced another of its user's is begun anew.
const RACES: u32 = 8;

impl Media {
    /// Takes a picture in. Its item is there before its bytes: whatever is cut off on the way is collected.
    pub(crate) async fn post(&self, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (head, body) = request.into_parts();
        let (id, now) = (Ulid::generate(), now_ms());
        let admitted = async {
            let owner = self.sender(&head.headers).await?;
            let place = self.place(&owner)?;
            self.begin(id, &owner, now).await?;
            Ok((owner, place))
        };
        let (owner, place) = match admitted.await {
            Ok(admitted) => admitted,
            Err(refusal) => return unread(body, Err(refusal)),
        };
        let taken = self.take(id, &owner, body, Expected::AtMost(MAX_POST_BYTES)).await;
        drop(place);
        if taken.is_err() {
            self.forget(id, &Stored::begun(&owner, now)).await;
        }
        taken
    }

    async fn begin(&self, id: Ulid, owner: &Handle, now: u64) -> Result<(), Box<Answer>> {
        for _ in 0..RACES {
            let counted = self.deps.tables.get(Table::Entities, media::count_key(owner)).await;
            let counted = counted.map_err(|error| unavailable(&error))?;
            let writes = media::begin(id, owner, now, counted.as_ref()).map_err(|too_many| {
                Box::new(refuse(StatusCode::CONFLICT, "conflict", &too_many.to_string()))
            })?;
            match self.deps.tables.write(writes).await {
                Ok(()) => return Ok(()),
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&"lost every race for the count of loose media"))
    }

    /// Takes the bytes of a medium that was begun. The URL says for how many and until when; whoever holds it needs nothing else.
    pub(crate) async fn put(&self, id: Ulid, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let Some(bytes) = self.deps.uploads.allows(id, query, now_ms() / 1000) else {
            let detail = "the upload URL is altered or has lapsed; ask for another with media.begin";
            let refusal = refuse(StatusCode::FORBIDDEN, "forbidden", detail);
            return unread(body, Err(Box::new(refusal)));
        };
        let admitted = async {
            let stored = self.stored(id).await?.ok_or_else(no_such)?;
            // The answer was lost, or the check was not asked for: both are made good.
            if stored.state == State::Checking
                && let Some(kind) = self.waiting(id).await?
            {
                self.ask_for_check(id, &stored.owner).await.map_err(|error| unavailable(&error))?;
                return Ok(Err(said(StatusCode::OK, id, kind, bytes)));
            }
            let place = self.place(&stored.owner)?;
            Ok(Ok((stored.owner, place)))
        };
        let (owner, place) = match admitted.await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(taken_before)) => return unread(body, Ok(taken_before)),
            Err(refusal) => return unread(body, Err(refusal)),
        };
        let taken = self.take(id, &owner, body, Expected::Exactly(bytes)).await;
        drop(place);
        taken
    }

    pub(crate) async fn stored(&self, id: Ulid) -> Result<Option<Stored>, Box<Answer>> {
        self.read(id).await.map_err(|error| unavailable(&error))
    }

    async fn take(
        &self,
        id: Ulid,
        owner: &Handle,
        body: Incoming,
        expected: Expected,
    ) -> Result<Answer, Box<Answer>> {
        let post = matches!(expected, Expected::AtMost(_));
        let writer = self.deps.blobs.create(&blob::raw(id)).await.map_err(|error| unavailable(&error))?;
        let received = receive(body, writer, expected, &self.config).await?;
        let Received { kind, bytes, writer } = received;
        // Of several uploads to one URL one gets here, unless the first was cut off before its bytes became the blob.
        self.claim_to_write(id).await?;
        writer.finish().await.map_err(|error| unavailable(&error))?;
        self.ask_for_check(id, owner).await.map_err(|error| unavailable(&error))?;
        Ok(said(if post { StatusCode::CREATED } else { StatusCode::OK }, id, kind, bytes))
    }

    /// What waits to be looked into, if bytes are there.
    async fn waiting(&self, id: Ulid) -> Result<Option<Kind>, Box<Answer>> {
        let head = self.deps.blobs.get(&blob::raw(id), Some(0..SNIFF_BYTES as u64)).await;
        Ok(head.map_err(|error| unavailable(&error))?.and_then(|head| Kind::sniff(&head)))
    }

    /// Ends the uploading of a medium whose bytes are all here and about to become the blob.
    async fn claim_to_write(&self, id: Ulid) -> Result<(), Box<Answer>> {
        let used = || {
            let detail = "this medium was uploaded already; ask for another with media.begin";
            Box::new(refuse(StatusCode::CONFLICT, "conflict", detail))
        };
        let stored = self.stored(id).await?.ok_or_else(no_such)?;
        if stored.state == State::Checking && self.waiting(id).await?.is_none() {
            return Ok(());
        }
        let claimed = stored.state == State::Uploading
            && self.claim(id, &stored).await.map_err(|error| unavailable(&error))?;
        if claimed { Ok(()) } else { Err(used()) }
    }

    /// Takes back what a refused upload has begun. What stays behind, should this fail, is collected.
    async fn forget(&self, id: Ulid, begun: &Stored) {
        let forgotten = self.deps.tables.write(media::end(id, begun)).await;
        let _collected_otherwise = self.deps.blobs.delete(&blob::raw(id)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a refused upload is left to be collected");
        }
    }
}

/// An answer before the body was read: it is read on, so that its sender gets to read the answer.
fn unread(body: Incoming, answer: Result<Answer, Box<Answer>>) -> Result<Answer, Box<Answer>> {
    tokio::spawn(drain(body));
    answer
}

/// What an upload is answered with.
fn said(status: StatusCode, id: Ulid, kind: Kind, bytes: u64) -> Answer {
    let media = json!({
        "id": id.to_string(), "url": media::url(id), "content_type": kind.content_type(), "bytes": bytes,
    });
    json(status, &json!({ "media": media }))
}
