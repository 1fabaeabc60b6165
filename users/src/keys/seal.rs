//! Protects the User service's stored data: fields are sealed, and addresses are found by keyed hash.
//!
//! While the deployment's secret is replaced there are several generations of each key. What is sealed opens under any
//! of them. What is found by hash may be under the hash of any of them, so look-ups ask for all, the one in use first.

use anyhow::anyhow;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use soundoff_common::hex::hex;
use soundoff_common::web::secret::{KEY_BYTES, LacksKey, Purpose, Secret};

/// Begins every sealed value, so that a later way of sealing can be distinguished from this one.
const SEALED_V1: &str = "v1.";

/// Seals fields and finds them again.
pub(crate) struct Seal {
    /// The one in use.
    present: Generation,
    /// The others: what is under them is found, and nothing is made under them.
    others: Vec<Generation>,
}

/// The keys of one generation.
pub(crate) struct Generation {
    fields: RandomizedNonceKey,
    lookup: hmac::Key,
}

impl Generation {
    fn new(fields: [u8; KEY_BYTES], lookup: [u8; KEY_BYTES]) -> Self {
        let fields = RandomizedNonceKey::new(&AES_256_GCM, &fields);
        let fields = fields.expect("the key has the algorithm's length");
        Self { fields, lookup: hmac::Key::new(hmac::HMAC_SHA256, &lookup) }
    }

    fn open(&self, sealed: &str, context: &str) -> Option<Vec<u8>> {
        let wire = sealed.strip_prefix(SEALED_V1).and_then(|text| BASE64.decode(text).ok())?;
        let (nonce, rest) = wire.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let opened = self.fields.open_in_place(nonce, Aad::from(context.as_bytes()), &mut rest).ok()?;
        Some(opened.to_vec())
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

impl Seal {
    /// With keys that are derived from the deployment's secret.
    pub(crate) fn new(secret: &Secret) -> Result<Self, LacksKey> {
        let (fields, lookups) = (secret.keys(Purpose::Fields)?, secret.keys(Purpose::Lookup)?);
        let mut all = fields.into_iter().zip(lookups).map(|(fields, lookup)| Generation::new(fields, lookup));
        let present = all.next().expect("a secret has a generation");
        Ok(Self { present, others: all.collect() })
    }

    /// The generation in use.
    pub(crate) fn present(&self) -> &Generation {
        &self.present
    }

    /// All generations, the one in use first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.present).chain(&self.others)
    }

    /// Seals a value (AES-256-GCM). It opens under the same `context` only, so that it is useless when it is moved to
    /// another item.
    pub(crate) fn seal(&self, value: &[u8], context: &str) -> anyhow::Result<String> {
        let mut sealed = value.to_vec();
        let nonce = self.present.fields.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| anyhow!("cannot seal a field"))?;
        let mut wire = nonce.as_ref().to_vec();
        wire.append(&mut sealed);
        Ok(format!("{SEALED_V1}{}", BASE64.encode(wire)))
    }

    /// Opens what [`Self::seal`] made under the same `context`.
    pub(crate) fn open(&self, sealed: &str, context: &str) -> anyhow::Result<Vec<u8>> {
        let opened = self.generations().find_map(|generation| generation.open(sealed, context));
        opened.ok_or_else(|| anyhow!("a sealed field does not open: another secret, or damage"))
    }

    /// Whether a value is sealed under the generation in use.
    pub(crate) fn is_present(&self, sealed: &str, context: &str) -> bool {
        self.present.open(sealed, context).is_some()
    }

    /// The hash of some parts under the generation in use; see [`Generation::hash`].
    pub(crate) fn hash(&self, parts: &[&str]) -> String {
        self.present.hash(parts)
    }

    /// The hashes under all generations, the one in use first.
    pub(crate) fn hashes(&self, parts: &[&str]) -> Vec<String> {
        self.generations().map(|generation| generation.hash(parts)).collect()
    }
}

/// Compares two hashes in constant time, so that the time does not reveal where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use soundoff_common::web::secret::roots::Roots;

    use super::*;

    /// The secrets of before, of both roots, and of after a rotation.
    pub(crate) fn rotated() -> [Secret; 3] {
        let mut roots = Roots::read(&[b'a'; 32]).unwrap();
        let before = roots.secret().unwrap();
        roots.add([1; 32], 1, false).unwrap();
        let both = roots.secret().unwrap();
        roots.retire().unwrap();
        [before, both, roots.secret().unwrap()]
    }

    #[test]
    fn a_field_opens_under_its_secret_and_context_only() {
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap()).unwrap();
        let sealed = seal.seal(b"anna@example.org", "email alice").unwrap();
        assert!(!sealed.contains("anna") && sealed != seal.seal(b"anna@example.org", "email alice").unwrap());
        assert_eq!(seal.open(&sealed, "email alice").unwrap(), b"anna@example.org");
        assert!(seal.open(&sealed, "email bob").is_err(), "another context");
        let other = Seal::new(&Secret::new(&[2; 32]).unwrap()).unwrap();
        assert!(other.open(&sealed, "email alice").is_err(), "another secret");
        for torn in [&sealed[..sealed.len() - 1], &sealed[1..], "v1.", "v1.AAAA", ""] {
            assert!(seal.open(torn, "email alice").is_err(), "{torn}");
        }
    }

    #[test]
    fn hashes_bind_each_part() {
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap()).unwrap();
        assert_eq!(seal.hash(&["a", "b"]), seal.hash(&["a", "b"]));
        assert_ne!(seal.hash(&["a", "b"]), seal.hash(&["ab"]));
        assert_ne!(seal.hash(&["a", "b"]), seal.hash(&["ab", ""]));
    }

    #[test]
    fn a_rotation_opens_what_was_sealed_before_and_seals_with_the_new() {
        let [before, both, after] = rotated().map(|secret| Seal::new(&secret).unwrap());
        let (old, new) = (before.seal(b"x", "c").unwrap(), both.seal(b"y", "c").unwrap());
        assert_eq!(
            (both.open(&old, "c").unwrap(), both.open(&new, "c").unwrap()),
            (b"x".to_vec(), b"y".to_vec())
        );
        assert!(!both.is_present(&old, "c") && both.is_present(&new, "c"));
        assert!(before.open(&new, "c").is_err() && after.open(&old, "c").is_err());
        assert_eq!(after.open(&new, "c").unwrap(), b"y");
        assert_eq!(both.hashes(&["a"]), [after.hash(&["a"]), before.hash(&["a"])]);
        assert_eq!(both.hash(&["a"]), after.hash(&["a"]));
    }
}
