//! From HTTP to a websocket: whether a request asks for one, whether it may have one, and the answer to it.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use soundoff_common::ports::tokens::{Token, TokenError};
use soundoff_common::protocol::{SUBPROTOCOL, now_ms};
use soundoff_common::web::base::BasePath;
use soundoff_common::web::http::{bearer, unauthorized};
use soundoff_common::web::origins::Stranger;
use soundoff_common::web::problem::{Refusal, problem};

use crate::edge::Edge;
use crate::reason::reason;

/// Where the websocket is.
pub(crate) const PATH: &str = "/v1/ws";
/// What a server adds to the client's key, by RFC 6455.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The length of `Sec-WebSocket-Accept`: the 20 bytes of a SHA-1, in base64.
const ACCEPT_BYTES: usize = 28;
/// The most header fields.
pub(crate) const HEADER_FIELDS: usize = 64;

/// A request that gets its websocket.
#[derive(Debug)]
pub(crate) struct Agreed {
    accept: HeaderValue,
    speaks: bool,
    /// What an access token in the request proved.
    pub(crate) bearer: Option<Box<Token>>,
    /// It must be closed at once, for this reason: there is no room, or the gate is shut.
    pub(crate) shed: Option<String>,
    /// Where it comes from.
    pub(crate) from: Option<IpAddr>,
}

/// The header of a request for the websocket, and how many bytes it took. `None` when `bytes` begin with something
/// else, with a part of such a request, or with one that is doubtful.
pub(crate) fn asked(bytes: &[u8], base: &BasePath) -> Option<(HeaderMap, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(len)) = request.parse(bytes) else { return None };
    let path = request.path?.split('?').next()?;
    if request.method != Some(Method::GET.as_str())
        || request.version != Some(1)
        || !base.leads_to(path, PATH)
    {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // HTTP must then find out where the request ends.
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT].contains(&name) {
            return None;
        }
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some((headers, len))
}

/// The refusal of a request that cannot become a websocket whatever it says: HTTP/1.0 knows no other protocol, and HEAD
/// wants no connection.
pub(crate) fn cannot() -> Refusal {
    refusal(StatusCode::UPGRADE_REQUIRED, "this is a websocket: ask for it by GET and HTTP/1.1")
}

/// Whether a request on a connection to `other_end` gets a websocket. What costs most is judged last.
///
/// # Errors
/// The refusal to answer with.
pub(crate) fn agree(edge: &Edge, headers: &HeaderMap, other_end: Option<IpAddr>) -> Result<Agreed, Refusal> {
    let now_s = now_ms() / 1000;
    let accept = handshake(headers)?;
    if edge.is_draining() {
        let wait_ms = edge.retry_after_ms();
        return Err(retry_later(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "the edge is draining",
            wait_ms,
        ));
    }
    edge.config
        .origins
        .judge(headers)
        .map_err(|Stranger| Box::new(problem(StatusCode::FORBIDDEN, "forbidden", Stranger::DETAIL)))?;
    let from = edge.guests.address(headers, other_end);
    edge.guests.ask(from, edge.clock_ns()).map_err(|wait_ms| {
        edge.metrics.edge_upgrades_refused.inc();
        let detail = "too many websockets were asked for from this address";
        retry_later(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail, wait_ms)
    })?;
    let shut = edge.gate.judge(headers, from).err().map(|shut| reason(shut.wait_ms, &shut.reason));
    if shut.is_some() {
        edge.metrics.gate_refused.inc();
    }
    let bearer = match bearer(headers) {
        _ if shut.is_some() => None,
        None => None,
        Some(token) => match edge.tokens.verify(token, now_s) {
            Ok(token) => Some(Box::new(token)),
            Err(TokenError::Unknown) => {
                let (status, detail) = (StatusCode::SERVICE_UNAVAILABLE, "the token cannot be checked now");
                return Err(retry_later(status, "overloaded", detail, edge.retry_after_ms()));
            }
            Err(_) => return Err(Box::new(unauthorized("the access token is not good"))),
        },
    };
    let full = || edge.registry.len() >= edge.config.max_sockets;
    let shed = shut.or_else(|| full().then(|| edge.come_later()));
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let speaks = offered.map(str::trim).any(|name| name == SUBPROTOCOL);
    Ok(Agreed { accept, speaks, bearer, shed, from })
}

