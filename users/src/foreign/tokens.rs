//! Judges the customer's own tokens.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use hyper::Uri;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use soundoff_common::ports::tokens::{Foreign, Token, TokenError, TokenVerifier};
use soundoff_common::protocol::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::fetch::Fetch;
use crate::keys::tokens::Verifier;
use crate::ways::jwks::{Jwks, MIN_RSA_BYTES, ProviderKey};
use crate::ways::jwt::{self, Audience, Bad, Times};
use crate::ways::remembered::AGAIN;

/// How often keys are fetched: a key that was taken away is good for that long.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The shortest secret, in bytes: HS256 is as strong as its secret is long, up to its hash (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// What such a token may call itself (`typ`).
const TYPES: &[&str] = &["JWT", "at+jwt"];

/// Whose tokens are taken.
#[derive(Clone)]
pub struct ForeignConfig {
    /// Who must have issued them, exactly.
    pub issuer: String,
    /// Whom they must be for: one of these.
    pub audience: Vec<String>,
    /// What they are signed with.
    pub key: ForeignKey,
    /// The claim that names the user for good.
    pub claim: String,
    /// The claims in which a handle for a new account may be; the first that is one counts.
    pub handle_claims: Vec<String>,
    /// How old a token may be, in seconds, whatever expiry it names.
    pub max_age_s: u64,
}

/// The issuer alone: there may be a secret.
impl std::fmt::Debug for ForeignConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ForeignConfig({})", self.issuer)
    }
}

/// What tokens are signed with. It alone dictates the algorithm, so that a token cannot choose a weaker one, or have a
/// public key taken for a secret.
#[derive(Clone)]
pub enum ForeignKey {
    /// The keys of a JWK set (RFC 7517), by their ids.
    At(Uri),
    /// One key, whatever id a token names.
    One(KnownKey),
}

/// A key, with the algorithm of its kind.
#[derive(Clone)]
pub struct KnownKey(ProviderKey);

impl ForeignKey {
    /// A public key in PEM (`-----BEGIN PUBLIC KEY-----`): RSA of 2048 bits or more (RS256), P-256 (ES256) or Ed25519.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn public(pem: &str) -> anyhow::Result<Self> {
        let usable = public(pem);
        let help = "is no public key of RSA (2048 bits or more), P-256 or Ed25519 in PEM, which begins with -----BEGIN PUBLIC KEY-----";
        usable.map(|key| Self::One(KnownKey(key))).ok_or_else(|| anyhow::anyhow!(help))
    }

    /// A secret that the issuer shares with us (HS256).
    ///
    /// # Errors
    /// When it is too short to be safe.
    pub fn shared(secret: &[u8]) -> anyhow::Result<Self> {
        let enough = secret.len() >= MIN_SECRET_BYTES;
        ensure!(
            enough,
            "must be at least {MIN_SECRET_BYTES} bytes of randomness: who guesses it is everybody"
        );
        let decoding = DecodingKey::from_secret(secret);
        Ok(Self::One(KnownKey(ProviderKey { algorithm: Algorithm::HS256, decoding })))
    }
}

/// A key of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), by what its kind begins with.
fn public(pem: &str) -> Option<ProviderKey> {
    const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    const P256: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let inside =
        pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let der = BASE64.decode(inside.split_whitespace().collect::<String>()).ok()?;
    let pem = pem.trim().as_bytes();
    let (algorithm, decoding) = if der.starts_with(ED25519) {
        (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem))
    } else if der.starts_with(P256) {
        (Algorithm::ES256, DecodingKey::from_ec_pem(pem))
    } else if der.windows(RSA.len()).take(16).any(|begins| begins == RSA) && der.len() > MIN_RSA_BYTES {
        (Algorithm::RS256, DecodingKey::from_rsa_pem(pem))
    } else {
        return None;
    };
    Some(ProviderKey { algorithm, decoding: decoding.ok()? })
}

/// One issuer.
struct Issuer {
    config: ForeignConfig,
    keys: Keys,
    /// Tells that a token names a key that is not known.
    wanted: Notify,
}

enum Keys {
    One(ProviderKey),
    Many(Box<Jwks>),
}

/// Judges tokens of all issuers that the operator has named.
pub struct ForeignTokens {
    issuers: Vec<Issuer>,
}

impl std::fmt::Debug for ForeignTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.config)).finish()
    }
}

#[derive(Deserialize)]
struct Claims {
    aud: Audience,
    #[serde(flatten)]
    times: Times,
}

/// What a token says of its user.
pub(super) struct Told<'a> {
    pub(super) issuer: &'a str,
    /// Their name there.
    pub(super) subject: String,
    /// When they last proved there who they are, in seconds since 1970, if the token says (`auth_time`, OpenID Connect
    /// Core 1.0, 2).
    pub(super) proved_at: Option<u64>,
    /// The handle that they have there, if it can be one here.
    pub(super) handle: Option<Handle>,
    pub(super) token: Foreign,
}

