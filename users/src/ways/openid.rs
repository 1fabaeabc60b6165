//! Sign in with an OpenID provider: an `id_token` that the app got from it, or an authorization code that we exchange for
//! one (OpenID Connect Core 1.0, 3.1.3.7). Apple is such a provider, of which only `id_token`s are taken.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use hyper::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use soundoff_common::hex::hex;
use soundoff_common::lock::lock;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, EXPIRES, Item, Key, Table, Tables, Write};

use crate::config::{AppleConfig, OpenIdConfig};
use crate::fetch::{Fetch, safe_url};
use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::ways::exchange::{Client, Grant};
use crate::ways::identity::{Identity, Kind};
use crate::ways::jwks::Jwks;
use crate::ways::jwt::{self, Audience, Bad, CLOCK_SKEW_S, Times};
use crate::ways::remembered::{FRESH, Remembered};

/// How old a token may be, in seconds, whatever expiry it names.
const MAX_AGE_S: u64 = 24 * 3600;
/// How long a nonce is, in bytes.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 8..=256;
/// What an `id_token` may call itself (`typ`).
const TYPES: &[&str] = &["JWT"];

const BAD: Refusal = Refusal::Unauthorized("the id_token or its nonce is not good; begin the sign-in again");

pub(crate) const NONCE: Holding = Holding {
    kind: "nonce",
    table: Table::Entities,
    pk: "nonce#<hash>",
    sk: "nonce",
    attributes: &[EXPIRES],
    of: Of::Nobody,
    summary: "A nonce of an `id_token` that was used.",
};

/// Where it is stored that a nonce was used; `hash` is its keyed hash.
fn nonce_key(hash: &str) -> Key {
    Key::new(format!("nonce#{hash}"), "nonce")
}

impl From<Bad> for Refusal {
    fn from(_: Bad) -> Self {
        BAD
    }
}

#[derive(Deserialize)]
struct Claims {
    aud: Audience,
    azp: Option<String>,
    nonce: String,
    #[serde(flatten)]
    times: Times,
}

/// Whom a token is about, what its nonce is, and until when it is good.
struct About {
    subject: String,
    nonce: String,
    until: u64,
}

/// The part of a token endpoint's answer that says who has signed in.
#[derive(Deserialize)]
struct Token {
    id_token: String,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
struct Told {
    jwks: Uri,
    authorize: Uri,
    token: Uri,
}

/// One provider.
pub(crate) struct OpenId {
    kind: Kind,
    config: OpenIdConfig,
    /// What we are there when we exchange codes.
    client: Client,
    fetch: Fetch,
    told: Remembered<Told>,
    /// Its keys, and where they are.
    keys: Mutex<Option<(Uri, Arc<Jwks>)>>,
}

impl OpenId {
    pub(crate) fn new(config: OpenIdConfig, fetch: Fetch) -> Self {
        let kind = Kind::OpenId(config.name.as_str().into());
        Self::of_kind(kind, config, fetch)
    }

    /// Apple, whose keys are at a known place.
    pub(crate) fn apple(config: AppleConfig, fetch: Fetch) -> Self {
        let AppleConfig { client_ids, issuer, jwks_url, web: _ } = config;
        let config =
            OpenIdConfig { jwks_url: Some(jwks_url), ..OpenIdConfig::new("apple", &issuer, client_ids) };
        Self::of_kind(Kind::Apple, config, fetch)
    }

