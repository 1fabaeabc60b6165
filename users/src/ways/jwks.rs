//! A provider's public keys (RFC 7517), kept in memory and fetched again when a token names an unknown one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use hyper::{Request, Uri};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use soundoff_common::lock::lock;

use crate::fetch::Fetch;

/// How long keys are used without fetching them again.
const FRESH: Duration = Duration::from_secs(3600);
/// How soon an unknown key id makes us fetch again: a caller that invents ids must not make us call the provider for
/// each.
const AGAIN: Duration = Duration::from_secs(10);
/// How long keys are used while the provider does not answer.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// The most keys taken of one provider.
const MOST: usize = 50;
/// The shortest RSA modulus accepted, in bytes.
const MIN_RSA_BYTES: usize = 256;

/// A key, and the only algorithm it is used with.
#[derive(Clone)]
pub(crate) struct ProviderKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, ProviderKey>,
    /// When they were read.
    read: Option<Instant>,
    /// When they were last asked for, with or without success.
    asked: Option<Instant>,
}

impl Known {
    /// The key of an id, unless it must be fetched again.
    fn fresh(&self, id: &str) -> Option<ProviderKey> {
        let is_fresh = self.read.is_some_and(|read| read.elapsed() < FRESH);
        self.keys.get(id).filter(|_| is_fresh).cloned()
    }
}

/// One provider's keys.
pub(crate) struct Jwks {
    fetch: Fetch,
    url: Uri,
    known: Mutex<Known>,
    /// Held while asking: all callers that need a key wait for one answer, and callers whose key is known do not wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Jwks {
    pub(crate) fn new(fetch: Fetch, url: Uri) -> Self {
        Self { fetch, url, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// The key of an id; `None` when the provider has none.
    ///
    /// # Errors
    /// When the provider does not answer and nothing usable is remembered.
    pub(crate) async fn key(&self, id: &str) -> anyhow::Result<Option<ProviderKey>> {
        if let Some(found) = self.known().fresh(id) {
            return Ok(Some(found));
        }
        let _asking = self.asking.lock().await;
        {
            let mut known = self.known();
            if let Some(found) = known.fresh(id) {
                return Ok(Some(found));
            }
            if known.asked.is_some_and(|asked| asked.elapsed() < AGAIN) {
                let usable = known.read.is_some_and(|read| read.elapsed() < STALE);
                ensure!(usable, "the provider's keys are not known yet, or no longer");
                return Ok(known.keys.get(id).cloned());
            }
            known.asked = Some(Instant::now());
        }
        let answer = self.ask().await;
        let mut known = self.known();
        match answer {
            Ok(keys) => {
                known.keys = keys;
                known.read = Some(Instant::now());
            }
            Err(error) if known.read.is_some_and(|read| read.elapsed() < STALE) => {
                tracing::warn!("a provider's keys cannot be renewed; using those at hand: {error:#}");
            }
            Err(error) => return Err(error),
        }
        Ok(known.keys.get(id).cloned())
    }

    async fn ask(&self) -> anyhow::Result<HashMap<String, ProviderKey>> {
        let request = Request::get(self.url.clone()).body(Bytes::new())?;
        let response = self.fetch.send(request).await?;
        ensure!(response.status().is_success(), "the provider's keys: {}", response.status());
        let document: Document =
            serde_json::from_slice(response.body()).context("the provider's keys are no JWK set")?;
        // A key of a kind that is unknown here is meant for others, and no error.
        let keys = document.keys.into_iter().take(MOST).filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            Some((key.common.key_id.clone()?, usable(&key)?))
        });
        Ok(keys.collect())
    }
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
