//! Sign in with Twitter/X: an authorization code that is exchanged for an access token, and the provider's answer to whose
//! that is.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::Request;
use hyper::header::{self, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use soundoff_common::ports::tables::{Tables, Write};

use crate::config::TwitterConfig;
use crate::fetch::Fetch;
use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::ways::exchange::{Client, Grant};
use crate::ways::identity::{Identity, Kind};

/// Exchanges codes.
pub(crate) struct Twitter {
    config: TwitterConfig,
    client: Client,
    fetch: Fetch,
}

/// The provider's answer to a good code (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Token {
    access_token: String,
    /// Required of an answer, but not used: the token is sent as bearer.
    #[serde(rename = "token_type")]
    _type: String,
}

impl Twitter {
    pub(crate) fn new(config: TwitterConfig, fetch: Fetch) -> Self {
        let TwitterConfig { client_id: id, client_secret: secret, redirect_uris, .. } = config.clone();
        Self { config, client: Client { id, secret, redirect_uris }, fetch }
    }

    /// Whom the code is about, and the write that uses it up.
    pub(crate) async fn verify(
        &self,
        tables: &dyn Tables,
        seal: &Seal,
        grant: Grant,
        now_s: u64,
    ) -> Result<(Identity, Write), Refusal> {
        let exchanged = self.exchange(&grant);
        let (subject, spend) = self.client.redeem((tables, seal), &[], &grant, now_s, exchanged).await?;
        Ok((Identity::elsewhere(Kind::Twitter, subject), spend))
    }

    /// Exchanges the code for an access token, and asks the provider whose it is. The access token is used once and
    /// then forgotten.
    async fn exchange(&self, grant: &Grant) -> Result<String, Refusal> {
        let token: Token = self.client.exchange(&self.fetch, &self.config.token_url, grant).await?;
        Ok(self.subject(&token.access_token).await?)
    }

    async fn subject(&self, access_token: &str) -> anyhow::Result<String> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {access_token}"))?;
        bearer.set_sensitive(true);
        let request = Request::get(self.config.user_url.clone())
            .header(header::AUTHORIZATION, bearer)
            .body(Bytes::new())?;
        let response = self.fetch.send(request).await?;
        ensure!(response.status().is_success(), "who the token is of: {}", response.status());
        let said: Value = serde_json::from_slice(response.body()).context("an unreadable answer")?;
        let subject = said.pointer(&self.config.user_pointer).and_then(Value::as_str);
        let subject = subject.filter(|subject| (1..=255).contains(&subject.len()));
        Ok(subject.with_context(|| format!("the answer has no {}", self.config.user_pointer))?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn an_answer_without_the_kind_of_its_token_is_none() {
        assert!(serde_json::from_str::<Token>(r#"{"access_token":"t","token_type":"bearer"}"#).is_ok());
        assert!(serde_json::from_str::<Token>(r#"{"access_token":"t"}"#).is_err());
    }
}