    fn of_kind(kind: Kind, config: OpenIdConfig, fetch: Fetch) -> Self {
        let OpenIdConfig { issuer, client_ids, client_secret, redirect_uris, .. } = config.clone();
        let id = client_ids.first().cloned().unwrap_or_default();
        let client = Client { id, secret: client_secret, redirect_uris };
        let url = config.discovery_url();
        let told = Remembered::new(fetch.clone(), url, "what a provider says of itself", move |text| {
            told(text, &issuer)
        });
        Self { kind, config, client, fetch, told, keys: Mutex::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// What a page needs to send users there. `None` when nothing is known of the provider yet, or when it sends nobody
    /// back to a page: then only apps use it that know it themselves.
    pub(crate) fn offer(self: &Arc<Self>) -> Value {
        let OpenIdConfig { name, title, issuer, scopes, redirect_uris, authorize_url, .. } = &self.config;
        let mut offer = json!({ "name": name, "title": title });
        let authorize = authorize_url.clone().or_else(|| {
            let told = self.told.at_hand();
            if told.as_ref().is_none_or(|(_, age)| *age >= FRESH) {
                let this = self.clone();
                tokio::spawn(async move { this.told.renew().await });
            }
            told.map(|(told, _)| told.authorize.clone())
        });
        if let Some(authorize) = authorize.filter(|_| !redirect_uris.is_empty()) {
            offer["issuer"] = issuer.as_str().into();
            offer["client_id"] = self.client.id.as_str().into();
            offer["authorize_url"] = authorize.to_string().into();
            offer["scope"] = scopes.join(" ").into();
            offer["redirect_uris"] = json!(redirect_uris);
        }
        offer
    }

    /// Whom a token that an app brings is about, and the write that uses its nonce up.
    pub(crate) async fn by_token(
        &self,
        seal: &Seal,
        token: &str,
        nonce: &str,
        now_s: u64,
    ) -> Result<(Identity, Write), Refusal> {
        let About { subject, nonce, until } = self.read(token, nonce, &self.config.client_ids, now_s).await?;
        let hash = seal.hash(&[&["nonce"], self.scope().as_slice(), &[&nonce]].concat());
        let spend =
            Write::put(Table::Entities, nonce_key(&hash), Item::new().with(EXPIRES, until + CLOCK_SKEW_S));
        Ok((self.identity(subject), spend.when(Condition::Missing)))
    }

    /// Whom a code is about, and the write that uses it up.
    pub(crate) async fn by_code(
        &self,
        tables: &dyn Tables,
        seal: &Seal,
        (grant, nonce): (Grant, &str),
        now_s: u64,
    ) -> Result<(Identity, Write), Refusal> {
        let scope = [&["openid"], self.scope().as_slice(), &[nonce]].concat();
        let exchanged = self.exchange(&grant, nonce, now_s);
        let (subject, spend) = self.client.redeem((tables, seal), &scope, &grant, now_s, exchanged).await?;
        Ok((self.identity(subject), spend))
    }

    async fn exchange(&self, grant: &Grant, nonce: &str, now_s: u64) -> Result<String, Refusal> {
        let url = match &self.config.token_url {
            Some(url) => url.clone(),
            None => self.told.get(|_| true).await?.token.clone(),
        };
        let Token { id_token } = self.client.exchange(&self.fetch, &url, grant).await?;
        let ours = std::slice::from_ref(&self.client.id);
        Ok(self.read(&id_token, nonce, ours, now_s).await?.subject)
    }

    /// What a token says that is for one of `ours`, and was asked for with `nonce`.
    async fn read(&self, token: &str, nonce: &str, ours: &[String], now_s: u64) -> Result<About, Refusal> {
        if !NONCE_BYTES.contains(&nonce.len()) {
            return Err(BAD);
        }
        let id = jwt::key_id(token, TYPES)?.ok_or(BAD)?;
        let key = self.keys().await?.key(&id).await?.ok_or(BAD)?;
        let (claims, all) = jwt::open::<Claims>(token, &key, &self.config.issuer)?;
        let until = claims.times.until(now_s, MAX_AGE_S)?;
        if !is_nonce(&claims.nonce, nonce) || !is_for(ours, &claims) {
            return Err(BAD);
        }
        // Every token names its user as `sub`, also where another claim is the one that counts.
        jwt::subject(&all, "sub")?;
        Ok(About { subject: jwt::subject(&all, &self.config.claim)?, nonce: claims.nonce, until })
    }

    async fn keys(&self) -> anyhow::Result<Arc<Jwks>> {
        let url = match &self.config.jwks_url {
            Some(url) => url.clone(),
            None => self.told.get(|_| true).await?.jwks.clone(),
        };
        let mut keys = lock(&self.keys);
        if let Some((_, keys)) = keys.as_ref().filter(|(known, _)| *known == url) {
            return Ok(keys.clone());
        }
        let fresh = Arc::new(Jwks::new(self.fetch.clone(), url.clone()));
        *keys = Some((url, fresh.clone()));
        Ok(fresh)
    }

    /// What binds hashes to the provider. Those of Apple are as they always were.
    fn scope(&self) -> Vec<&str> {
        match self.kind {
            Kind::Apple => Vec::new(),
            _ => vec![&self.config.name, &self.config.issuer],
        }
    }

    fn identity(&self, subject: String) -> Identity {
        match self.kind {
            Kind::Apple => Identity::elsewhere(Kind::Apple, subject),
            _ => Identity::at(&self.config.issuer, self.kind.clone(), subject),
        }
    }
}

/// The providers of a process. What they say of themselves is asked for at once, so that pages can offer them.
pub(crate) fn providers(configs: &[OpenIdConfig], at: impl Fn(&'static str) -> Fetch) -> Vec<Arc<OpenId>> {
    let provider = |config: &OpenIdConfig| {
        // Once for each provider of a process: breakers have names that last.
        let engine = format!("openid-{}", config.name).leak();
        let provider = Arc::new(OpenId::new(config.clone(), at(engine)));
        provider.offer();
        provider
    };
    configs.iter().map(provider).collect()
}

/// Reads what a provider says of itself. It must say that it is the one that we asked: else one who answers at
/// one provider's address could speak for another.
fn told(text: &[u8], issuer: &str) -> anyhow::Result<Told> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
        authorization_endpoint: String,
        token_endpoint: String,
    }
    let document: Document = serde_json::from_slice(text).context("a provider does not say what it is")?;
    ensure!(document.issuer == issuer, "the provider at {issuer} says that it is another");
    Ok(Told {
        jwks: safe_url(&document.jwks_uri).context("jwks_uri")?,
        authorize: safe_url(&document.authorization_endpoint).context("authorization_endpoint")?,
        token: safe_url(&document.token_endpoint).context("token_endpoint")?,
    })
}

/// Whether one of our apps is in a token's audience. If others are in it too, the token must have been issued to ours.
fn is_for(ours: &[String], claims: &Claims) -> bool {
    let audience = claims.aud.names();
    let alone = audience.len() == 1 || claims.azp.is_some();
    alone
        && audience.iter().any(|id| ours.contains(id))
        && claims.azp.as_ref().is_none_or(|id| ours.contains(id))
}

/// Apps give the provider the nonce as it is, or (as Apple's own guides do) its SHA-256 in hex.
fn is_nonce(claimed: &str, given: &str) -> bool {
    claimed == given || claimed == hex(digest(&SHA256, given.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_says_that_it_is_itself_and_names_places_that_are_safe() {
        let issuer = "https://id.example";
        let said = |change: &dyn Fn(&mut Value)| {
            let mut document = json!({
                "issuer": issuer,
                "jwks_uri": "https://keys.example/jwks",
                "authorization_endpoint": "https://id.example/auth",
                "token_endpoint": "https://id.example/token",
                "more": [1],
            });
            change(&mut document);
            told(document.to_string().as_bytes(), issuer)
        };
        let good = said(&|_| {}).unwrap();
        assert_eq!(good.jwks, "https://keys.example/jwks");
        for (field, value) in [
            ("issuer", "https://id.example/"),
            ("issuer", "https://ID.example"),
            ("issuer", "https://evil.example"),
            ("jwks_uri", "http://keys.example/jwks"),
            ("token_endpoint", "/token"),
            ("authorization_endpoint", "javascript:alert(1)"),
        ] {
            assert!(said(&|document| document[field] = value.into()).is_err(), "{field} {value}");
            let gone = |document: &mut Value| _ = document.as_object_mut().unwrap().remove(field);
            assert!(said(&gone).is_err(), "without {field}");
        }
    }

    #[test]
    fn a_name_that_stands_for_another_provider_finds_nobody_of_the_first() {
        let seal = Seal::new(&soundoff_common::web::secret::Secret::new(&[1; 32]).unwrap());
        let row = |issuer: &str, name: &str| {
            let config = OpenIdConfig::new(name, issuer, vec!["app".to_owned()]);
            OpenId::new(config, Fetch::new()).identity("4711".to_owned()).row(&seal)
        };
        let first = row("https://id.example", "work");
        assert_eq!(first, row("https://id.example", "work"));
        assert_eq!(first.kind(), "work");
        assert_ne!(first, row("https://id.other", "work"));
        assert_ne!(first, row("https://id.example", "home"));
        let apple = Identity::elsewhere(Kind::Apple, "4711".to_owned()).row(&seal);
        assert_eq!(apple.key().pk, format!("identity#apple#{}", seal.hash(&["apple", "4711"])));
    }
}
