//! Authorization codes with PKCE (RFC 6749, RFC 7636), which are exchanged here, so that the client secret never leaves
//! the server. A code is exchanged once; for ten minutes its client may repeat the request, until the account has a
//! handle.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Change, Condition, EXPIRES, Item, Key, Table, Tables, Write};

use crate::fetch::Fetch;
use crate::keys::seal::Seal;
use crate::refusal::Refusal;

/// How long a client may repeat an exchanged code until its account has a handle, in seconds.
const REPEATED_S: u64 = 10 * 60;

pub(crate) const BAD: Refusal =
    Refusal::Unauthorized("the code, its verifier or its redirect_uri is not good; begin the sign-in again");

pub(crate) const HOLDING: Holding = Holding {
    kind: "exchange",
    table: Table::Entities,
    pk: "exchange#<hash>",
    sk: "exchange",
    attributes: &[SUBJECT, SPENT, EXPIRES],
    of: Of::Nobody,
    summary: "A foreign code that was exchanged, by provider, code, verifier and redirect.",
};
/// Whom the code is about, sealed; removed when the code is used up.
const SUBJECT: &str = "subject";
/// Whether the code is used up.
const SPENT: &str = "spent";

/// Where an exchange is stored; `hash` is of provider, code, verifier and redirect.
fn key(hash: &str) -> Key {
    Key::new(format!("exchange#{hash}"), "exchange")
}

/// What a client brings from the provider.
pub(crate) struct Grant {
    pub(crate) code: String,
    pub(crate) verifier: String,
    pub(crate) redirect_uri: String,
}

/// What we are at a provider.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// `None` for a public client.
    pub(crate) secret: Option<String>,
    /// Where the provider may have sent the user back to.
    pub(crate) redirect_uris: Vec<String>,
}

/// The provider's answer to a bad request (RFC 6749, 5.2).
#[derive(Deserialize)]
struct TokenRefusal {
    error: String,
}

impl Client {
    /// Checks what can be checked of a grant before anybody is asked.
    fn check(&self, grant: &Grant) -> Result<(), Refusal> {
        let Grant { code, verifier, redirect_uri } = grant;
        let verifiable = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        let good =
            verifiable && (1..=2048).contains(&code.len()) && self.redirect_uris.contains(redirect_uri);
        if good { Ok(()) } else { Err(BAD) }
    }

    /// Whom a grant is about, and the write that uses it up. `subject` exchanges it, unless that was done already.
    /// `scope` names the provider, and all that the grant was judged by besides: no other provider's code, and none that
    /// was judged by something else, is found in its place.
    pub(crate) async fn redeem(
        &self,
        (tables, seal): (&dyn Tables, &Seal),
        scope: &[&str],
        grant: &Grant,
        now_s: u64,
        subject: impl Future<Output = Result<String, Refusal>>,
    ) -> Result<(String, Write), Refusal> {
        self.check(grant)?;
        let Grant { code, verifier, redirect_uri } = grant;
        let hash = seal.hash(&[&["exchange"], scope, &[code, verifier, redirect_uri]].concat());
        let key = key(&hash);
        let subject = match tables.get(Table::Entities, key.clone()).await? {
            Some(item) if item.flag(SPENT) || item.number(EXPIRES).is_none_or(|at| at <= now_s) => {
                return Err(BAD);
            }
            Some(item) => {
                let sealed = item.text(SUBJECT).context("an exchange without its subject")?;
                let opened = seal.open(sealed, &hash)?;
                String::from_utf8(opened).context("a damaged subject")?
            }
            None => {
                let subject = subject.await?;
                let sealed = seal.seal(subject.as_bytes(), &hash)?;
                let item = Item::new().with(SUBJECT, sealed).with(EXPIRES, now_s + REPEATED_S);
                tables.write(vec![Write::put(Table::Entities, key.clone(), item)]).await?;
                subject
            }
        };
        let spend = vec![Change::Set(SPENT, true.into()), Change::Remove(SUBJECT)];
        let unspent = Condition::All(vec![Condition::Exists, Condition::Absent(SPENT)]);
        Ok((subject, Write::update(Table::Entities, key, spend).when(unspent)))
    }

    /// Exchanges a grant for the provider's tokens, as `T`.
    pub(crate) async fn exchange<T: for<'de> Deserialize<'de>>(
        &self,
        fetch: &Fetch,
        token_url: &Uri,
        grant: &Grant,
    ) -> Result<T, Refusal> {
        tokens(&fetch.send(self.token_request(token_url, grant)?).await?)
    }

