//! Plain HTTP on public ports: signing in, media and the app; for development also a console, tokens and the outbox.

pub(crate) mod files;

use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::json;
use soundoff_common::http::{Answer, json, read_json, refuse};
use soundoff_edge::Pages;
use soundoff_media::Media;
use soundoff_users::{DevTokens, Outbox, Users};

use crate::ops::page::OpsPage;

const MAX_BODY_BYTES: usize = 64 * 1024;

/// What only a machine of one's own answers: it asks for no proof of who asks.
pub(crate) struct Dev {
    pub(crate) tokens: DevTokens,
    pub(crate) outbox: Arc<Outbox>,
}

/// The User service, media, the app, and perhaps what is for development.
pub(crate) struct Site {
    pub(crate) users: Users,
    pub(crate) media: Arc<Media>,
    pub(crate) dev: Option<Dev>,
    /// Where there is no internal port for it.
    pub(crate) ops: Option<Arc<OpsPage>>,
}

#[async_trait]
impl Pages for Site {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        // A page of the wide web can make this machine's browser ask us (DNS rebinding); its Host gives it away.
        if self.dev.is_some() && !asks_loopback(request.headers()) {
            let detail = "use http://127.0.0.1 or http://localhost";
            return refuse(StatusCode::MISDIRECTED_REQUEST, "forbidden", detail);
        }
        let path = request.uri().path();
        if Users::serves(path) {
            return self.users.answer(request).await;
        }
        if Media::serves(path) {
            return self.media.answer(request).await;
        }
        if let Some(ops) = &self.ops
            && OpsPage::serves(path)
        {
            return ops.answer(request).await;
        }
        if let Some(answer) = files::answer(&files::APP, &request) {
            return answer;
        }
        match &self.dev {
            Some(dev) => dev.answer(request).await,
            None => nothing(),
        }
    }
}

impl Dev {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Some(answer) = files::answer(&files::CONSOLE, &request) {
            return answer;
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/dev/outbox") => json(StatusCode::OK, &json!({ "items": self.outbox.list() })),
            (&Method::POST, "/dev/tokens") => self.tokens(request).await,
            (_, "/dev/tokens" | "/dev/outbox") => {
                refuse(StatusCode::METHOD_NOT_ALLOWED, "bad_message", "this address takes another method")
            }
            _ => nothing(),
        }
    }

    async fn tokens(&self, request: Request<Incoming>) -> Answer {
        let asked = match read_json(request, MAX_BODY_BYTES, r#"{"handles":["alice"]}"#).await {
            Ok(asked) => asked,
            Err(refusal) => return *refusal,
        };
        match self.tokens.issue(asked).await {
            Ok(tokens) => json(StatusCode::OK, &json!({ "tokens": tokens })),
            Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_message", &format!("{error:#}")),
        }
    }
}

/// An edge that stands behind a balancer, which sends everything else elsewhere.
pub(crate) struct NoPages;

#[async_trait]
impl Pages for NoPages {
    async fn answer(&self, _request: Request<Incoming>) -> Answer {
        nothing()
    }
}

fn nothing() -> Answer {
    refuse(StatusCode::NOT_FOUND, "not_found", "there is nothing here; the websocket is at /v1/ws")
}

fn asks_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = if host.ends_with(']') { host } else { name };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
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
