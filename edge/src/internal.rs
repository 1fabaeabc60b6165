//! The internal port: deliveries from workers, health, metrics.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use soundoff_common::pipeline::deliver::{DELIVER_PATH, MAX_REQUEST_BYTES, SIGNATURE_HEADER, TIME_HEADER};
use soundoff_common::pipeline::inbox;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::Handle;
use soundoff_common::web::http::{asks_for_own, metrics, readiness, text};
use soundoff_common::web::problem::{Refusal, problem};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::begun::Begun;
use crate::deliver::{self, Refused};
use crate::edge::Edge;
use crate::posts::{self, READ_TIMEOUT};

/// The most internal connections: workers keep one or a few each.
const CONNECTIONS: usize = 512;
/// How long a probe of a dependency may take before it counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the internal port until dropped.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let edge = edge.clone();
                tokio::spawn(async move {
                    serve_one(edge, stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the internal port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_one(edge: Arc<Edge>, stream: TcpStream) {
    // Small answers must not wait for the acks of earlier ones; if this fails, they are only slower.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        () = speak(&edge, stream) => {}
        // The last deliveries still arrive during a drain: the connection ends only with the edge.
        () = edge.ended.cancelled() => {}
    }
}

/// Takes deliveries while nothing else comes, and then speaks HTTP.
async fn speak(edge: &Edge, mut stream: TcpStream) {
    let Some(read) = posts::serve(edge, &mut stream).await else { return };
    let service =
        service_fn(|request| async move { Ok::<_, std::convert::Infallible>(answer(edge, request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        // Answers are small: one buffer and `send` cost less than two buffers and `writev`.
        .writev(false)
        .serve_connection(TokioIo::new(Begun::new(stream, read)), service);
    let _ended = connection.await;
}

/// The edge's own answers are whole; those of other pages may be streamed.
type Said = Either<Full<Bytes>, UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(edge: &Edge, request: Request<Incoming>) -> Response<Said> {
    let answered = match (request.method(), request.uri().path()) {
        (&Method::POST, DELIVER_PATH) => deliver(edge, request).await.unwrap_or_else(|refusal| *refusal),
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => readiness(&wrong(edge, asks_for_own(request.uri())).await),
        (&Method::GET, "/metrics") => metrics(&edge.metrics),
        (_, DELIVER_PATH | "/healthz" | "/readyz" | "/metrics") => {
            problem(StatusCode::METHOD_NOT_ALLOWED, "bad_message", "not with this method")
        }
        _ => match &edge.internal_pages {
            Some(pages) => return pages.answer(request).await.map(Either::Right),
            None => problem(StatusCode::NOT_FOUND, "not_found", "nothing is here"),
        },
    };
    answered.map(Either::Left)
}

/// Why no new sockets should come here: of this edge's `own`, or of all it depends on. A dependency that failed last is
/// probed again, so that an edge without traffic recovers.
async fn wrong(edge: &Edge, own: bool) -> Vec<String> {
    if edge.is_draining() {
        return vec!["draining".to_owned()];
    }
    let clock: Vec<String> = edge.clock.unready().into_iter().collect();
    if own || !clock.is_empty() {
        return clock;
    }
    probe(edge).await;
    let mut wrong = edge.weather.wrong();
    if !edge.health.are_queues_well() {
        wrong.push("main_q fails".to_owned());
    }
    if !edge.health.are_sessions_well() {
        wrong.push("the session cache fails".to_owned());
    }
    wrong
}

/// Asks again what failed last.
async fn probe(edge: &Edge) {
    if !edge.health.are_queues_well() {
        let main = QueueName::main();
        let looked = tokio::time::timeout(PROBE_TIMEOUT, edge.queues.depth(&main)).await;
        edge.health.queues(matches!(looked, Ok(Ok(_))));
    }
    if !edge.health.are_sessions_well() {
        let looked = tokio::time::timeout(PROBE_TIMEOUT, edge.sessions.get_many(&[probe_user()])).await;
        if let Ok(Ok(_)) = looked {
            edge.health.sessions(&Ok(()));
        }
    }
    if !edge.weather.is_calm() {
        let _its_breaker_counts_it =
            tokio::time::timeout(PROBE_TIMEOUT, inbox::heads(&*edge.tables, &[probe_user()])).await;
    }
}

/// A user that does not exist.
fn probe_user() -> Handle {
    "readyz_probe".parse().expect("a valid handle")
}

/// Takes deliveries that came over HTTP.
async fn deliver(edge: &Edge, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refusal> {
    let field = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let unsigned = || {
        edge.metrics.edge_unsigned_requests.inc();
        refuse(StatusCode::UNAUTHORIZED, "unauthorized", "not signed with the internal key")
    };
    let Some((time, signature)) = field(TIME_HEADER).zip(field(SIGNATURE_HEADER)) else {
        return Err(unsigned());
    };
    let (time, signature) = (time.to_owned(), signature.to_owned());
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is too large or broke off",
            ));
        }
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "bad_message", "the body took too long")),
    };
    let answer = deliver::take(edge, (&time, &signature), &body).map_err(|refused| match refused {
        Refused::Unsigned => unsigned(),
        Refused::Malformed => {
            refuse(StatusCode::BAD_REQUEST, "bad_message", "not a deliver request of this version")
        }
        Refused::OtherBoot => refuse(StatusCode::CONFLICT, "conflict", "another edge process lives here"),
    })?;
    let mut response = text(StatusCode::OK, answer);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn refuse(status: StatusCode, code: &str, detail: &str) -> Refusal {
    Box::new(problem(status, code, detail))
}
