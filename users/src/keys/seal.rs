//! Protects the User service's stored data: fields are sealed, and addresses are found by keyed hash.

use anyhow::anyhow;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use soundoff_common::hex::hex;
use soundoff_common::web::secret::Secret;

/// Begins every sealed value, so that a later way of sealing can be distinguished from this one.
const SEALED_V1: &str = "v1.";

/// Seals fields and finds them again.
pub(crate) struct Seal {
    fields: RandomizedNonceKey,
    lookup: hmac::Key,
}

impl Seal {
    /// With keys that are derived from the deployment's secret.
    pub(crate) fn new(secret: &Secret) -> Self {
        let fields = RandomizedNonceKey::new(&AES_256_GCM, &secret.key("users fields"));
        let fields = fields.expect("the key has the algorithm's length");
        Self { fields, lookup: hmac::Key::new(hmac::HMAC_SHA256, &secret.key("users lookup")) }
    }

    /// Seals a value (AES-256-GCM). It opens under the same `context` only, so that it is useless when it is moved to
    /// another item.
    pub(crate) fn seal(&self, value: &[u8], context: &str) -> anyhow::Result<String> {
        let mut sealed = value.to_vec();
        let nonce = self.fields.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| anyhow!("cannot seal a field"))?;
        let mut wire = nonce.as_ref().to_vec();
        wire.append(&mut sealed);
        Ok(format!("{SEALED_V1}{}", BASE64.encode(wire)))
    }

    /// Opens what [`Self::seal`] made under the same `context`.
    pub(crate) fn open(&self, sealed: &str, context: &str) -> anyhow::Result<Vec<u8>> {
        let unreadable = || anyhow!("a sealed field does not open: another secret, or damage");
        let wire = sealed.strip_prefix(SEALED_V1).and_then(|text| BASE64.decode(text).ok());
        let wire = wire.filter(|wire| wire.len() >= NONCE_LEN).ok_or_else(unreadable)?;
        let (nonce, rest) = wire.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let mut rest = rest.to_vec();
        let opened = self.fields.open_in_place(nonce, Aad::from(context.as_bytes()), &mut rest);
        Ok(opened.map_err(|_| unreadable())?.to_vec())
    }

    /// The keyed hash (HMAC-SHA256, in hex) by which a value is found or compared without being stored. Each part is
    /// hashed with its length, so that no two lists of parts share a hash.
    pub(crate) fn hash(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.lookup);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex(context.sign().as_ref())
    }
}

/// Compares two hashes in constant time, so that the time does not reveal where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_opens_under_its_secret_and_context_only() {
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap());
        let sealed = seal.seal(b"anna@example.org", "email alice").unwrap();
        assert!(!sealed.contains("anna") && sealed != seal.seal(b"anna@example.org", "email alice").unwrap());
        assert_eq!(seal.open(&sealed, "email alice").unwrap(), b"anna@example.org");
        assert!(seal.open(&sealed, "email bob").is_err(), "another context");
        let other = Seal::new(&Secret::new(&[2; 32]).unwrap());
        assert!(other.open(&sealed, "email alice").is_err(), "another secret");
        for torn in [&sealed[..sealed.len() - 1], &sealed[1..], "v1.", "v1.AAAA", ""] {
            assert!(seal.open(torn, "email alice").is_err(), "{torn}");
        }
    }

    #[test]
    fn hashes_bind_each_part() {
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap());
        assert_eq!(seal.hash(&["a", "b"]), seal.hash(&["a", "b"]));
        assert_ne!(seal.hash(&["a", "b"]), seal.hash(&["ab"]));
        assert_ne!(seal.hash(&["a", "b"]), seal.hash(&["ab", ""]));
    }
}
