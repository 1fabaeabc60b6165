use anyhow::{Context as _, anyhow};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use soundoff_common::hex::hex;
use soundoff_common::web::secret::{KEY_BYTES, LacksKey, Purpose, Secret};

/// An Ed25519 key of access tokens: the public half, and the private one where tokens are signed.
pub(crate) struct TokenKey {
    pub(crate) id: String,
    /// Its range key in the tables.
    pub(crate) stored_as: String,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) encoding: Option<EncodingKey>,
    pub(crate) decoding: DecodingKey,
    pub(crate) public: Vec<u8>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

impl TokenKey {
    /// A new key as PKCS #8.
    pub(crate) fn generate() -> anyhow::Result<Vec<u8>> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| anyhow!("no randomness"))?;
        Ok(document.as_ref().to_vec())
    }

    /// The key of a PKCS #8 document, which signs.
    pub(crate) fn of(pkcs8: &[u8], stored_as: String, created_at: u64) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| anyhow!("unreadable PKCS #8"))?;
        let only_checks = Self::of_public(pair.public_key().as_ref(), stored_as, created_at);
        Ok(Self { encoding: Some(EncodingKey::from_ed_der(pkcs8)), ..only_checks })
    }

    /// The key of a public half, which only verifies.
    pub(crate) fn of_public(public: &[u8], stored_as: String, created_at: u64) -> Self {
        let id = hex(&digest(&SHA256, public).as_ref()[..8]);
        let decoding = DecodingKey::from_ed_der(public);
        Self { id, stored_as, created_at, encoding: None, decoding, public: public.to_vec() }
    }

    /// The public half as a JSON Web Key (RFC 8037).
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": self.id, "x": BASE64.encode(&self.public),
        })
    }
}

/// What is signed of a public half: with its time, so that an old key cannot be passed off as a new one.
fn said(created_at: u64, public: &[u8]) -> Vec<u8> {
    [b"soundoff token key\n".as_slice(), &created_at.to_be_bytes(), public].concat()
}

/// Says which public halves are ours: who holds this may make token keys.
pub(crate) struct Authority(Vec<Ed25519KeyPair>);

impl Authority {
    pub(crate) fn new(secret: &Secret) -> Result<Self, LacksKey> {
        let pair =
            |seed: [u8; KEY_BYTES]| Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has 32 bytes");
        Ok(Self(secret.keys(Purpose::TokenKeys)?.into_iter().map(pair).collect()))
    }

    /// Signs with the generation of the secret that is in use.
    pub(crate) fn sign(&self, key: &TokenKey) -> String {
        BASE64.encode(self.0[0].sign(&said(key.created_at, &key.public)).as_ref())
    }

    /// Whether a public half is signed with the generation that is in use.
    pub(crate) fn is_present(&self, key: &TokenKey, signature: &str) -> bool {
        let said = said(key.created_at, &key.public);
        let Ok(signature) = BASE64.decode(signature) else { return false };
        is_signed(self.0[0].public_key().as_ref(), &said, &signature)
    }
}

/// Tells which public halves are ours, and can make none: a process that faces the internet holds this.
pub(crate) struct AuthorityCheck(Vec<[u8; KEY_BYTES]>);

impl AuthorityCheck {
    pub(crate) fn new(secret: &Secret) -> Result<Self, LacksKey> {
        Ok(Self(secret.keys(Purpose::TokenKeysCheck)?))
    }

    /// The key of a public half, in base64url, if it is ours.
    pub(crate) fn read(
        &self,
        (public, signature): (&str, &str),
        stored_as: String,
        created_at: u64,
    ) -> anyhow::Result<TokenKey> {
        let public = BASE64.decode(public).context("an unreadable public half")?;
        let signature = BASE64.decode(signature).context("an unreadable signature")?;
        let said = said(created_at, &public);
        anyhow::ensure!(
            self.0.iter().any(|known| is_signed(known, &said, &signature)),
            "its public half is not signed with this deployment's secret"
        );
        Ok(TokenKey::of_public(&public, stored_as, created_at))
    }
}

fn is_signed(by: &[u8], said: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, by).verify(said, signature).is_ok()
}
