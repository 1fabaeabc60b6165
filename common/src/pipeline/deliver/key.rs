//! The key that workers, edges and operators share, and what it says about an edge's address.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::protocol::text::shared;
use crate::web::secret::{LacksKey, Purpose, Secret};

/// Where an edge process takes deliveries, signed by it: `ip:port/signature`, the signature being 16 bytes in base64.
/// It travels in envelopes: somebody who can write to a queue must not be able to send workers elsewhere. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedAddress(#[serde(deserialize_with = "shared")] Arc<str>);

impl SignedAddress {
    /// As envelopes carry it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a signed address begins with before it is hashed, so that no signature of a request is one of an address:
/// requests begin with their method and a path.
const ADDRESS: &str = "edge address";

/// How much of the hash is the signature, in bytes: it is part of each envelope.
const ADDRESS_SIGNATURE_BYTES: usize = 16;

/// The key that workers, edges and operators share. While a deployment's secret is replaced there are several: the first
/// signs, and what any of them has signed is taken.
#[derive(Clone)]
pub struct InternalKey(Arc<[hmac::Key]>);

impl std::fmt::Debug for InternalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InternalKey(…)")
    }
}

/// The key is too short to be safe.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the internal key must be at least 32 bytes")]
pub struct KeyTooShort;

impl InternalKey {
    /// A key of at least 32 secret bytes.
    ///
    /// # Errors
    /// [`KeyTooShort`].
    pub fn new(secret: &[u8]) -> Result<Self, KeyTooShort> {
        if secret.len() < 32 {
            return Err(KeyTooShort);
        }
        Ok(Self(Arc::new([hmac::Key::new(hmac::HMAC_SHA256, secret)])))
    }

    /// The keys for this of a deployment's secret.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub fn of(secret: &Secret) -> Result<Self, LacksKey> {
        let keys = secret.keys(Purpose::Deliveries)?;
        Ok(Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()))
    }

    /// The signature of a message, 32 bytes.
    pub(super) fn tag(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0[0], message)
    }

    /// Whether a message has this signature. It takes the same time, whatever is wrong with it.
    pub(super) fn has_signed(&self, message: &[u8], tag: &[u8]) -> bool {
        self.0.iter().any(|key| hmac::verify(key, message, tag).is_ok())
    }

    fn address_signature(key: &hmac::Key, boot: &str, address: &str) -> [u8; ADDRESS_SIGNATURE_BYTES] {
        let tag = hmac::sign(key, format!("{ADDRESS}\n{boot}\n{address}").as_bytes());
        *tag.as_ref().first_chunk().expect("a tag of SHA-256 is longer")
    }

    /// Signs the address, `ip:port`, at which the edge process `boot` takes deliveries.
    #[must_use]
    pub fn sign_address(&self, boot: &str, address: &str) -> SignedAddress {
        let signature = URL_SAFE_NO_PAD.encode(Self::address_signature(&self.0[0], boot, address));
        SignedAddress(format!("{address}/{signature}").into())
    }

    /// The address, if the edge process `boot` signed it with this key. It takes the same time, whatever is wrong with
    /// the signature.
    #[must_use]
    pub fn address<'a>(&self, boot: &str, signed: &'a SignedAddress) -> Option<&'a str> {
        let (address, signature) = signed.0.rsplit_once('/')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_by = |key: &hmac::Key| {
            verify_slices_are_equal(&Self::address_signature(key, boot, address), &signature).is_ok()
        };
        self.0.iter().any(is_by).then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::secret::roots::Roots;

    #[test]
    fn what_processes_of_before_and_after_a_rotation_sign_is_taken_by_both() {
        let of = |roots: &Roots| InternalKey::of(&roots.secret().unwrap()).unwrap();
        let mut roots = Roots::read(&[b'a'; 32]).unwrap();
        let alone = of(&roots);
        roots.add([1; 32], 1, true).unwrap();
        let announced = of(&roots);
        roots.use_newest(2).unwrap();
        let used = of(&roots);
        roots.retire().unwrap();
        let after = of(&roots);
        // One after the other they are replaced, so two that follow each other meet.
        for (one, other) in [(&alone, &announced), (&announced, &used), (&used, &after)] {
            for (from, to) in [(one, other), (other, one)] {
                assert!(
                    to.has_signed(b"m", from.tag(b"m").as_ref())
                        && !to.has_signed(b"n", from.tag(b"m").as_ref())
                );
                assert_eq!(to.address("b", &from.sign_address("b", "1.2.3.4:5")), Some("1.2.3.4:5"));
            }
        }
        assert!(!after.has_signed(b"m", alone.tag(b"m").as_ref()));
    }

    #[test]
    fn an_address_is_signed_for_one_edge_process() {
        let key = InternalKey::new(&[7; 32]).unwrap();
        let other = InternalKey::new(&[8; 32]).unwrap();
        assert!(InternalKey::new(&[7; 31]).is_err());
        for address in ["10.0.0.1:9090", "[::1]:9090"] {
            let signed = key.sign_address("01BOOT", address);
            assert_eq!(signed.0.len(), address.len() + 23, "it is part of each envelope");
            assert_eq!(key.address("01BOOT", &signed), Some(address));
            assert_eq!(key.address("01BOOX", &signed), None, "process");
            assert_eq!(other.address("01BOOT", &signed), None, "key");
            let signature = signed.0.rsplit_once('/').unwrap().1;
            let forged = format!("10.0.0.2:9090/{signature}");
            for bad in [&forged, "", "/", address, &format!("{address}/"), &signed.0[..signed.0.len() - 4]] {
                assert_eq!(key.address("01BOOT", &SignedAddress(bad.into())), None, "{bad}");
            }
        }
    }
}
