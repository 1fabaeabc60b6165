use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use soundoff_common::hex::hex;

/// An Ed25519 key that signs access tokens.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    /// Its range key in the tables.
    pub(crate) stored_as: String,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// A new key as PKCS #8.
    pub(crate) fn generate() -> anyhow::Result<Vec<u8>> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document =
            Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| anyhow::anyhow!("no randomness"))?;
        Ok(document.as_ref().to_vec())
    }

    /// The key of a PKCS #8 document.
    pub(crate) fn of(pkcs8: &[u8], stored_as: String, created_at: u64) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| anyhow::anyhow!("unreadable PKCS #8"))?;
        let public = pair.public_key().as_ref().to_vec();
        let id = hex(&digest(&SHA256, &public).as_ref()[..8]);
        let (encoding, decoding) = (EncodingKey::from_ed_der(pkcs8), DecodingKey::from_ed_der(&public));
        Ok(Self { id, stored_as, created_at, encoding, decoding, public })
    }

    /// The public half as a JSON Web Key (RFC 8037).
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": self.id, "x": BASE64.encode(&self.public),
        })
    }
}
