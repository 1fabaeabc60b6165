//! Sign in with Apple: an `id_token` that the app got from Apple (OpenID Connect Core 1.0, 3.1.3.7).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::Value;
use soundoff_common::hex::hex;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, EXPIRES, Item, Key, Table, Tables, Write};

use crate::config::AppleConfig;
use crate::fetch::Fetch;
use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::ways::identity::{Identity, Kind};
use crate::ways::jwks::{Jwks, ProviderKey};

/// How far the provider's clock may be from ours, in seconds.
const CLOCK_SKEW_S: u64 = 60;
/// How old a token may be, in seconds, whatever expiry it names.
const MAX_AGE_S: u64 = 24 * 3600;
/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest nonce, in bytes.
const MAX_NONCE_BYTES: usize = 256;

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

/// Verifies Apple's tokens.
pub(crate) struct Apple {
    config: AppleConfig,
    keys: Jwks,
}

impl Apple {
    pub(crate) fn new(config: AppleConfig, fetch: Fetch) -> Self {
        let keys = Jwks::new(fetch, config.jwks_url.clone());
        Self { config, keys }
    }

    /// Whom the token is about, and the write that uses its nonce up.
    pub(crate) async fn verify(
        &self,
        (tables, seal): (&dyn Tables, &Seal),
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
        // Exactly one issuer: a list that also names ours is refused.
        if claims.iss != self.config.issuer || !is_nonce(&claims.nonce, nonce) {
            return Err(BAD);
        }
        if !self.is_timely(&claims, now_s) || !self.is_for_us(&claims) {
            return Err(BAD);
        }
        if claims.sub.is_empty() || claims.sub.len() > 255 {
            return Err(BAD);
        }
        let mut used = seal.hashes(&["nonce", &claims.nonce]).into_iter().map(|hash| nonce_key(&hash));
        let once = used.next().expect("a secret has a generation");
        // While the secret is replaced, another process may have used it up under another hash.
        let elsewhere: Vec<_> = used.map(|key| (Table::Entities, key)).collect();
        if !elsewhere.is_empty() && tables.get_many(&elsewhere).await?.iter().any(Option::is_some) {
            return Err(BAD);
        }
        let gone_at = claims.exp.min(claims.iat + MAX_AGE_S) + CLOCK_SKEW_S;
        let spend = Write::put(Table::Entities, once, Item::new().with(EXPIRES, gone_at));
        let identity = Identity::elsewhere(Kind::Apple, claims.sub);
        Ok((identity, spend.when(Condition::Missing)))
    }

    fn opened(&self, token: &str, key: &ProviderKey) -> Result<Claims, Refusal> {
        // The key's own algorithm, whatever the header asks for.
        let mut rules = Validation::new(key.algorithm);
        rules.set_issuer(&[&self.config.issuer]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times and audience are checked below: by our clock, and more strictly.
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

    /// Whether one of our apps is in its audience. If others are in it too, the token must have been issued to ours.
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

/// Whether the header lists extensions that must be understood (`crit`, RFC 7515, 4.1.11). We understand none, and the
/// library ignores `crit`.
fn has_critical_extensions(token: &str) -> bool {
    let header = token.split('.').next().and_then(|text| BASE64.decode(text).ok());
    let header = header.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    header.is_none_or(|header| header.get("crit").is_some())
}

/// Apps give Apple the nonce as it is, or (as Apple's own guides do) its SHA-256 in hex.
fn is_nonce(claimed: &str, given: &str) -> bool {
    claimed == given || claimed == hex(digest(&SHA256, given.as_bytes()).as_ref())
}
