//! A bounded HTTP server for the ports that no edge serves: operators, health, and public pages.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use soundoff_common::web::address::client;
use soundoff_common::web::http::{Answer, Peer, refuse};
use soundoff_common::web::paced::{Hangup, Pace, Paced, UNSENT_BYTES};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most connections of one listener.
const CONNECTIONS: usize = 4096;
/// How long a request's header may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may stay unacknowledged. A client that reads, but slowly, is held to a pace as well.
const UNREAD: Duration = Duration::from_secs(30);

/// Serves until `stop`, then finishes the calls in progress. Each request carries its [`Hangup`], and its [`Peer`]: the
/// other end of the connection or, behind `proxies`, the address that the outermost of them has written into
/// `X-Forwarded-For`.
pub(crate) async fn serve<F, A>(listener: TcpListener, proxies: usize, stop: CancellationToken, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let (answer, connections) = (Arc::new(answer), TaskTracker::new());
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = async {
                let permit = free.clone().acquire_owned().await;
                (listener.accept().await, permit)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), permit) => {
                let (answer, stop) = (answer.clone(), stop.clone());
                connections.spawn(async move {
                    one(stream, proxies, stop, answer).await;
                    drop(permit);
                });
            }
            (Err(error), _) => {
                // Usually the process is out of file descriptors: existing connections must close before new ones can
                // come.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn one<F, A>(stream: TcpStream, proxies: usize, stop: CancellationToken, answer: Arc<F>)
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    // If these fail, answers are slower, and the bounds on connections still hold.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let other_end = stream.peer_addr().ok().map(|address| address.ip());
    let hangup = Hangup::default();
    let stream = Paced::new(stream, Pace::LEAST, hangup.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(client) = client(request.headers(), other_end, proxies) {
            request.extensions_mut().insert(Peer(client));
        }
        request.extensions_mut().insert(hangup.clone());
        // In a task of its own: a client that leaves must not stop a call between two of its steps.
        let answered = tokio::spawn(answer(request));
        async move {
            Ok::<_, Infallible>(answered.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a page has panicked");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a fault of ours")
            }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // If the client breaks the connection, there is nobody left to report it to.
    tokio::select! {
        _ended = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}
