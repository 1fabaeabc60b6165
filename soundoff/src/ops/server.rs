//! The operators' port of a running process: loopback only, every request signed with the key in the data directory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use soundoff_common::deliver::{InternalKey, SIGNATURE_HEADER, TIME_HEADER};
use soundoff_common::problem::problem;
use soundoff_common::protocol::now_ms;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Ask, Ops};

/// Where asks are POSTed.
pub(crate) const PATH: &str = "/ops";

const MAX_ASK_BYTES: usize = 64 * 1024;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, key: InternalKey, ops: Arc<Ops>, stop: CancellationToken) {
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((socket, _)) = socket else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (key, ops) = (key.clone(), ops.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (key, ops) = (key.clone(), ops.clone());
                async move { Ok::<_, Infallible>(answer(request, &key, &ops).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5));
            // A client that breaks off has its reasons; there is nobody to tell.
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
        });
    }
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
