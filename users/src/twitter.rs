//! Sign in with Twitter/X: an authorization code with PKCE (RFC 7636), exchanged here, so that the client secret never leaves the server.

use std::future::Future;
use std::pin::Pin;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, TokenResponse as _, TokenUrl,
};
use serde_json::Value;
use soundoff_common::ports::tables::{Change, Condition, EXPIRES, Item, Key, Table, Tables, Write};

use crate::config::TwitterConfig;
use crate::fetch::Fetch;
use crate::identity::{Identity, Kind};
use crate::refusal::Refusal;
use crate::seal::Seal;

/// How long an exchanged code may be repeated until its account has a handle, in seconds.
const REPEATED_S: u64 = 10 * 60;

const BAD: Refusal =
    Refusal::Unauthorized("the code, its verifier or its redirect_uri is not good; begin the sign-in anew");

/// What a client brings from the provider.
pub(crate) struct Grant {
    pub(crate) code: String,
    pub(crate) verifier: String,
    pub(crate) redirect_uri: String,
}

/// Exchanges codes.
pub(crate) struct Twitter {
    config: TwitterConfig,
    http: OverFetch,
}

impl Twitter {
    pub(crate) fn new(config: TwitterConfig, fetch: Fetch) -> Self {
        Self { config, http: OverFetch(fetch) }
    }

    /// Who the code speaks of, and the write that uses it up. The provider takes a code once; should the account want a handle first, the same
    /// request may be repeated with one, for ten minutes.
    pub(crate) async fn verify(
        &self,
        tables: &dyn Tables,
        seal: &Seal,
        grant: Grant,
        now_s: u64,
    ) -> Result<(Identity, Write), Refusal> {
        let Grant { code, verifier, redirect_uri } = &grant;
        let verifiable = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if !verifiable
            || !(1..=2048).contains(&code.len())
            || !self.config.redirect_uris.contains(redirect_uri)
        {
            return Err(BAD);
        }
        let hash = seal.hash(&["exchange", code, verifier, redirect_uri]);
        let key = Key::new(format!("exchange#{hash}"), "exchange");
        let subject = match tables.get(Table::Entities, key.clone()).await? {
            Some(item) if item.flag("spent") || item.number(EXPIRES).is_none_or(|at| at <= now_s) => {
                return Err(BAD);
            }
            Some(item) => {
                let sealed = item.text("subject").context("an exchange without its subject")?;
                let opened = seal.open(sealed, &hash)?;
                String::from_utf8(opened).context("a damaged subject")?
            }
            None => {
                let subject = self.exchange(grant).await?;
                let sealed = seal.seal(subject.as_bytes(), &hash)?;
                let item = Item::new().with("subject", sealed).with(EXPIRES, now_s + REPEATED_S);
                tables.write(vec![Write::put(Table::Entities, key.clone(), item)]).await?;
                subject
            }
        };
        let spend = vec![Change::Set("spent", true.into()), Change::Remove("subject")];
        let unspent = Condition::All(vec![Condition::Exists, Condition::Absent("spent")]);
        let spend = Write::update(Table::Entities, key, spend).when(unspent);
        Ok((Identity { kind: Kind::Twitter, value: subject }, spend))
    }

    /// The code for an access token, and that for who it is of. The access token is used for this one question and forgotten.
    async fn exchange(&self, grant: Grant) -> Result<String, Refusal> {
        let token_url = TokenUrl::new(self.config.token_url.to_string()).context("the token URL")?;
        let redirect = RedirectUrl::new(grant.redirect_uri).map_err(|_| BAD)?;
        let mut client = BasicClient::new(ClientId::new(self.config.client_id.clone()))
            .set_auth_type(AuthType::BasicAuth)
            .set_redirect_uri(redirect)
            .set_token_uri(token_url);
        if let Some(secret) = &self.config.client_secret {
            client = client.set_client_secret(ClientSecret::new(secret.clone()));
        }
        let exchange = client
            .exchange_code(AuthorizationCode::new(grant.code))
            .set_pkce_verifier(PkceCodeVerifier::new(grant.verifier));
        let token = match exchange.request_async(&self.http).await {
            Ok(token) => token,
            Err(RequestTokenError::ServerResponse(error)) => return Err(refused(error.error())),
            // The error's own text may hold the answer, and that a token.
            Err(RequestTokenError::Request(OverFetchError(error))) => {
                return Err(Refusal::Unavailable(error));
            }
            Err(_) => return Err(Refusal::Unavailable(anyhow::anyhow!("the provider's answer is no token"))),
        };
        Ok(self.subject(token.access_token().secret()).await?)
    }

    async fn subject(&self, access_token: &str) -> anyhow::Result<String> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {access_token}"))?;
        bearer.set_sensitive(true);
        let request = Request::get(self.config.user_url.clone())
            .header(header::AUTHORIZATION, bearer)
            .body(Bytes::new())?;
        let response = self.http.0.send(request).await?;
        ensure!(response.status().is_success(), "who the token is of: {}", response.status());
        let said: Value = serde_json::from_slice(response.body()).context("an unreadable answer")?;
        let subject = said.pointer(&self.config.user_pointer).and_then(Value::as_str);
        let subject = subject.filter(|subject| (1..=255).contains(&subject.len()));
        Ok(subject.with_context(|| format!("the answer has no {}", self.config.user_pointer))?.to_owned())
    }
}

/// What the provider's refusal means: the client's fault, our configuration's, or its own.
fn refused(error: &BasicErrorResponseType) -> Refusal {
    match error {
        BasicErrorResponseType::InvalidGrant | BasicErrorResponseType::InvalidRequest => BAD,
        BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
            Refusal::Unavailable(anyhow::anyhow!("the provider does not know our client id and secret"))
        }
        _ => Refusal::Unavailable(anyhow::anyhow!("the provider cannot exchange codes now")),
    }
}

/// Our HTTP as the OAuth library wants it.
struct OverFetch(Fetch);

#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct OverFetchError(anyhow::Error);

impl<'c> AsyncHttpClient<'c> for OverFetch {
    type Error = OverFetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OverFetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer: anyhow::Result<Response<Bytes>> = self.0.send(request.map(Bytes::from)).await;
            answer.map(|response| response.map(Vec::from)).map_err(OverFetchError)
        })
    }
}
