//! The media service: what its parts share, and its paths on the public port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode};
use soundoff_common::model::ids;
use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::model::sign_ins::{self, Closed};
use soundoff_common::pipeline::handler::raw;
use soundoff_common::pipeline::worker::{Outward, Own};
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{Table, TableError, Tables};
use soundoff_common::ports::tokens::TokenVerifier;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{
    Answer, method_not_allowed, not_now, refuse, retry_later, unauthorized, whole,
};
use soundoff_common::web::uploads::{UPLOAD_PATH, UploadKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ulid::Ulid;

use crate::check::{CHECK, Checked};
use crate::config::MediaConfig;

/// Where media are.
const PATH: &str = "/v1/media";

/// What the media service needs from the world.
#[derive(Clone)]
pub struct MediaDeps {
    /// Media's items.
    pub tables: Arc<dyn Tables>,
    /// Their bytes.
    pub blobs: Arc<dyn Blobs>,
    /// Where what follows is queued.
    pub outward: Outward,
    /// Judges access tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Knows the URLs that this service signed.
    pub uploads: UploadKey,
    /// The process's metrics.
    pub metrics: Metrics,
}

/// The media service.
pub struct Media {
    pub(crate) config: MediaConfig,
    pub(crate) deps: MediaDeps,
    /// Pictures that are being looked into.
    pub(crate) checking: Arc<Semaphore>,
    /// Answers that are being sent.
    pub(crate) showing: Arc<Semaphore>,
    room: Arc<Semaphore>,
    uploading: Arc<Mutex<HashMap<Handle, usize>>>,
}

/// A place among the uploads in progress, given back when dropped.
pub(crate) struct Place {
    _room: OwnedSemaphorePermit,
    user: Handle,
    uploading: Arc<Mutex<HashMap<Handle, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploading = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uploading.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                uploading.remove(&self.user);
            }
        }
    }
}

impl Media {
    /// The service.
    #[must_use]
    pub fn new(config: MediaConfig, deps: MediaDeps) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(config.uploads));
        let showing = Arc::new(Semaphore::new(config.shown));
        let checking = Arc::new(Semaphore::new(config.checks));
        Arc::new(Self { config, deps, checking, showing, room, uploading: Arc::default() })
    }

    /// Whether a path is this service's.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request to a path that it [`serves`](Self::serves).
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let upload = path.strip_prefix(UPLOAD_PATH).map(ids::parse);
        let shown = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')).map(ids::parse);
        let answered = match (request.method(), upload, shown) {
            (&Method::POST, None, None) => self.post(request).await,
            (&Method::PUT, Some(Some(id)), _) => self.put(id, request).await,
            (&Method::GET | &Method::HEAD, None, Some(Some(id))) => self.show(id, &request).await,
            (_, None, None) => Err(not_with("POST")),
            (_, Some(Some(_)), _) => Err(not_with("PUT")),
            (_, None, Some(Some(_))) => Err(not_with("GET, HEAD")),
            _ => Err(no_such()),
        };
        answered.unwrap_or_else(|refusal| *refusal)
    }

    /// Who sends this.
    pub(crate) async fn sender(&self, headers: &HeaderMap) -> Result<Handle, Box<Answer>> {
        let refused = || Box::new(whole(unauthorized("send a good access token as bearer")));
        let MediaDeps { tables, verifier, .. } = &self.deps;
        match sign_ins::of_bearer(&**tables, &**verifier, headers, now_ms() / 1000).await {
            Ok(Some(claims)) => Ok(claims.user),
            Ok(None) | Err(Closed::NoUser | Closed::Ended) => Err(refused()),
            Err(Closed::Unknown(error)) => Err(unavailable(&error)),
        }
    }

    /// A place for one more upload of a user's.
    pub(crate) fn place(&self, user: &Handle) -> Result<Place, Box<Answer>> {
        let full = |status, detail| Err(Box::new(retry_later(status, "overloaded", detail, 2)));
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return full(StatusCode::SERVICE_UNAVAILABLE, "too many uploads are in progress; try again");
        };
        let mut uploading = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uploading.get(user).copied().unwrap_or(0);
        if count >= self.config.uploads_per_user {
            return full(StatusCode::TOO_MANY_REQUESTS, "finish your other uploads first");
        }
        uploading.insert(user.clone(), count + 1);
        drop(uploading);
        Ok(Place { _room: room, user: user.clone(), uploading: self.uploading.clone() })
    }

    /// A medium's item.
    pub(crate) async fn read(&self, id: Ulid) -> Result<Option<Stored>, TableError> {
        self.deps.tables.get(Table::Entities, media::key(id)).await.and_then(media::parse)
    }

    /// Ends the uploading of a medium that was read; answers whether nobody was faster.
    pub(crate) async fn claim(&self, id: Ulid, stored: &Stored) -> Result<bool, TableError> {
        let checking = vec![State::Checking.set()];
        match self.deps.tables.write(vec![media::change(id, stored, checking)]).await {
            Ok(()) => Ok(true),
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has a medium looked into.
    pub(crate) async fn ask_for_check(&self, id: Ulid, owner: &Handle) -> Result<(), String> {
        let body = raw(&Checked { media: id.to_string() });
        let own = Own { message_type: CHECK, about: owner.clone(), body };
        self.deps.outward.queue(vec![own], now_ms()).await
    }
}

/// The refusal for what is not there, or not there yet, or not for anybody: nobody learns which.
pub(crate) fn no_such() -> Box<Answer> {
    let detail = "there is no such media, or it has not passed its check yet";
    Box::new(refuse(StatusCode::NOT_FOUND, "not_found", detail))
}

/// The refusal when something that is needed does not answer.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Box<Answer> {
    tracing::warn!("a media request cannot be served: {error}");
    Box::new(not_now())
}

fn not_with(allowed: &'static str) -> Box<Answer> {
    Box::new(method_not_allowed(allowed))
}
