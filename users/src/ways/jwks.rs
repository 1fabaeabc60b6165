//! A provider's public keys (RFC 7517), kept in memory and fetched again when a token names an unknown one.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hyper::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::fetch::Fetch;
use crate::ways::remembered::{AGAIN, Remembered};

/// The most keys taken of one provider.
const MOST: usize = 50;
/// The shortest RSA modulus accepted, in bytes.
pub(crate) const MIN_RSA_BYTES: usize = 256;

/// A key, and the only algorithm it is used with.
#[derive(Clone)]
pub(crate) struct ProviderKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

/// Keys by their ids.
pub(crate) type KeySet = HashMap<String, ProviderKey>;

/// One provider's keys.
pub(crate) struct Jwks(Remembered<KeySet>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Jwks {
    pub(crate) fn new(fetch: Fetch, url: Uri) -> Self {
        Self(Remembered::new(fetch, url, "a provider's key set", read))
    }

    /// The key of an id; `None` when the provider has none.
    ///
    /// # Errors
    /// When the provider does not answer and nothing usable is remembered.
    pub(crate) async fn key(&self, id: &str) -> anyhow::Result<Option<ProviderKey>> {
        let keys = self.0.get(|keys| keys.contains_key(id)).await?;
        Ok(keys.get(id).cloned())
    }

    /// The keys in memory, and whether a key that is not among them is not the provider's.
    pub(crate) fn at_hand(&self) -> Option<(Arc<KeySet>, bool)> {
        self.0.at_hand().map(|(keys, age)| (keys, age < AGAIN))
    }

    /// Fetches them, unless that was done just now.
    pub(crate) async fn renew(&self) {
        self.0.renew().await;
    }

    /// Rises when keys may have been taken away.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes()
    }
}

fn read(text: &[u8]) -> anyhow::Result<KeySet> {
    let document: Document = serde_json::from_slice(text).context("a provider's keys are no JWK set")?;
    // A key of a kind that is unknown here is meant for others, and no error.
    let keys = document.keys.into_iter().take(MOST).filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        Some((key.common.key_id.clone()?, usable(&key)?))
    });
    Ok(keys.collect())
}

/// A signing key of an accepted kind, with the algorithm that its kind dictates: never the one that a token asks for.
fn usable(key: &Jwk) -> Option<ProviderKey> {
    if key.common.public_key_use.as_ref().is_some_and(|wanted| *wanted != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64.decode(&rsa.n).ok()?;
            (modulus.len() >= MIN_RSA_BYTES).then_some(Algorithm::RS256)?
        }
        AlgorithmParameters::EllipticCurve(ec) => {
            (ec.curve == EllipticCurve::P256).then_some(Algorithm::ES256)?
        }
        AlgorithmParameters::OctetKeyPair(okp) => {
            (okp.curve == EllipticCurve::Ed25519).then_some(Algorithm::EdDSA)?
        }
        // A shared secret in a public document is not secret.
        _ => return None,
    };
    let named = key.common.key_algorithm.map(|named| named.to_string());
    if named.is_some_and(|named| named != format!("{algorithm:?}")) {
        return None;
    }
    Some(ProviderKey { algorithm, decoding: DecodingKey::from_jwk(key).ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn algorithm(key: Value) -> Option<Algorithm> {
        usable(&serde_json::from_value(key).ok()?).map(|key| key.algorithm)
    }

    #[test]
    fn the_kind_of_key_dictates_the_algorithm() {
        let n = BASE64.encode([0xff; 256]);
        let x = BASE64.encode([1; 32]);
        let rsa = |extra: Value| {
            let mut key = json!({ "kty": "RSA", "kid": "k", "n": n, "e": "AQAB" });
            key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            algorithm(key)
        };
        assert_eq!(rsa(json!({})), Some(Algorithm::RS256));
        assert_eq!(rsa(json!({ "alg": "RS256", "use": "sig" })), Some(Algorithm::RS256));
        assert_eq!(rsa(json!({ "alg": "HS256" })), None, "an algorithm of another kind");
        assert_eq!(rsa(json!({ "alg": "RS512" })), None, "another algorithm than ours");
        assert_eq!(rsa(json!({ "use": "enc" })), None);
        assert_eq!(rsa(json!({ "n": BASE64.encode([0xff; 128]) })), None, "1024 bits");
        assert_eq!(algorithm(json!({ "kty": "oct", "kid": "k", "k": x })), None, "a shared secret");
        assert_eq!(
            algorithm(json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": x })),
            Some(Algorithm::ES256)
        );
        assert_eq!(algorithm(json!({ "kty": "EC", "crv": "P-384", "kid": "k", "x": x, "y": x })), None);
        assert_eq!(
            algorithm(json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x })),
            Some(Algorithm::EdDSA)
        );
    }
}
