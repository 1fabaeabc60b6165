//! Sign in with Apple: an `id_token` that the app got from Apple (OpenID Connect Core 1.0, 3.1.3.7).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::Value;
use soundoff_common::hex::hex;
use soundoff_common::ports::tables::{Condition, EXPIRES, Item, Key, Table, Write};

use crate::config::AppleConfig;
use crate::fetch::Fetch;
use crate::identity::{Identity, Kind};
use crate::jwks::{Jwks, ProviderKey};
use crate::refusal::Refusal;
use crate::seal::Seal;

/// How far the provider's clock may be from ours, in seconds.
const CLOCK_SKEW_S: u64 = 60;
/// How old a token may be, in seconds, however long it says it is good.
const MAX_AGE_S: u64 = 24 * 3600;
/// The longest token looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest nonce, in bytes.
const MAX_NONCE_BYTES: usize = 256;

const BAD: Refusal = Refusal::Unauthorized("the id_token or its nonce is not good; begin the sign-in anew");

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    nonce: String,
    iat: u64,
    exp: u64,
    nbf: Option<u64>,
}

/// Judges Apple's tokens.
pub(crate) struct Apple {
    config: AppleConfig,
    keys: Jwks,
}

impl Apple {
    pub(crate) fn new(config: AppleConfig, fetch: Fetch) -> Self {
        let keys = Jwks::new(fetch, config.jwks_url.clone());
        Self { config, keys }
    }

    /// Who the token speaks of, and the write that uses its nonce up.
    pub(crate) async fn verify(
        &self,
        seal: &Seal,
        token: &str,
        nonce: &str,
        now_s: u64,
    ) -> Result<(Identity, Write), Refusal> {
        if token.len() > MAX_TOKEN_BYTES || !(8..=MAX_NONCE_BYTES).contains(&nonce.len()) {
            return Err(BAD);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| BAD)?;
        if has_critical_extensions(token) {
            return Err(BAD);
        }
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(BAD);
        }
        let id = header.kid.ok_or(BAD)?;
        let key = self.keys.key(&id).await?.ok_or(BAD)?;
        let claims = self.opened(token, &key)?;
        // One issuer: a list that names ours among others is none of ours.
        if claims.iss != self.config.issuer || !is_nonce(&claims.nonce, nonce) {
            return Err(BAD);
        }
        if !self.is_timely(&claims, now_s) || !self.is_for_us(&claims) {
            return Err(BAD);
        }
        if claims.sub.is_empty() || claims.sub.len() > 255 {
            return Err(BAD);
        }
        let once = Key::new(format!("nonce#{}", seal.hash(&["nonce", &claims.nonce])), "nonce");
        let gone_at = claims.exp.min(claims.iat + MAX_AGE_S) + CLOCK_SKEW_S;
        let spend = Write::put(Table::Entities, once, Item::new().with(EXPIRES, gone_at));
        let identity = Identity { kind: Kind::Apple, value: claims.sub };
        Ok((identity, spend.when(Condition::Missing)))
    }

    fn opened(&self, token: &str, key: &ProviderKey) -> Result<Claims, Refusal> {
        // The key's own algorithm, and no other that the header might ask for.
        let mut rules = Validation::new(key.algorithm);
        rules.set_issuer(&[&self.config.issuer]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times and audience are judged below: by our clock, and more strictly.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        jsonwebtoken::decode::<Claims>(token, &key.decoding, &rules).map(|data| data.claims).map_err(|_| BAD)
    }

    fn is_timely(&self, claims: &Claims, now_s: u64) -> bool {
        let latest = now_s + CLOCK_SKEW_S;
        claims.exp > now_s
            && claims.iat <= latest
            && claims.nbf.is_none_or(|nbf| nbf <= latest)
            && claims.iat.saturating_add(MAX_AGE_S) > now_s
    }

    /// One of our apps is its audience; where others are too, it must have been issued to ours.
    fn is_for_us(&self, claims: &Claims) -> bool {
        let ours = |id: &String| self.config.client_ids.contains(id);
        let audience = match &claims.aud {
            Audience::One(one) => ours(one),
            Audience::Many(many) if many.len() == 1 => ours(&many[0]),
            Audience::Many(many) => many.iter().any(ours) && claims.azp.is_some(),
        };
        audience && claims.azp.as_ref().is_none_or(ours)
    }
}

/// Whether the header says that something in it must be understood (`crit`, RFC 7515, 4.1.11): nothing of the kind is understood here, and the
/// library passes over it.
fn has_critical_extensions(token: &str) -> bool {
    let header = token.split('.').next().and_then(|text| BASE64.decode(text).ok());
    let header = header.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    header.is_none_or(|header| header.get("crit").is_some())
}

/// Apps hand the nonce to Apple as it is, or (as Apple's own guides do) its SHA-256 in hex.
fn is_nonce(claimed: &str, given: &str) -> bool {
    claimed == given || claimed == hex(digest(&SHA256, given.as_bytes()).as_ref())
}
