//! The operator's hook that has caches in front of pictures forget some of them.

use anyhow::Context as _;
use async_trait::async_trait;
use hyper::Uri;
use serde_json::json;
use soundoff_media::Purger;
use soundoff_users::fetch::{Fetch, Hook};

/// Says what to forget as `POST {"urls":[…]}`: paths on the server, as posts name them.
#[derive(Debug)]
pub(crate) struct PurgeHook {
    fetch: Fetch,
    hook: Hook,
}

impl PurgeHook {
    /// At `url`, which [`soundoff_users::fetch::safe_url`] accepted; `token` goes along as bearer.
    pub(crate) fn new(url: Uri, token: Option<String>) -> Self {
        Self { fetch: Fetch::new(), hook: Hook::new(url, token) }
    }
}

#[async_trait]
impl Purger for PurgeHook {
    async fn purge(&self, urls: &[String]) -> anyhow::Result<()> {
        let request = self.hook.request(&json!({ "urls": urls }));
        let request = request.context("the token of --media-purge-url is no header value")?;
        let status = self.fetch.send(request).await.context("--media-purge-url")?.status();
        anyhow::ensure!(status.is_success(), "--media-purge-url answered {status}");
        Ok(())
    }
}
