//! The operators' port of a running process: on loopback only, and every request is signed with the key in the data
//! directory.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use soundoff_common::pipeline::deliver::{InternalKey, SIGNATURE_HEADER, TIME_HEADER};
use soundoff_common::protocol::now_ms;
use soundoff_common::web::http::whole;
use soundoff_common::web::problem::problem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Ask, Ops};
use crate::serve;

/// The path to which commands are POSTed.
pub(crate) const PATH: &str = "/ops";

const MAX_ASK_BYTES: usize = 64 * 1024;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, key: InternalKey, ops: Arc<Ops>, stop: CancellationToken) {
    let answer = move |request| {
        let (key, ops) = (key.clone(), ops.clone());
        async move { whole(answer(request, &key, &ops).await) }
    };
    serve::serve(listener, 0, stop, answer).await;
}

async fn answer(request: Request<Incoming>, key: &InternalKey, ops: &Ops) -> Response<Full<Bytes>> {
    let header =
        |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (time, signature) = (header(TIME_HEADER), header(SIGNATURE_HEADER));
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let Ok(body) = Limited::new(request.into_body(), MAX_ASK_BYTES).collect().await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too large");
    };
    let body = body.to_bytes();
    if path != PATH || !key.verify(&method, &path, &body, (&time, &signature), now_ms()) {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "not signed with this process's key");
    }
    let ask: Ask = match serde_json::from_slice(&body) {
        Ok(ask) => ask,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad_message", &error.to_string()),
    };
    match ops.answer(ask).await {
        Ok(value) => Response::new(Full::new(Bytes::from(value.to_string()))),
        Err(error) => problem(StatusCode::CONFLICT, "conflict", &format!("{error:#}")),
    }
}
