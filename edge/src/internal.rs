//! The internal port: deliveries from workers, health, metrics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use soundoff_common::lock::lock;
use soundoff_common::pipeline::deliver::{self as head, DELIVER_PATH};
use soundoff_common::pipeline::inbox;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::Handle;
use soundoff_common::web::base::BasePath;
use soundoff_common::web::http::{asks_for_own, metrics, readiness, text, whole};
use soundoff_common::web::packing::Packing;
use soundoff_common::web::problem::problem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::begun::Begun;
use crate::deliver::Refused;
use crate::edge::Edge;
use crate::places::{Places, Seat};
use crate::posts::{self, Rest};

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// How long a request and its answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may go on sending what nobody reads: if its connection were cut at once, it would not see the
/// answer.
const LINGER: Duration = Duration::from_secs(1);
/// How long a probe of a dependency may take before it counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the internal port until dropped.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener) {
    let places = Places::new(edge.metrics.clone());
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (edge, seat) = (edge.clone(), places.enter(from.ip()));
                tokio::spawn(async move { serve_one(&edge, seat, stream).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the internal port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_one(edge: &Edge, mut seat: Seat, stream: TcpStream) {
    // Small answers must not wait for the acks of earlier ones; if this fails, they are only slower.
    let _ = stream.set_nodelay(true);
    let gone = seat.gone();
    tokio::select! {
        () = speak(edge, &mut seat, stream) => {}
        () = gone.cancelled() => {}
        // The last deliveries still arrive during a drain: the connection ends only with the edge.
        () = edge.ended.cancelled() => {}
    }
}

/// Takes deliveries while nothing else comes, and then answers one request over HTTP.
async fn speak(edge: &Edge, seat: &mut Seat, stream: TcpStream) {
    match posts::serve(edge, seat, &stream).await {
        Some(rest) => {
            let _too_long = timeout(ANSWER_TIMEOUT, http(edge, stream, rest)).await;
        }
        None => seat.ended(),
    }
}

/// Answers one request. More on the same connection would be a way to keep a place: who probes or reads metrics comes
/// again.
async fn http(edge: &Edge, stream: TcpStream, Rest { read, refused }: Rest) {
    let refused = Mutex::new(refused);
    let service = service_fn(|request| {
        let refused = lock(&refused).take();
        async move { Ok::<_, std::convert::Infallible>(answer(edge, refused, request).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        // Answers are small: one buffer and `send` cost less than two buffers and `writev`.
        .writev(false)
        .serve_connection(TokioIo::new(Begun::new(stream, read)), service);
    if (&mut connection).await.is_ok() {
        let _too_long = timeout(LINGER, linger(connection.into_parts().io.into_inner())).await;
    }
}

/// Reads what a client still sends, until it has seen its answer and closes.
async fn linger(mut stream: Begun) {
    let mut nothing = vec![0; 8 * 1024];
    if stream.shutdown().await.is_ok() {
        while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
    }
}

/// The edge's own answers are whole; those of other pages may be streamed.
type Said = Either<Full<Bytes>, UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(edge: &Edge, refused: Option<Refused>, mut request: Request<Incoming>) -> Response<Said> {
    BasePath::default().plain(&mut request);
    let answered = match (request.method(), request.uri().path()) {
        // What is plain and signed has been taken already.
        (&Method::POST, DELIVER_PATH) => {
            refusal(edge, refused.unwrap_or(Refused::Head(head::Refused::Unsigned)))
        }
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => readiness(&wrong(edge, asks_for_own(request.uri())).await),
        (&Method::GET, "/metrics") => {
            let answer = whole(metrics(&edge.metrics, request.headers()));
            return Packing::of(&request).pack(answer).await.map(Either::Right);
        }
        (_, DELIVER_PATH | "/healthz" | "/readyz" | "/metrics") => {
            problem(StatusCode::METHOD_NOT_ALLOWED, "bad_message", "not with this method")
        }
        _ => match &edge.internal_pages {
            Some(pages) => {
                let packing = Packing::of(&request);
                return packing.pack(pages.answer(request).await).await.map(Either::Right);
            }
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

/// The answer to deliveries that are not taken.
fn refusal(edge: &Edge, refused: Refused) -> Response<Full<Bytes>> {
    let (status, code, detail) = match refused {
        Refused::Head(head::Refused::Unsigned) | Refused::OtherBody => {
            edge.metrics.edge_unsigned_requests.inc();
            (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "no plain request that was signed just now with the internal key",
            )
        }
        Refused::Head(head::Refused::Repeated) => {
            edge.metrics.edge_repeated_requests.inc();
            (StatusCode::UNAUTHORIZED, "unauthorized", "this request was taken before: sign it again")
        }
        Refused::Head(head::Refused::OtherProcess) => {
            (StatusCode::CONFLICT, "conflict", "another edge process lives here")
        }
        Refused::Head(head::Refused::Crowded) => {
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many senders; try again in two minutes")
        }
        Refused::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large"),
        Refused::Malformed => {
            (StatusCode::BAD_REQUEST, "bad_message", "not a deliver request of this version")
        }
    };
    problem(status, code, detail)
}
