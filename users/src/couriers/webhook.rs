use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Uri, header};
use serde_json::json;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::courier::{Courier, Notice};

use crate::fetch::Fetch;

/// Sends texts as `POST {"to","text"}` to an address of the operator, who passes them to a carrier.
#[derive(Debug)]
pub struct Webhook {
    fetch: Fetch,
    url: Uri,
    token: Option<String>,
}

impl Webhook {
    /// To `url`, which [`crate::fetch::safe_url`] accepted; `token` goes along as bearer.
    #[must_use]
    pub fn new(fetch: Fetch, url: Uri, token: Option<String>) -> Self {
        Self { fetch, url, token }
    }
}

#[async_trait]
impl Courier for Webhook {
    async fn send(&self, notice: &Notice) -> Result<(), Unavailable> {
        let body = json!({ "to": notice.to, "text": notice.text }).to_string();
        let mut request = Request::post(self.url.clone()).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::from(body));
        let request =
            request.map_err(|_| Unavailable("the webhook's token is no header value".to_owned()))?;
        let response = self.fetch.send(request).await;
        let response = response.map_err(|error| Unavailable(format!("the webhook for texts: {error:#}")))?;
        if !response.status().is_success() {
            return Err(Unavailable(format!("the webhook for texts answered {}", response.status())));
        }
        Ok(())
    }
}
