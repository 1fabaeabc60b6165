//! `POST /v1/auth/openid/{name}`: signs in with an OpenID provider that the operator has named.

use serde::Deserialize;
use soundoff_common::web::http::{Answer, read_json};

use crate::calls::MAX_BODY_BYTES;
use crate::refusal::Refusal;
use crate::service::{Call, Users};
use crate::ways::exchange::Grant;

/// Either an `id_token`, or a code with all that belongs to it.
#[derive(Deserialize)]
struct Body {
    nonce: String,
    id_token: Option<String>,
    code: Option<String>,
    code_verifier: Option<String>,
    redirect_uri: Option<String>,
    handle: Option<String>,
}

impl Users {
    pub(crate) async fn openid(&self, call: Call, name: &str) -> Result<Answer, Refusal> {
        let provider = self.openid.iter().find(|provider| provider.name() == name).cloned();
        let provider =
            provider.ok_or(Refusal::NotConfigured("that provider; GET /v1/auth/ways lists them"))?;
        let example = r#"{"code":"…","code_verifier":"…","redirect_uri":"…","nonce":"…"}, or {"id_token":"…","nonce":"…"}"#;
        let asks = call.asks();
        let body: Body = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let now_s = asks.now / 1000;
        let (identity, spend) = match body {
            Body { id_token: Some(token), code: None, nonce, .. } => {
                provider.by_token(&self.seal, &token, &nonce, now_s).await?
            }
            Body {
                id_token: None,
                code: Some(code),
                code_verifier: Some(verifier),
                redirect_uri: Some(redirect_uri),
                ref nonce,
                ..
            } => {
                let grant = Grant { code, verifier, redirect_uri };
                provider.by_code(&*self.tables, &self.seal, (grant, nonce), now_s).await?
            }
            _ => return Err(Refusal::BadMessage(format!("send one proof: {example}"))),
        };
        self.proven(&identity, spend, body.handle.as_deref(), &asks).await
    }
}
