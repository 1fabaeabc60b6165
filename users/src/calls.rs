//! What each call does that signs somebody in or goes on with a session.

use std::net::IpAddr;

use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use soundoff_common::model::audit;
use soundoff_common::ports::tables::Write;
use soundoff_common::web::http::{Answer, json, read_json, whole};

use crate::proof::{Proven, SignedIn};
use crate::refusal::Refusal;
use crate::service::{Asks, Call, Users};
use crate::sessions::families::{self, ENDED, Refreshed, Session};
use crate::sign_in::sign_in;
use crate::ways::codes::{self, Asker};
use crate::ways::exchange::Grant;
use crate::ways::identity::{Identity, Kind};
use crate::ways::openid::OpenId;
use crate::ways::spelling;

/// The largest body, in bytes: room for an `id_token` and the other fields.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Address {
    email: Option<String>,
    phone: Option<String>,
}

#[derive(Deserialize)]
struct VerifyBody {
    #[serde(flatten)]
    address: Address,
    /// The request that `start` answered.
    request: Option<String>,
    code: TypedCode,
    handle: Option<String>,
}

/// A code as a client passes it on.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum TypedCode {
    Text(String),
    /// A number has lost its zeros in front.
    Number(u64),
}

impl TypedCode {
    /// Its digits, as they are judged.
    pub(crate) fn digits(&self) -> String {
        match self {
            TypedCode::Text(typed) => spelling::code(typed),
            TypedCode::Number(number) => format!("{number:06}"),
        }
    }
}

#[derive(Deserialize)]
struct AppleBody {
    id_token: String,
    nonce: String,
    handle: Option<String>,
}

#[derive(Deserialize)]
struct TwitterBody {
    code: String,
    code_verifier: String,
    redirect_uri: String,
    handle: Option<String>,
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: String,
}

impl Address {
    /// The address that the path asks for.
    fn identity(&self, path: &str) -> Result<Identity, Refusal> {
        let missing = |field: &str| Refusal::BadMessage(format!("`{field}` is missing"));
        if path.contains("/email/") {
            Identity::email(self.email.as_deref().ok_or_else(|| missing("email"))?)
        } else {
            Identity::phone(self.phone.as_deref().ok_or_else(|| missing("phone"))?)
        }
    }
}

impl Users {
    /// The ways to sign in, for a page to offer. Mail and phone are always among them: without carriers there is the
    /// outbox, or the process does not start.
    pub(crate) fn ways(&self) -> Answer {
        let mut ways = json!({ "email": {}, "phone": {}, "outbox": self.outbox });
        if let Some(apple) = &self.config.apple {
            ways["apple"] = match &apple.web {
                Some(web) => {
                    json!({ "client_id": web.client_id, "authorize_url": web.authorize_url.to_string() })
                }
                None => json!({}),
            };
        }
        if let Some(twitter) = &self.config.twitter {
            ways["twitter"] = json!({
                "client_id": twitter.client_id,
                "authorize_url": twitter.authorize_url.to_string(),
                "redirect_uris": twitter.redirect_uris,
            });
        }
        if let Some(passkeys) = &self.config.passkeys {
            ways["passkey"] = json!({ "domain": passkeys.domain });
        }
        if !self.openid.is_empty() {
            ways["openid"] = self.openid.iter().map(OpenId::offer).collect();
        }
        json(StatusCode::OK, &ways)
    }

