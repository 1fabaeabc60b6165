//! Tokens that others have signed (RFC 7519): what is judged alike of all of them, whatever they are for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Validation;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::ways::jwks::ProviderKey;

/// How far another's clock may be from ours, in seconds.
pub(crate) const CLOCK_SKEW_S: u64 = 60;
/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest name of a user, in bytes.
const MAX_SUBJECT_BYTES: usize = 255;

/// A token is not good. One word for many reasons: it must not help those who forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad;

/// Whom a token is for.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// All that it names.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) => many,
        }
    }
}

/// When a token is good, in seconds since 1970.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Times {
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    nbf: Option<u64>,
}

impl Times {
    /// Until when the token is good, if it is at `now_s`. No token is for longer than `max_age_s` after it was issued,
    /// whatever expiry it names.
    pub(crate) fn until(&self, now_s: u64, max_age_s: u64) -> Result<u64, Bad> {
        let latest = now_s + CLOCK_SKEW_S;
        let until = self.exp.min(self.iat.saturating_add(max_age_s));
        let good = until > now_s && self.iat <= latest && self.nbf.is_none_or(|nbf| nbf <= latest);
        if good { Ok(until) } else { Err(Bad) }
    }
}

/// A token's claims: each name once, since a reader who takes the other of two would see another token.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Claims;
        impl<'de> Visitor<'de> for Claims {
            type Value = Once;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Once, A::Error> {
                let mut once = Map::new();
                while let Some((name, value)) = claims.next_entry::<String, Value>()? {
                    if once.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Once(once))
            }
        }
        deserializer.deserialize_map(Claims)
    }
}

/// A token's outside, judged before anybody looks at its signature; returns the id of its key. `types` are the values of
/// `typ` that such a token may have, if it has any.
pub(crate) fn key_id(token: &str, types: &[&str]) -> Result<Option<String>, Bad> {
    if token.len() > MAX_TOKEN_BYTES || has_critical_extensions(token) {
        return Err(Bad);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Bad)?;
    let fits = |typ: String| types.iter().any(|wanted| typ.eq_ignore_ascii_case(wanted));
    if header.typ.is_none_or(fits) { Ok(header.kid) } else { Err(Bad) }
}

/// Whether the header lists extensions that must be understood (`crit`, RFC 7515, 4.1.11). We understand none, and the
/// library ignores `crit`.
fn has_critical_extensions(token: &str) -> bool {
    part(token, 0).is_none_or(|header| header.get("crit").is_some())
}

/// A part of a token that nobody has vouched for.
fn part(token: &str, at: usize) -> Option<Value> {
    let part = BASE64.decode(token.split('.').nth(at)?).ok()?;
    serde_json::from_slice(&part).ok()
}

/// Who a token says has issued it. Nobody has vouched for that: it only tells whose keys to try.
pub(crate) fn said_issuer(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    part(token, 1)?.get("iss")?.as_str().map(str::to_owned)
}

/// The claims of a token that `key` has signed and exactly `issuer` has issued: as `T`, and all of them. The algorithm
/// is the key's own, whatever the header asks for.
pub(crate) fn open<T: DeserializeOwned>(
    token: &str,
    key: &ProviderKey,
    issuer: &str,
) -> Result<(T, Map<String, Value>), Bad> {
    let mut rules = Validation::new(key.algorithm);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    // Times and audience are the caller's to check: by our clock, and more strictly.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    let opened = jsonwebtoken::decode::<Once>(token, &key.decoding, &rules).map_err(|_| Bad)?;
    let Once(all) = opened.claims;
    // Exactly one issuer: a list that also names ours is refused.
    if all.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(Bad);
    }
    let claims = T::deserialize(&all).map_err(|_| Bad)?;
    Ok((claims, all))
}

/// The user that a claim names.
pub(crate) fn subject(claims: &Map<String, Value>, claim: &str) -> Result<String, Bad> {
    let named = claims.get(claim).and_then(Value::as_str);
    let named = named.filter(|named| (1..=MAX_SUBJECT_BYTES).contains(&named.len()));
    named.map(str::to_owned).ok_or(Bad)
}