impl ForeignTokens {
    /// Of these issuers. Their keys are fetched by [`Self::keep`].
    #[must_use]
    pub fn new(configs: Vec<ForeignConfig>) -> Self {
        let fetch = Fetch::new();
        let issuer = |config: ForeignConfig| {
            let keys = match &config.key {
                ForeignKey::At(url) => Keys::Many(Box::new(Jwks::new(fetch.clone(), url.clone()))),
                ForeignKey::One(KnownKey(key)) => Keys::One(key.clone()),
            };
            Issuer { config, keys, wanted: Notify::new() }
        };
        Self { issuers: configs.into_iter().map(issuer).collect() }
    }

    /// Fetches keys at once, then now and then, and soon when a token names one that is not known; until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let all = join_all(self.issuers.iter().map(Issuer::keep));
        stop.run_until_cancelled(all).await;
    }

    /// Whether a token says that it is of one of these issuers.
    fn is_theirs(&self, token: &str) -> Option<&Issuer> {
        let said = jwt::said_issuer(token)?;
        self.issuers.iter().find(|issuer| issuer.config.issuer == said)
    }

    /// What a token says, if it is valid at `now_s`.
    pub(super) fn read(&self, token: &str, now_s: u64) -> Result<Told<'_>, TokenError> {
        let issuer = self.is_theirs(token).ok_or(TokenError::Invalid)?;
        let config = &issuer.config;
        let (times, all) = issuer.open(token)?;
        if times.exp <= now_s {
            return Err(TokenError::Expired);
        }
        let expires_at = times.until(now_s, config.max_age_s)?;
        let subject = jwt::subject(&all, &config.claim)?;
        let handle = |claim: &String| all.get(claim)?.as_str()?.parse().ok();
        let token =
            Foreign { session: Self::session(&config.issuer, &subject), issued_at: times.iat, expires_at };
        let handle = config.handle_claims.iter().find_map(handle);
        let proved_at = all.get("auth_time").and_then(Value::as_u64);
        Ok(Told { issuer: &config.issuer, subject, proved_at, handle, token })
    }

    /// The sign-in that stands for a user of an issuer. Its name is no secret: it opens nothing without their token. It
    /// follows from no key, so that it stays the same when the deployment's secret is replaced.
    fn session(issuer: &str, subject: &str) -> Ulid {
        let mut name = digest::Context::new(&digest::SHA256);
        name.update(b"soundoff foreign sign-in");
        for part in [issuer, subject] {
            name.update(&(part.len() as u64).to_be_bytes());
            name.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&name.finish().as_ref()[..16]);
        // Where its user has too many sessions the oldest end, by their ids: this one is always among the newest.
        bytes[0] = u8::MAX;
        Ulid::from_bytes(bytes)
    }

    /// Rises when a token that was valid may no longer be.
    fn changes(&self) -> u64 {
        let changes = |issuer: &Issuer| match &issuer.keys {
            Keys::One(_) => 0,
            Keys::Many(keys) => keys.changes(),
        };
        self.issuers.iter().map(changes).sum()
    }
}

impl From<Bad> for TokenError {
    fn from(_: Bad) -> Self {
        TokenError::Invalid
    }
}

impl Issuer {
    async fn keep(&self) {
        let Keys::Many(keys) = &self.keys else { return };
        loop {
            keys.renew().await;
            let pause = if keys.at_hand().is_some_and(|(_, settled)| settled) { EVERY } else { AGAIN };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// When a token that is this issuer's and for us is good, and all that it says.
    fn open(&self, token: &str) -> Result<(Times, Map<String, Value>), TokenError> {
        let id = jwt::key_id(token, TYPES)?;
        let key = match &self.keys {
            Keys::One(key) => key.clone(),
            Keys::Many(keys) => self.key(keys, &id.ok_or(TokenError::Invalid)?)?,
        };
        let (Claims { aud, times }, all) = jwt::open::<Claims>(token, &key, &self.config.issuer)?;
        let for_us = aud.names().iter().any(|name| self.config.audience.contains(name));
        if for_us { Ok((times, all)) } else { Err(TokenError::Invalid) }
    }

    fn key(&self, keys: &Jwks, id: &str) -> Result<ProviderKey, TokenError> {
        let at_hand = keys.at_hand();
        if let Some(key) = at_hand.as_ref().and_then(|(keys, _)| keys.get(id)) {
            return Ok(key.clone());
        }
        if at_hand.is_some_and(|(_, settled)| settled) {
            return Err(TokenError::Invalid);
        }
        // Perhaps it is new. Nobody waits for it here: edges judge a token while other sockets wait for them.
        self.wanted.notify_one();
        Err(TokenError::Unknown)
    }
}

/// Judges our tokens and the customer's own.
pub(super) struct Either {
    pub(super) ours: Verifier,
    pub(super) foreign: Arc<ForeignTokens>,
}

impl ForeignTokens {
    /// Judges tokens of ours by `ours`, and the others itself.
    #[must_use]
    pub fn beside(self: &Arc<Self>, ours: Verifier) -> Arc<dyn TokenVerifier> {
        Arc::new(Either { ours, foreign: self.clone() })
    }
}

impl TokenVerifier for Either {
    fn verify(&self, token: &str, now: u64) -> Result<Token, TokenError> {
        match self.foreign.is_theirs(token) {
            Some(_) => Ok(Token::Foreign(self.foreign.read(token, now)?.token)),
            None => self.ours.verify(token, now),
        }
    }

    fn epoch(&self) -> u64 {
        self.ours.epoch() + self.foreign.changes()
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
