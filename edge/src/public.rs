//! The public port: a connection that asks for a websocket in its first bytes gets its answer at once; all others speak
//! HTTP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use soundoff_common::lock::lock;
use soundoff_common::protocol::CloseCode;
use soundoff_common::web::http::{Answer, Peer, whole};
use soundoff_common::web::paced::{Hangup, Paced, UNSENT_BYTES};
use soundoff_common::web::problem::problem;

use crate::begun::Begun;
use crate::connection::Arrival;
use crate::edge::Edge;
use crate::upgrade::{self, Agreed, HEADER_FIELDS, PATH};

/// The largest request header, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// How many first bytes are examined before HTTP takes over: a browser's request for a websocket has some 700 bytes, an
/// access token 400.
const FIRST_BYTES: usize = 2048;
/// How long an answer may stay unacknowledged before the kernel gives the peer up. A peer that reads, but slowly, is
/// held to a pace as well.
const UNREAD: Duration = Duration::from_secs(30);

/// What a connection is after its first bytes.
enum First {
    /// It is a websocket, or gone.
    Settled,
    Silent(TcpStream),
    /// With what has been read of it.
    Http(TcpStream, Vec<u8>),
}

/// Serves one public connection, which does not block, until it is a websocket or ends.
pub(crate) async fn serve(edge: Arc<Edge>, stream: TcpStream) {
    let other_end = stream.peer_addr().ok().map(|address| address.ip());
    let Some(visit) = edge.guests.enter(other_end) else { return };
    let mut first = look(&edge, stream, other_end);
    // When many connect at once, the request is there by the time its connection is accepted; otherwise it is still on
    // its way.
    if let First::Silent(stream) = first {
        let Some(stream) = readable(&edge, stream).await else { return };
        first = look(&edge, stream, other_end);
    }
    match first {
        First::Settled => {}
        First::Silent(stream) => http(edge, stream, Vec::new(), other_end).await,
        First::Http(stream, read) => http(edge, stream, read, other_end).await,
    }
    drop(visit);
}

/// Waits until a connection has something to read; `None` when that takes too long.
async fn readable(edge: &Edge, stream: TcpStream) -> Option<TcpStream> {
    let stream = tokio::net::TcpStream::from_std(stream).ok()?;
    tokio::select! {
        ready = tokio::time::timeout(edge.config.hello_timeout, stream.readable()) => ready.ok()?.ok()?,
        () = edge.stopping.cancelled() => return None,
    }
    stream.into_std().ok()
}

/// Reads what there is, and makes the connection a websocket if it asks for one and may have one.
fn look(edge: &Edge, mut stream: TcpStream, other_end: Option<IpAddr>) -> First {
    let mut buffer = [0; FIRST_BYTES];
    let read = match stream.read(&mut buffer) {
        Ok(0) => return First::Settled,
        Ok(read) => &buffer[..read],
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            return First::Silent(stream);
        }
        Err(_) => return First::Settled,
    };
    let Some((headers, len)) = upgrade::asked(read, &edge.config.base) else {
        return First::Http(stream, read.to_vec());
    };
    // Nothing has been written to this connection yet, so it has room for the answer.
    match upgrade::agree(edge, &headers, other_end) {
        Ok(agreed) => {
            let wire = agreed.wire();
            if stream.write(&wire).is_ok_and(|written| written == wire.len()) {
                hand_over(edge, stream, read[len..].to_vec(), agreed);
            }
        }
        // If the client has gone, nobody wants to know.
        Err(mut refusal) => {
            edge.config.tls_only.mark(&headers, refusal.headers_mut());
            _ = stream.write(&upgrade::refusal_wire(*refusal));
        }
    }
    First::Settled
}

/// Hands a new websocket to its reactor. `leftover` was read together with the upgrade; a socket to be shed only gets
/// to know that.
fn hand_over(edge: &Edge, stream: TcpStream, leftover: Vec<u8>, agreed: Agreed) {
    let connection = edge.open(agreed.from);
    if let Some(reason) = &agreed.shed {
        edge.close_for(&connection, CloseCode::Shedding, reason);
    }
    let (bearer, counted) = (agreed.bearer, edge.tasks.token());
    let arrival = Arrival { connection: connection.clone(), stream, leftover, bearer, counted };
    connection.mailbox().hand_over(arrival);
}

/// What was agreed over HTTP, and how to get the connection.
type Upgrade = (OnUpgrade, Agreed);

/// Speaks HTTP on a connection of which `read` has been read, until it is a websocket or ends.
async fn http(edge: Arc<Edge>, stream: TcpStream, read: Vec<u8>, other_end: Option<IpAddr>) {
    let upgraded: Mutex<Option<Upgrade>> = Mutex::new(None);
    // If it fails, the bounds on connections still hold.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let hangup = Hangup::default();
    let stream = Paced::new(Begun::new(stream, read), edge.config.page_pace, hangup.clone());
    let service = service_fn(|mut request| {
        let (edge, upgraded) = (&edge, &upgraded);
        request.extensions_mut().insert(hangup.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(edge, upgraded, other_end, request).await) }
    });
    {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(edge.config.hello_timeout)
            .max_buf_size(HEADER_BYTES)
            .max_headers(HEADER_FIELDS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = edge.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a public connection ended");
        }
    }
    let upgraded = lock(&upgraded).take();
    let Some((on, agreed)) = upgraded else { return };
    let Ok(Ok(upgraded)) = tokio::time::timeout(edge.config.hello_timeout, on).await else { return };
    // Nothing of HTTP is kept: the bare connection goes to a reactor.
    match upgraded.downcast::<TokioIo<Paced<Begun>>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_inner().into_inner();
            // A websocket has its own bounds for what is unread.
            let _ = SockRef::from(&stream).set_tcp_user_timeout(None);
            // 0: as the system has it.
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(0);
            match stream.into_std() {
                Ok(stream) => hand_over(&edge, stream, parts.read_buf.to_vec(), agreed),
                Err(error) => tracing::warn!(%error, "cannot take over an upgraded connection"),
            }
        }
        Err(_) => tracing::error!("an upgraded connection is not the one that was served"),
    }
}

async fn answer(
    edge: &Edge,
    upgraded: &Mutex<Option<Upgrade>>,
    other_end: Option<IpAddr>,
    mut request: Request<Incoming>,
) -> Answer {
    // Pages make their requests plain themselves.
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_get && edge.config.base.leads_to(request.uri().path(), PATH) {
        if request.method() == Method::HEAD || request.version() < Version::HTTP_11 {
            return whole(*upgrade::cannot());
        }
        return whole(match upgrade::agree(edge, request.headers(), other_end) {
            Ok(agreed) => {
                let response = agreed.response();
                let upgrade = (hyper::upgrade::on(&mut request), agreed);
                *lock(upgraded) = Some(upgrade);
                response
            }
            Err(mut refusal) => {
                edge.config.tls_only.mark(request.headers(), refusal.headers_mut());
                *refusal
            }
        });
    }
    if let Some(client) = edge.guests.address(request.headers(), other_end) {
        request.extensions_mut().insert(Peer(client));
    }
    // In its own task: a client that leaves must not be able to cut a call off between two of its steps.
    let pages = edge.pages.clone();
    let answered = tokio::spawn(async move { pages.answer(request).await }).await;
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "a page has panicked");
        whole(problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is our fault"))
    })
}