    /// Sends a code. The answer does not depend on whose address it is.
    pub(crate) async fn start(&self, call: Call) -> Result<Answer, Refusal> {
        let path = call.request.uri().path().to_owned();
        let body: Address =
            read_json(call.request, MAX_BODY_BYTES, r#"{"email":"anna@example.org"}"#).await?;
        let to = body.identity(&path)?;
        self.send_code(&to, &to.value, (call.from, call.now)).await
    }

    /// Sends a code; the answer shows the address as `shown`.
    pub(crate) async fn send_code(
        &self,
        to: &Identity,
        shown: &str,
        (from, now): (IpAddr, u64),
    ) -> Result<Answer, Refusal> {
        let texts = self.config.texts.as_ref().filter(|_| to.kind == Kind::Phone);
        if texts.is_some_and(|texts| !texts.allows(&to.value)) {
            self.text_refused("country");
            return Err(Refusal::NotConfigured("texts to that country"));
        }
        let started = codes::start(&*self.tables, &self.seal, &Asker { to, from }, texts, now).await;
        if matches!(started, Err(Refusal::TextsUsedUp(_))) {
            self.texts_are_used_up(now);
        }
        let (request, notice) = started?;
        let post = if to.kind == Kind::Email { &self.mail } else { &self.texts };
        if !post.send(notice) {
            return Err(Refusal::Unavailable(anyhow::anyhow!("too many codes are on their way")));
        }
        let body = json!({ "request": request, "expires_in": codes::LIFETIME_MS / 1000, "to": shown });
        Ok(json(StatusCode::ACCEPTED, &body))
    }

    pub(crate) async fn verify(&self, call: Call) -> Result<Answer, Refusal> {
        let path = call.request.uri().path().to_owned();
        let example = r#"{"email":"anna@example.org","request":"…","code":"123456"}"#;
        let asks = call.asks();
        let body: VerifyBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let identity = body.address.identity(&path)?;
        let missing = || Refusal::BadMessage("`request` is missing: it is in the answer of /start".into());
        let request = body.request.as_deref().ok_or_else(missing)?;
        let asker = Asker { to: &identity, from: call.from };
        let tried = (request, &*body.code.digits());
        let spend = codes::verify(&*self.tables, &self.seal, &asker, tried, asks.now).await?;
        self.proven(&identity, spend, body.handle.as_deref(), &asks).await
    }

    pub(crate) async fn apple(&self, call: Call) -> Result<Answer, Refusal> {
        let apple = self.apple.as_ref().ok_or(Refusal::NotConfigured("Sign in with Apple"))?;
        let example = r#"{"id_token":"…","nonce":"…"}"#;
        let asks = call.asks();
        let body: AppleBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let verified =
            apple.by_token((&*self.tables, &self.seal), &body.id_token, &body.nonce, asks.now / 1000).await;
        let (identity, spend) = verified?;
        self.proven(&identity, spend, body.handle.as_deref(), &asks).await
    }

    pub(crate) async fn twitter(&self, call: Call) -> Result<Answer, Refusal> {
        let twitter = self.twitter.as_ref().ok_or(Refusal::NotConfigured("sign in with Twitter/X"))?;
        let example = r#"{"code":"…","code_verifier":"…","redirect_uri":"…"}"#;
        let asks = call.asks();
        let body: TwitterBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let TwitterBody { code, code_verifier: verifier, redirect_uri, handle } = body;
        let grant = Grant { code, verifier, redirect_uri };
        let (identity, spend) = twitter.verify(&*self.tables, &self.seal, grant, asks.now / 1000).await?;
        self.proven(&identity, spend, handle.as_deref(), &asks).await
    }

    /// Signs in, signs up or links with a proof, and the write that uses it up.
    pub(crate) async fn proven(
        &self,
        identity: &Identity,
        spend: Write,
        handle: Option<&str>,
        asks: &Asks,
    ) -> Result<Answer, Refusal> {
        self.proven_if(identity, (spend, None), handle, asks).await
    }

    /// The same, if another write can be made, too.
    pub(crate) async fn proven_if(
        &self,
        identity: &Identity,
        (spend, also): (Write, Option<Write>),
        handle: Option<&str>,
        asks: &Asks,
    ) -> Result<Answer, Refusal> {
        let lifetime_s = self.config.refresh_lifetime.as_secs();
        let proof_s = self.config.proof_lifetime.as_secs();
        let Asks { now, from, signed_in, client } = asks;
        let (signed_in, client) = (signed_in.as_ref(), client.as_deref());
        let proven =
            Proven { identity, spend, also, handle, signed_in, now: *now, lifetime_s, proof_s, client };
        let done = sign_in(&*self.tables, &self.seal, &proven).await?;
        let own = signed_in.map(|claims| claims.session);
        self.audit.signed_in(&self.seal, (identity.kind.name(), *from), &done, own);
        match done {
            SignedIn::Session { session, created, displaced } => {
                self.close(&session.user, &displaced).await;
                let mut body = self.pair(&session, *now)?;
                body["created"] = created.into();
                Ok(json(StatusCode::OK, &body))
            }
            SignedIn::Linked { user, new } => {
                if new {
                    self.tell_linked(&user, identity).await;
                }
                let linked = identity.kind.name();
                let body = json!({ "user": { "handle": user }, "created": false, "linked": linked });
                Ok(json(StatusCode::OK, &body))
            }
        }
    }

    /// An access token and a refresh token, as clients get them. No access token outlives its session, which ends at
    /// `ends` (seconds since 1970).
    fn pair(&self, session: &Session, now: u64) -> Result<Value, Refusal> {
        let Session { user, role, token, ends, .. } = session;
        let power = self.power(session);
        let lifetime = self.config.access_lifetime.as_secs().min(ends.saturating_sub(now / 1000));
        let access = self.issuer.issue(user, power, token.session, now / 1000, lifetime);
        let mut body = json!({
            "access_token": access?,
            "refresh_token": self.refresh.text(token),
            "expires_in": lifetime,
            "user": { "handle": user },
        });
        if power != *role {
            body["passkey_for"] = role.name().into();
        }
        Ok(body)
    }

    pub(crate) async fn refresh(&self, call: Call) -> Result<Answer, Refusal> {
        let example = r#"{"refresh_token":"…"}"#;
        let body: RefreshBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let arrived = (call.now, self.config.idle_lifetime.as_secs());
        match families::refresh(&*self.tables, &self.refresh, &body.refresh_token, arrived).await? {
            Refreshed::Next(session) => Ok(json(StatusCode::OK, &self.pair(&session, call.now)?)),
            Refreshed::Reused { user, session } => {
                tracing::warn!(%user, "a spent refresh token was used again; its sign-in is revoked");
                let kind = audit::Kind::RefreshReused;
                self.audit.happened(&self.seal, kind, &user, session, call.from);
                self.end(&user, &[session]).await?;
                Err(ENDED)
            }
        }
    }

    /// Ends the session of a refresh token, if it has one.
    pub(crate) async fn logout(&self, call: Call) -> Result<Answer, Refusal> {
        let example = r#"{"refresh_token":"…"}"#;
        let body: RefreshBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        if let Some((user, session)) =
            families::owner(&*self.tables, &self.refresh, &body.refresh_token).await?
        {
            self.audit.happened(&self.seal, audit::Kind::LoggedOut, &user, session, call.from);
            self.end(&user, &[session]).await?;
        }
        Ok(nothing())
    }
}

/// The answer of a call that returns nothing.
pub(crate) fn nothing() -> Answer {
    let mut gone = Response::default();
    *gone.status_mut() = StatusCode::NO_CONTENT;
    whole(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_text_or_a_number() {
        for (sent, read) in
            [(r#""01 23-45""#, "012345"), ("12345", "012345"), ("0", "000000"), ("1234567", "1234567")]
        {
            let body: VerifyBody = serde_json::from_str(&format!(r#"{{"code":{sent}}}"#)).unwrap();
            assert_eq!(body.code.digits(), read, "{sent}");
        }
        for bad in ["null", "-12345", "12345.5", r#"["012345"]"#, r#"{"code":"012345"}"#, "true", "1e400"] {
            assert!(serde_json::from_str::<VerifyBody>(&format!(r#"{{"code":{bad}}}"#)).is_err(), "{bad}");
        }
    }
}
