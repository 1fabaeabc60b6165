//! The server's address, and the one HTTP call that a load test needs: users and their tokens.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use soundoff_common::protocol::Handle;

use crate::http::{exchange, resolve};

/// Users per call: the request stays under 20 KB and the server answers within its usual bounds.
const HANDLES_PER_CALL: usize = 500;

/// Long enough for any load test, so that no token expires in the middle of one.
const TOKEN_SECONDS: u64 = 24 * 3600;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A server to load, from its websocket URL.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The websocket's URL with its path.
    pub(crate) url: String,
    /// Resolved once: a load test must not measure DNS.
    pub(crate) address: SocketAddr,
    authority: String,
}

#[derive(Serialize)]
struct Wanted<'a> {
    handles: &'a [Handle],
    expires_in: u64,
}

#[derive(Deserialize)]
struct Tokens {
    tokens: HashMap<Handle, String>,
}

impl Server {
    /// Reads a URL such as `ws://127.0.0.1:8080` and resolves its host. Without a path it means `/v1/ws`; `http://` means `ws://`.
    ///
    /// # Errors
    /// It is neither a `ws://` nor an `http://` URL, or its host has no address.
    pub(crate) async fn resolve(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        match uri.scheme_str() {
            Some("ws" | "http") => {}
            Some(tls @ ("wss" | "https")) => {
                bail!(
                    "loadtest does not speak TLS ({tls}://): give the address of the server behind the TLS endpoint"
                )
            }
            _ => bail!("{url:?} should look like ws://127.0.0.1:8080 or http://127.0.0.1:8080"),
        }
        let authority = uri.authority().context("the URL has no host")?;
        let address = resolve(authority).await?;
        let path = if matches!(uri.path(), "" | "/") { "/v1/ws" } else { uri.path() };
        Ok(Self { url: format!("ws://{authority}{path}"), address, authority: authority.to_string() })
    }

    /// Creates those of `handles` that do not exist and gets a token for each, in the order given.
    ///
    /// # Errors
    /// The server does not run, is not `soundoff up`, or left a handle out.
    pub(crate) async fn tokens(&self, handles: &[Handle], done: impl Fn(usize)) -> Result<Vec<String>> {
        let mut all = Vec::with_capacity(handles.len());
        for batch in handles.chunks(HANDLES_PER_CALL) {
            let call = tokio::time::timeout(CALL_TIMEOUT, self.call(batch)).await;
            let mut tokens =
                call.context("no answer within 60 s").and_then(|answer| answer).with_context(|| {
                    format!("cannot create users by POST http://{}/dev/tokens", self.authority)
                })?;
            for handle in batch {
                let token = tokens.remove(handle);
                all.push(token.with_context(|| format!("the server sent no token for {handle}"))?);
            }
            done(all.len());
        }
        Ok(all)
    }

    async fn call(&self, handles: &[Handle]) -> Result<HashMap<Handle, String>> {
        let body = serde_json::to_vec(&Wanted { handles, expires_in: TOKEN_SECONDS })?;
        let request = Request::post("/dev/tokens")
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let (status, body) = exchange(self.address, request).await?;
        match status {
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => bail!(
                "it answers {status}: this is not `soundoff up`, and only that hands out tokens to load tests"
            ),
            _ => bail!("it answers {status}: {}", String::from_utf8_lossy(&body[..body.len().min(500)])),
        }
        let answer: Result<Tokens, _> = serde_json::from_slice(&body);
        let tokens =
            answer.context("its answer is not {\"tokens\":{handle:token}}: is this `soundoff up`?")?;
        ensure!(!tokens.tokens.is_empty(), "it sent no tokens");
        Ok(tokens.tokens)
    }
}
