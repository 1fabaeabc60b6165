//! HTTP to identity providers and carriers: bounded in time and size, no redirects, TLS unless the peer is this
//! machine.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use soundoff_common::guard::Breaker;

/// How long a call may take in total.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Calls others over HTTP.
#[derive(Debug, Clone)]
pub struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    breaker: Option<Arc<Breaker>>,
}

impl Default for Fetch {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetch {
    /// A client that trusts the certificate authorities of Mozilla's list.
    #[must_use]
    pub fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(https.wrap_connector(http));
        Self { client, breaker: None }
    }

    /// The same client behind the breaker of the one peer that it is used for.
    #[must_use]
    pub fn behind(&self, breaker: Arc<Breaker>) -> Self {
        Self { client: self.client.clone(), breaker: Some(breaker) }
    }

    /// Sends a request to an address that [`safe_url`] accepted, and reads the answer.
    ///
    /// # Errors
    /// When the peer does not answer in time, did not answer just now, or its answer is too large. The text repeats nothing of what was sent.
    pub async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let Some(breaker) = &self.breaker else { return self.ask(request).await };
        let pass = breaker.admit().context("it does not answer; it is asked again soon")?;
        let answered = self.ask(request).await;
        pass.end(answered.as_ref().is_ok_and(|response| !response.status().is_server_error()));
        answered
    }

    async fn ask(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let called = async {
            let response = self.client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|e| anyhow::anyhow!("an unreadable answer: {e}"))?.to_bytes();
            anyhow::Ok(Response::from_parts(head, body))
        };
        match tokio::time::timeout(TIMEOUT, called).await {
            Ok(answer) => answer.with_context(|| format!("{host} cannot be reached")),
            Err(_) => bail!("{host} took longer than {} s", TIMEOUT.as_secs()),
        }
    }
}

/// A hook of the operator's, to which JSON is posted.
pub struct Hook {
    url: Uri,
    token: Option<String>,
}

// Without the token.
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.url.host().unwrap_or_default())
    }
}

impl Hook {
    /// At `url`, which [`safe_url`] accepted; `token` goes along as bearer.
    #[must_use]
    pub fn new(url: Uri, token: Option<String>) -> Self {
        Self { url, token }
    }

    /// The request that says `body`; `None` when the token is no header value.
    #[must_use]
    pub fn request(&self, body: &serde_json::Value) -> Option<Request<Bytes>> {
        let mut request = Request::post(self.url.clone()).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        // The error of a bad header says nothing that helps.
        request.body(Bytes::from(body.to_string())).ok()
    }
}

/// Whether a host is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// An address that secrets may be sent to: https, or http on this machine.
///
/// # Errors
/// Says what is wrong with it.
pub fn safe_url(text: &str) -> anyhow::Result<Uri> {
    let uri: Uri = text.parse().with_context(|| format!("{text} is no URL"))?;
    let host = uri.host().with_context(|| format!("{text} names no host"))?;
    let here = is_here(host);
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => ensure!(here, "{text} must be https: only this machine is reached without TLS"),
        _ => bail!("{text} must begin with https://"),
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::safe_url;

    #[test]
    fn secrets_go_over_tls_or_stay_here() {
        for good in ["https://appleid.apple.com/auth/keys", "http://127.0.0.1:80/x", "http://localhost:1"] {
            assert!(safe_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/x",
            "ftp://x.org",
            "http://x.org",
            "http://127.0.0.1.x.org/",
            "appleid.apple.com",
            "https://",
        ] {
            assert!(safe_url(bad).is_err(), "{bad}");
        }
    }
}
