//! Media's paths on the public port.

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::{Method, Request};
use soundoff_common::model::ids;
use soundoff_common::web::http::Answer;
use soundoff_common::web::pages::Pages;
use soundoff_common::web::uploads::UPLOAD_PATH;

use crate::refusals::{no_such, not_with};
use crate::show::Show;
use crate::uploads::Uploads;

/// The path of all media.
pub(crate) const PATH: &str = "/v1/media";

/// The pages of media.
pub(crate) struct MediaPages {
    pub(crate) uploads: Uploads,
    pub(crate) show: Show,
}

#[async_trait]
impl Pages for MediaPages {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let upload = path.strip_prefix(UPLOAD_PATH).map(ids::parse);
        let shown = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')).map(ids::parse);
        let answered = match (request.method(), upload, shown) {
            (&Method::POST, None, None) => self.uploads.post(request).await,
            (&Method::PUT, Some(Some(id)), _) => self.uploads.put(id, request).await,
            (&Method::GET | &Method::HEAD, None, Some(Some(id))) => self.show.show(id, &request).await,
            (_, None, None) => Err(not_with("POST")),
            (_, Some(Some(_)), _) => Err(not_with("PUT")),
            (_, None, Some(Some(_))) => Err(not_with("GET, HEAD")),
            _ => Err(no_such()),
        };
        answered.unwrap_or_else(|refusal| *refusal)
    }
}
