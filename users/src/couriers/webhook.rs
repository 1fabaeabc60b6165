use async_trait::async_trait;
use hyper::Uri;
use serde_json::json;
use soundoff_common::ports::courier::{Courier, Notice, Undelivered};

use crate::fetch::{Fetch, Hook};

/// Sends texts as `POST {"to","text"}` to an address of the operator, who passes them to a carrier.
#[derive(Debug)]
pub struct Webhook {
    fetch: Fetch,
    hook: Hook,
}

impl Webhook {
    /// To `url`, which [`crate::fetch::safe_url`] accepted; `token` goes along as bearer.
    #[must_use]
    pub fn new(fetch: Fetch, url: Uri, token: Option<String>) -> Self {
        Self { fetch, hook: Hook::new(url, token) }
    }
}

#[async_trait]
impl Courier for Webhook {
    async fn send(&self, notice: &Notice) -> Result<(), Undelivered> {
        let request = self.hook.request(&json!({ "to": notice.to, "text": notice.text }));
        let bad_token = || Undelivered::Refused("the webhook's token is no header value".to_owned());
        let request = request.ok_or_else(bad_token)?;
        let response = self.fetch.send(request).await;
        let response =
            response.map_err(|error| Undelivered::Away(format!("the webhook for texts: {error:#}")))?;
        let said = || format!("the webhook for texts answered {}", response.status());
        match response.status() {
            status if status.is_success() => Ok(()),
            status if status.is_server_error() => Err(Undelivered::Away(said())),
            _ => Err(Undelivered::Refused(said())),
        }
    }
}
