//! The public port's plain HTTP under `up`: the page to try things on, and development tokens.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::json;
use soundoff_common::problem::problem;
use soundoff_edge::Pages;
use soundoff_users::{DevTokens, DevTokensRequest};

const PAGE: &str = include_str!("../../web/index.html");
const SCRIPT: &str = include_str!("../../web/console.js");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'";

const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers for one machine.
pub(crate) struct DevPages {
    pub(crate) tokens: DevTokens,
}

#[async_trait]
impl Pages for DevPages {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // A page of the wide web can make this machine's browser ask us (DNS rebinding); its Host gives it away.
        if !asks_loopback(request.headers()) {
            return problem(StatusCode::MISDIRECTED_REQUEST, "use http://127.0.0.1 or http://localhost");
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => file("text/html; charset=utf-8", PAGE),
            (&Method::GET, "/console.js") => file("text/javascript; charset=utf-8", SCRIPT),
            (&Method::POST, "/dev/tokens") => self.dev_tokens(request).await,
            (_, "/" | "/console.js" | "/dev/tokens") => {
                problem(StatusCode::METHOD_NOT_ALLOWED, "this address takes another method")
            }
            _ => problem(StatusCode::NOT_FOUND, "there is nothing here; the websocket is at /v1/ws"),
        }
    }
}

impl DevPages {
    async fn dev_tokens(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await else {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large; ask for fewer handles");
        };
        let asked: DevTokensRequest = match serde_json::from_slice(&body.to_bytes()) {
            Ok(asked) => asked,
            Err(error) => {
                let detail = format!(r#"send {{"handles":["alice"]}}: {error}"#);
                return problem(StatusCode::BAD_REQUEST, &detail);
            }
        };
        match self.tokens.issue(asked).await {
            Ok(tokens) => {
                let body = json!({ "tokens": tokens }).to_string();
                let mut response = Response::new(Full::new(Bytes::from(body)));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
                headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
                response
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &format!("{error:#}")),
        }
    }
}

fn asks_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = if host.ends_with(']') { host } else { name };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn file(kind: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_answered() {
        let asks = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            asks_loopback(&headers)
        };
        for good in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(asks(good), "{good}");
        }
        for bad in ["", "evil.example", "localhost.evil.example:8080", "10.0.0.1"] {
            assert!(!asks(bad), "{bad}");
        }
        assert!(!asks_loopback(&HeaderMap::new()));
    }
}
