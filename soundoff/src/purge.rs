//! The operator's hook that has caches in front of pictures forget some of them.

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Uri, header};
use serde_json::json;
use soundoff_media::Purger;
use soundoff_users::fetch::Fetch;

/// Says what to forget as `POST {"urls":[…]}`: paths on the server, as posts name them.
pub(crate) struct Hook {
    fetch: Fetch,
    url: Uri,
    token: Option<String>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.url.host().unwrap_or_default())
    }
}

impl Hook {
    /// At `url`, which [`soundoff_users::fetch::safe_url`] accepted; `token` goes along as bearer.
    pub(crate) fn new(url: Uri, token: Option<String>) -> Self {
        Self { fetch: Fetch::new(), url, token }
    }
}

#[async_trait]
impl Purger for Hook {
    async fn purge(&self, urls: &[String]) -> anyhow::Result<()> {
        let body = Bytes::from(json!({ "urls": urls }).to_string());
        let mut request = Request::post(self.url.clone()).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        // The error of a bad header would not repeat it, and says nothing that helps.
        let request = request.body(body).ok().context("the token of --media-purge-url is no header value")?;
        let status = self.fetch.send(request).await.context("--media-purge-url")?.status();
        anyhow::ensure!(status.is_success(), "--media-purge-url answered {status}");
        Ok(())
    }
}
