//! The public keys of passkeys, as authenticators write them (COSE, RFC 9053), and the signatures of the private ones.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use coset::cbor::value::Value;
use coset::iana::{
    Algorithm, Ec2KeyParameter, EllipticCurve, EnumI64 as _, KeyType, OkpKeyParameter, RsaKeyParameter,
};
use coset::{CborSerializable as _, CoseKey, Label, RegisteredLabel, RegisteredLabelWithPrivate};

/// The algorithms that are taken, the best first: `EdDSA` with Ed25519, ES256 with P-256, RS256. Every authenticator
/// has one of them.
pub(crate) const ALGORITHMS: [i64; 3] =
    [Algorithm::EdDSA as i64, Algorithm::ES256 as i64, Algorithm::RS256 as i64];
/// The longest key, in bytes: RSA's of 8192 bits, with what stands around it.
const MAX_BYTES: usize = 1_100;
/// RSA's shortest and longest modulus, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// A coordinate of P-256, and a key of Ed25519, in bytes.
const FIELD_BYTES: usize = 32;

/// A key that signatures are checked with.
pub(crate) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Reads a COSE key; `None` when it is none, or of no kind that we take. The algorithm is the key's own.
    pub(crate) fn read(cose: &[u8]) -> Option<Self> {
        if cose.len() > MAX_BYTES {
            return None;
        }
        let key = CoseKey::from_slice(cose).ok()?;
        let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = &key.alg else { return None };
        let parsed = match (algorithm, &key.kty) {
            (Algorithm::ES256, RegisteredLabel::Assigned(KeyType::EC2)) => {
                is_on(&key, Ec2KeyParameter::Crv.to_i64(), EllipticCurve::P_256)?;
                let x = field(&key, Ec2KeyParameter::X.to_i64())?;
                let y = field(&key, Ec2KeyParameter::Y.to_i64())?;
                ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, [&[4], x, y].concat())
            }
            (Algorithm::EdDSA, RegisteredLabel::Assigned(KeyType::OKP)) => {
                is_on(&key, OkpKeyParameter::Crv.to_i64(), EllipticCurve::Ed25519)?;
                ParsedPublicKey::new(&ED25519, field(&key, OkpKeyParameter::X.to_i64())?)
            }
            (Algorithm::RS256, RegisteredLabel::Assigned(KeyType::RSA)) => {
                let n = bytes(&key, RsaKeyParameter::N.to_i64()).filter(|n| RSA_BYTES.contains(&n.len()))?;
                let e = bytes(&key, RsaKeyParameter::E.to_i64()).filter(|e| e.len() <= 8)?;
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
            _ => return None,
        };
        parsed.ok().map(Self)
    }

    /// Whether its private key has signed the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

fn parameter(key: &CoseKey, name: i64) -> Option<&Value> {
    key.params.iter().find(|(label, _)| *label == Label::Int(name)).map(|(_, value)| value)
}

fn bytes(key: &CoseKey, name: i64) -> Option<&[u8]> {
    parameter(key, name)?.as_bytes().map(Vec::as_slice)
}

fn field(key: &CoseKey, name: i64) -> Option<&[u8]> {
    bytes(key, name).filter(|value| value.len() == FIELD_BYTES)
}

/// `Some` when the key's curve is this one.
fn is_on(key: &CoseKey, name: i64, curve: EllipticCurve) -> Option<()> {
    let named = parameter(key, name)?.as_integer()?;
    (named == curve.to_i64().into()).then_some(())
}