impl Agreed {
    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let always = [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept.clone()),
        ];
        let protocol = (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        always.into_iter().chain(self.speaks.then_some(protocol))
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend(self.fields());
        response
    }

    /// The answer as it goes over the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(192);
        wire.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.fields() {
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]
                .iter()
                .for_each(|part| wire.extend_from_slice(part));
        }
        wire.extend_from_slice(b"\r\n");
        wire
    }
}

fn refusal(status: StatusCode, detail: &str) -> Refusal {
    let mut refusal = problem(status, "bad_message", detail);
    refusal.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    refusal.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    Box::new(refusal)
}

/// Checks that a request asks for a websocket; returns `Sec-WebSocket-Accept`.
fn handshake(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let names = |field: HeaderName, word: &str| {
        let values = headers.get_all(field).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !names(header::UPGRADE, "websocket") || !names(header::CONNECTION, "upgrade") {
        return Err(refusal(StatusCode::UPGRADE_REQUIRED, "this is a websocket"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(refusal(StatusCode::UPGRADE_REQUIRED, "the websocket version is 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let Some(key) = key.filter(|key| key.len() == 24) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is 16 bytes in base64"));
    };
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT_GUID].concat());
    let mut accept = [0; ACCEPT_BYTES];
    let len = BASE64_STANDARD.encode_slice(digest, &mut accept).expect("there is room for a SHA-1 in base64");
    Ok(HeaderValue::from_bytes(&accept[..len]).expect("base64 is ASCII"))
}

fn retry_later(status: StatusCode, code: &str, detail: &str, wait_ms: u64) -> Refusal {
    let mut refusal = problem(status, code, detail);
    refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
    Box::new(refusal)
}

/// A refusal as it goes over the wire. The connection ends with it: refusing costs less than serving.
pub(crate) fn refusal_wire(refusal: Response<Full<Bytes>>) -> Vec<u8> {
    let (head, body) = refusal.into_parts();
    let body =
        body.collect().now_or_never().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    let mut wire = Vec::with_capacity(512);
    let reason = head.status.canonical_reason().unwrap_or("Refused");
    wire.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).as_bytes());
    for (name, value) in &head.headers {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]
            .iter()
            .for_each(|part| wire.extend_from_slice(part));
    }
    wire.extend_from_slice(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    wire.extend_from_slice(&body);
    wire
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
    fn only_a_whole_request_for_the_websocket_is_answered_without_http() {
        let request = "GET /v1/ws?x=1 HTTP/1.1\r\nhost: x\r\nUpgrade: websocket\r\n\r\n";
        let (headers, len) =
            asked(format!("{request}behind").as_bytes(), &BasePath::default()).expect("a request");
        assert_eq!((headers.len(), len), (2, request.len()));
        assert_eq!(headers["upgrade"], "websocket");
        for end in 0..request.len() {
            assert!(
                asked(&request.as_bytes()[..end], &BasePath::default()).is_none(),
                "{end} bytes are no request yet"
            );
        }
        for (from, to) in [
            ("GET", "POST"),
            ("/v1/ws", "/v1/wss"),
            ("/v1/ws", "http://x/v1/ws"),
            ("1.1", "1.0"),
            ("host:", "content-length:"),
            ("host:", "transfer-encoding:"),
            ("host:", "expect:"),
            ("host", "ho st"),
            (" x\r", " \x01\r"),
        ] {
            assert!(
                asked(request.replacen(from, to, 1).as_bytes(), &BasePath::default()).is_none(),
                "{to} instead of {from}"
            );
        }
        let many = request.replace("host: x", &["a: b"; HEADER_FIELDS].join("\r\n"));
        assert!(asked(many.as_bytes(), &BasePath::default()).is_none(), "too many fields");
    }

    #[test]
    fn the_answer_is_the_same_over_http() {
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for speaks in [false, true] {
            let accept = accept.clone();
            let agreed = Agreed { accept, speaks, bearer: None, shed: None, from: None };
            let wire = String::from_utf8(agreed.wire()).unwrap();
            let mut fields = agreed
                .response()
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect::<Vec<_>>();
            let (line, rest) = wire.split_once("\r\n").unwrap();
            assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
            let mut written: Vec<_> = rest.trim_end().split("\r\n").map(str::to_owned).collect();
            written.sort();
            fields.sort();
            assert_eq!(written, fields);
            assert!(wire.ends_with("\r\n\r\n") && wire.contains("soundoff.v1") == speaks, "{wire}");
        }
    }
}
