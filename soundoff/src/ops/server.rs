//! The operators' port of a running process: on loopback only, and every request is signed with the key in the data
//! directory. It is judged by its head, and taken once: a command that somebody has seen cannot be given again.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::deliver::{Judge, Promised, SIGNED_HEADER, is_fresh};
use soundoff_common::protocol::now_ms;
use soundoff_common::web::http::{Answer, json, refuse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Ask, Ops};
use crate::serve;

/// The path to which commands are POSTed.
pub(crate) const PATH: &str = "/ops";

/// A command, and who gives it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Asked {
    By { by: String, ask: Ask },
    Plain(Ask),
}

const MAX_ASK_BYTES: usize = 64 * 1024;

/// Serves until `stop`. `judge` calls itself by the listener's address, `ip:port`.
pub(crate) async fn serve(listener: TcpListener, judge: Judge, ops: Arc<Ops>, stop: CancellationToken) {
    let judge = Arc::new(judge);
    let answer = move |request| {
        let (judge, ops) = (judge.clone(), ops.clone());
        async move { answer(request, &judge, &ops).await }
    };
    serve::serve(listener, 0, stop, answer).await;
}

async fn answer(request: Request<Incoming>, judge: &Judge, ops: &Ops) -> Answer {
    let unsigned = || refuse(StatusCode::UNAUTHORIZED, "unauthorized", "not signed with this process's key");
    let Some(promised) = judged(&request, judge) else { return unsigned() };
    let Ok(body) = Limited::new(request.into_body(), MAX_ASK_BYTES).collect().await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too large");
    };
    let body = body.to_bytes();
    if !promised.is_kept_by(&body) {
        return unsigned();
    }
    let (by, ask) = match serde_json::from_slice(&body) {
        Ok(Asked::By { by, ask }) => (by, ask),
        Ok(Asked::Plain(ask)) => ("unnamed".to_owned(), ask),
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_message", &error.to_string()),
    };
    match ops.answer(ask, &by).await {
        Ok(value) => json(StatusCode::OK, &value),
        Err(error) => refuse(StatusCode::CONFLICT, "conflict", &format!("{error:#}")),
    }
}

/// What a request's head says of its body, if the head is signed and comes for the first time.
fn judged(request: &Request<Incoming>, judge: &Judge) -> Option<Promised> {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let signed = request.headers().get(SIGNED_HEADER)?.to_str().ok()?;
    // A body without a length has none that could have been signed.
    let length = request.body().size_hint().exact()?;
    let judged = judge.judge(method, path, length, signed, |time| is_fresh(time, now_ms()));
    judged.ok().filter(|_| path == PATH)
}
