//! The public port: HTTP until the upgrade to a websocket, and whatever else the binary answers there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use soundoff_common::http::{Answer, Peer, bearer, unauthorized, whole};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::problem::problem;
use soundoff_common::protocol::{SUBPROTOCOL, now_ms};
use tokio::net::TcpStream;

use crate::edge::Edge;
use crate::socket::Socket;

/// Where the websocket is.
const PATH: &str = "/v1/ws";
/// What RFC 6455 has a server add to the client's key.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest request header, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// The most header fields.
const HEADER_FIELDS: usize = 64;

/// A handshake that was answered with 101.
struct Upgrade {
    on: OnUpgrade,
    bearer: Option<Box<Claims>>,
    shed: bool,
}

/// How long what was answered may lie unread before the kernel gives the peer up: whoever asks and does not listen must not hold our memory.
const UNREAD: Duration = Duration::from_secs(30);

/// Serves one public connection until it is a websocket or ends.
pub(crate) async fn serve(edge: Arc<Edge>, stream: TcpStream) {
    let agreed: Mutex<Option<Upgrade>> = Mutex::new(None);
    // Without it, the bounds on connections still hold.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let service = service_fn(|request| {
        let (edge, agreed) = (&edge, &agreed);
        async move { Ok::<_, std::convert::Infallible>(answer(edge, agreed, peer, request).await) }
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
    let agreed = agreed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some(Upgrade { on, bearer, shed }) = agreed else { return };
    let Ok(Ok(upgraded)) = tokio::time::timeout(edge.config.hello_timeout, on).await else { return };
    // Nothing of the HTTP machinery stays: the bare connection goes into a task of its own.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            // A websocket has bounds of its own for what lies unread.
            let _ = SockRef::from(&stream).set_tcp_user_timeout(None);
            match stream.into_std() {
                Ok(stream) => Socket::start(&edge, stream, parts.read_buf.to_vec(), bearer, shed),
                Err(error) => tracing::warn!(%error, "cannot take over an upgraded connection"),
            }
        }
        Err(_) => tracing::error!("an upgraded connection is not the one that was served"),
    }
}

async fn answer(
    edge: &Edge,
    agreed: &Mutex<Option<Upgrade>>,
    peer: Option<Peer>,
    mut request: Request<Incoming>,
) -> Answer {
    if request.method() == Method::GET && request.uri().path() == PATH {
        return whole(upgrade(edge, agreed, request));
    }
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    // In a task of its own: a client that leaves must not be able to cut a call off between two of its steps.
    let pages = edge.pages.clone();
    let answered = tokio::spawn(async move { pages.answer(request).await }).await;
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "a page has panicked");
        whole(problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a fault of ours"))
    })
}

fn upgrade(
    edge: &Edge,
    agreed: &Mutex<Option<Upgrade>>,
    mut request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let now_s = now_ms() / 1000;
    let accept = match handshake(request.headers()) {
        Ok(accept) => accept,
        Err(refusal) => return *refusal,
    };
    let bearer = match bearer(request.headers()) {
        None => None,
        Some(token) => match token.ok().and_then(|token| edge.tokens.verify(token, now_s).ok()) {
            Some(claims) => Some(Box::new(claims)),
            None => return unauthorized("the access token is not good"),
        },
    };
    if edge.is_draining() {
        return retry_later("the edge is draining", edge);
    }
    let shed = edge.registry.len() >= edge.config.max_sockets;
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let speaks = offered.map(str::trim).any(|name| name == SUBPROTOCOL);
    let upgrade = Upgrade { on: hyper::upgrade::on(&mut request), bearer, shed };
    *agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if speaks {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// Checks that a request asks for a websocket; answers `Sec-WebSocket-Accept`.
fn handshake(headers: &HeaderMap) -> Result<HeaderValue, Box<Response<Full<Bytes>>>> {
    let refuse = |status, detail| {
        let mut refusal = problem(status, "bad_message", detail);
        refusal.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        refusal.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        Box::new(refusal)
    };
    let names = |field: HeaderName, word: &str| {
        let values = headers.get_all(field).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !names(header::UPGRADE, "websocket") || !names(header::CONNECTION, "upgrade") {
        return Err(refuse(StatusCode::UPGRADE_REQUIRED, "this is a websocket"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(refuse(StatusCode::UPGRADE_REQUIRED, "the websocket version is 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let Some(key) = key.filter(|key| key.len() == 24) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is 16 bytes in base64"));
    };
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT_GUID].concat());
    Ok(HeaderValue::from_str(&base64(digest.as_ref())).expect("base64 is ASCII"))
}

fn retry_later(detail: &str, edge: &Edge) -> Response<Full<Bytes>> {
    let mut refusal = problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail);
    let seconds = edge.retry_after_ms().div_ceil(1000);
    refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    refusal
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_the_one_of_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
        headers.insert("connection", HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        headers.insert("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(handshake(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for gone in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key"] {
            let mut headers = headers.clone();
            headers.remove(gone);
            assert!(handshake(&headers).is_err(), "without {gone}");
        }
    }

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
