//! The one secret of a deployment, and the keys for each purpose that are derived from it.

use aws_lc_rs::hkdf;

/// A secret of at least 32 bytes. The key for one purpose reveals nothing about the key for another.
#[derive(Clone)]
pub struct Secret(hkdf::Prk);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret is too short to be safe.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the secret must be at least 32 bytes of randomness")]
pub struct SecretTooShort;

impl Secret {
    /// The secret from its bytes.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < 32 {
            return Err(SecretTooShort);
        }
        Ok(Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"soundoff").extract(bytes)))
    }

    /// The key for a purpose (HKDF-SHA256, RFC 5869).
    ///
    /// # Panics
    /// Never: HKDF can give 32 bytes.
    #[must_use]
    pub fn key(&self, purpose: &str) -> [u8; 32] {
        let info = [purpose.as_bytes()];
        let mut key = [0; 32];
        let filled = self.0.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        filled.expect("32 bytes are within what HKDF gives");
        key
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let secret = Secret::new(&[7; 32]).unwrap();
        assert_eq!(secret.key("a"), Secret::new(&[7; 32]).unwrap().key("a"));
        assert_ne!(secret.key("a"), secret.key("b"));
        assert_ne!(secret.key("a"), Secret::new(&[8; 32]).unwrap().key("a"));
        assert!(Secret::new(&[7; 31]).is_err());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
