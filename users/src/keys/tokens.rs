use std::sync::Arc;

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use soundoff_common::ports::tokens::{Claims, Token, TokenError, TokenVerifier};
use soundoff_common::protocol::{CLOCKS_APART_MS, Handle, Role};
use ulid::Ulid;

use crate::keys::ring::Ring;

/// Who issues our access tokens (`iss`).
const ISSUER: &str = "soundoff";
/// Whom they are for (`aud`).
const AUDIENCE: &str = "soundoff";
/// Marks an access token, so that no other token of ours can be used as one (`typ`, RFC 9068).
const TYP: &str = "at+jwt";
/// How far another clock may be ahead of ours, in seconds. What lies beyond was issued by a clock that was wrong, and
/// would be valid for too long: its holder refreshes.
const CLOCK_SKEW_S: u64 = CLOCKS_APART_MS / 1000;

/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    iss: String,
    aud: String,
    sub: Handle,
    role: Role,
    sid: Ulid,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// Issues access tokens.
#[derive(Debug, Clone)]
pub struct Issuer {
    ring: Arc<Ring>,
}

impl Issuer {
    /// Issues with the keys of `ring`.
    #[must_use]
    pub fn new(ring: Arc<Ring>) -> Self {
        Self { ring }
    }

    /// An access token for `user` with `role`, valid from `now` for `lifetime` (both in seconds), of the sign-in
    /// `session`.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn issue(
        &self,
        user: &Handle,
        role: Role,
        session: Ulid,
        now: u64,
        lifetime: u64,
    ) -> anyhow::Result<String> {
        let key = self.ring.signing(now.saturating_mul(1000)).context("there is no key to sign with")?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.id.clone());
        let claims = Wire {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user.clone(),
            role,
            sid: session,
            iat: now,
            nbf: now,
            exp: now.saturating_add(lifetime),
            jti: Ulid::generate().to_string(),
        };
        jsonwebtoken::encode(&header, &claims, &key.encoding).context("cannot sign a token")
    }
}

/// Verifies access tokens: with one algorithm and known keys. Of the token's own header only the key's id is used.
pub struct Verifier {
    ring: Arc<Ring>,
    rules: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({:?})", self.ring)
    }
}

impl Verifier {
    /// Trusts the keys of `ring`.
    #[must_use]
    pub fn new(ring: Arc<Ring>) -> Self {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are checked below, by the caller's clock and with our own leeway.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        Self { ring, rules }
    }
}

impl TokenVerifier for Verifier {
    fn verify(&self, token: &str, now: u64) -> Result<Token, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TYP) {
            return Err(TokenError::Invalid);
        }
        let key = header.kid.and_then(|id| self.ring.verifying(&id)).ok_or(TokenError::Invalid)?;
        let decoded = jsonwebtoken::decode::<Wire>(token, &key.decoding, &self.rules);
        let Wire { sub: user, role, sid: session, iat, nbf, exp: expires_at, .. } =
            decoded.map_err(|_| TokenError::Invalid)?.claims;
        if nbf > now + CLOCK_SKEW_S || iat > now + CLOCK_SKEW_S {
            return Err(TokenError::Invalid);
        }
        if expires_at <= now {
            return Err(TokenError::Expired);
        }
        Ok(Token::Ours(Claims { user, session, role, expires_at }))
    }

    fn epoch(&self) -> u64 {
        self.ring.epoch()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::ring::tests::two_processes;
    use crate::keys::signing::SigningKey;

    fn fresh() -> Arc<SigningKey> {
        Arc::new(SigningKey::of(&SigningKey::generate().unwrap(), String::new(), 0).unwrap())
    }

    const NOW: u64 = 1_000_000;

    fn claims() -> Value {
        let sid = Ulid::nil().to_string();
        json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "role": "user", "sid": sid, "iat": NOW, "nbf": NOW, "exp": NOW + 60, "jti": "j" })
    }

    fn sign(key: &SigningKey, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &key.encoding).unwrap()
    }

    fn header(key: &SigningKey) -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.id.clone());
        header
    }

    #[tokio::test]
    async fn our_own_token_is_valid_until_it_expires() {
        let (_dir, [ring, other]) = two_processes().await;
        let (alice, session) = ("alice".parse().unwrap(), Ulid::generate());
        let token = Issuer::new(ring.clone()).issue(&alice, Role::Moderator, session, NOW, 60).unwrap();
        let verifier = Verifier::new(other);
        let Token::Ours(good) = verifier.verify(&token, NOW + 59).unwrap() else { panic!("one of ours") };
        assert_eq!((good.user.as_str(), good.session, good.expires_at), ("alice", session, NOW + 60));
        assert_eq!(good.role, Role::Moderator);
        assert_eq!(verifier.verify(&token, NOW + 60), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, NOW - CLOCK_SKEW_S - 1), Err(TokenError::Invalid), "not yet");
    }

    #[tokio::test]
    async fn nothing_else_is_valid() {
        let (_dir, [ring, _]) = two_processes().await;
        let key = ring.signing(NOW * 1000).unwrap();
        let verifier = Verifier::new(ring);
        let good = sign(&key, &header(&key), &claims());
        assert!(verifier.verify(&good, NOW).is_ok());
        for (name, value) in [
            ("iss", json!("x")),
            ("aud", json!("x")),
            ("sub", json!("No Handle")),
            ("nbf", json!(NOW + CLOCK_SKEW_S + 1)),
            ("role", json!("root")),
            ("sid", json!("s")),
        ] {
            let mut altered = claims();
            altered[name] = value;
            assert!(verifier.verify(&sign(&key, &header(&key), &altered), NOW).is_err(), "{name}");
            altered.as_object_mut().unwrap().remove(name);
            assert!(verifier.verify(&sign(&key, &header(&key), &altered), NOW).is_err(), "without {name}");
        }
        let mut foreign = header(&fresh());
        assert!(verifier.verify(&sign(&key, &foreign, &claims()), NOW).is_err(), "unknown kid");
        foreign.kid = None;
        assert!(verifier.verify(&sign(&key, &foreign, &claims()), NOW).is_err(), "no kid");
        let stranger = fresh();
        assert!(verifier.verify(&sign(&stranger, &header(&key), &claims()), NOW).is_err(), "foreign key");
        let mut untyped = header(&key);
        untyped.typ = Some("JWT".to_owned());
        assert!(verifier.verify(&sign(&key, &untyped, &claims()), NOW).is_err(), "typ");
        let mut shared = header(&key);
        shared.alg = Algorithm::HS256;
        let secret = EncodingKey::from_secret(b"secret");
        let confused = jsonwebtoken::encode(&shared, &claims(), &secret).unwrap();
        assert!(verifier.verify(&confused, NOW).is_err(), "another algorithm");
        let (body, _) = good.rsplit_once('.').unwrap();
        for torn in [body, &format!("{body}."), "", "a.b.c", &good[1..], &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(verifier.verify(torn, NOW).is_err(), "{torn}");
        }
    }
}