    /// The request for a token (RFC 6749, 4.1.3; RFC 7636, 4.5). A confidential client proves itself in the header, a
    /// public one only names itself in the body.
    fn token_request(&self, token_url: &Uri, grant: &Grant) -> anyhow::Result<Request<Bytes>> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", &grant.code)
            .append_pair("code_verifier", &grant.verifier);
        let mut request = Request::post(token_url.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        match &self.secret {
            Some(secret) => request = request.header(header::AUTHORIZATION, basic(&self.id, secret)?),
            None => _ = form.append_pair("client_id", &self.id),
        }
        form.append_pair("redirect_uri", &grant.redirect_uri);
        Ok(request.body(form.finish().into())?)
    }
}

/// Basic authentication as RFC 6749, 2.3.1 wants it: id and secret are form-encoded each before they are joined.
fn basic(id: &str, secret: &str) -> anyhow::Result<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)));
    let mut basic = HeaderValue::from_str(&format!("Basic {credentials}"))?;
    basic.set_sensitive(true);
    Ok(basic)
}

/// The tokens in the provider's answer. No error repeats the answer: it may hold a token.
fn tokens<T: for<'de> Deserialize<'de>>(response: &Response<Bytes>) -> Result<T, Refusal> {
    let unreadable = || Refusal::Unavailable(anyhow::anyhow!("the provider's answer is no token"));
    if response.status() != StatusCode::OK {
        let refusal: TokenRefusal = serde_json::from_slice(response.body()).map_err(|_| unreadable())?;
        return Err(refused(&refusal.error));
    }
    let is_json = |kind: &HeaderValue| {
        kind.to_str().is_ok_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"))
    };
    if !response.headers().get(header::CONTENT_TYPE).is_none_or(is_json) {
        return Err(unreadable());
    }
    serde_json::from_slice(response.body()).map_err(|_| unreadable())
}

/// What the provider's refusal means: the client's fault, our configuration's, or its own.
fn refused(error: &str) -> Refusal {
    match error {
        "invalid_grant" | "invalid_request" => BAD,
        "invalid_client" | "unauthorized_client" => {
            Refusal::Unavailable(anyhow::anyhow!("the provider does not know our client id and secret"))
        }
        _ => Refusal::Unavailable(anyhow::anyhow!("the provider cannot exchange codes now")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn request(secret: Option<&str>) -> Request<Bytes> {
        let client =
            Client { id: "our app:1".into(), secret: secret.map(str::to_owned), redirect_uris: Vec::new() };
        let grant = Grant {
            code: "a+b/c=".into(),
            verifier: "v~1".into(),
            redirect_uri: "https://app.example/cb?a=1&b=ü".into(),
        };
        client.token_request(&Uri::from_static("https://x.example/token"), &grant).unwrap()
    }

    fn fields(request: &Request<Bytes>) -> Vec<(String, String)> {
        form_urlencoded::parse(request.body()).into_owned().collect()
    }

    const SENT: [(&str, &str); 4] = [
        ("grant_type", "authorization_code"),
        ("code", "a+b/c="),
        ("code_verifier", "v~1"),
        ("redirect_uri", "https://app.example/cb?a=1&b=ü"),
    ];

    #[test]
    fn a_confidential_client_proves_itself_in_the_header_alone() {
        let request = request(Some("s%c r:t"));
        let header = &request.headers()[header::AUTHORIZATION];
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64.decode(encoded).unwrap(), b"our+app%3A1:s%25c+r%3At");
        assert!(header.is_sensitive(), "it is not printed");
        assert_eq!(fields(&request), SENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_public_client_names_itself_in_the_body() {
        let request = request(None);
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
        let mut fields = fields(&request);
        let id = fields.iter().position(|(name, _)| name == "client_id").unwrap();
        assert_eq!(fields.remove(id).1, "our app:1");
        assert_eq!(fields, SENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn each_answer_is_a_token_the_clients_fault_or_somebody_elses() {
        let judged = |status: u16, kind: &str, body: &'static str| {
            let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
            tokens::<Value>(&response.body(Bytes::from(body)).unwrap())
        };
        let json = "application/json";
        let good = r#"{"token_type":"bearer","access_token":"t","expires_in":7200}"#;
        assert_eq!(judged(200, "Application/JSON; charset=utf-8", good).unwrap()["access_token"], "t");
        for error in
            [r#"{"error":"invalid_grant","error_description":"x"}"#, r#"{"error":"invalid_request"}"#]
        {
            assert!(matches!(judged(400, json, error), Err(Refusal::Unauthorized(_))), "{error}");
        }
        for (status, kind, body) in [
            (401, json, r#"{"error":"invalid_client"}"#),
            (400, json, r#"{"error":"unauthorized_client"}"#),
            (400, json, r#"{"error":"something else"}"#),
            (400, json, "no JSON"),
            (400, json, ""),
            (500, json, good),
            (200, "text/html", good),
            (200, json, ""),
        ] {
            let refusal = judged(status, kind, body).unwrap_err();
            assert!(matches!(&refusal, Refusal::Unavailable(_)), "{status} {kind} {body}");
            assert!(!refusal.to_string().contains("\"t\""), "no token in an error");
        }
    }
}
