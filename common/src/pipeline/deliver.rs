//! What workers send to an edge's internal port, and how they prove that they are ours.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::hex::{hex, unhex};
use crate::protocol::text::shared;
use crate::protocol::{CLOCKS_APART_MS, Handle};

/// The path at which an edge takes deliveries.
pub const DELIVER_PATH: &str = "/deliver";

/// The header with the time of signing, in milliseconds since 1970.
pub const TIME_HEADER: &str = "x-soundoff-time";

/// The header with the signature, in hex.
pub const SIGNATURE_HEADER: &str = "x-soundoff-signature";

/// The largest request an edge reads, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// The kind of a delivery. It decides how an edge treats it when a socket is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The outcome of one message, for the socket that asked.
    Reply,
    /// An inbox entry; `seq` is set. Without a frame it only says that `seq` exists.
    Push,
    /// A live event; may be dropped.
    Event,
    /// Closes the user's sockets, or those of one `session`: it was revoked.
    Revoke,
    /// Closes the user's sockets so that they come back with a fresh token: what the user may do has changed.
    Renew,
    /// Closes the socket `connection`: its device has said `hello` on another one.
    Replace,
    /// Asks the user's sockets for a sign of life, and closes those that give none: another socket wants a place.
    Probe,
}

/// One frame for some users' sockets on this edge. `F` is a `&RawValue` where a frame is borrowed from a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery<F = Box<RawValue>> {
    /// What it is.
    pub kind: Kind,
    /// Whose sockets.
    pub to: Vec<Handle>,
    /// Only this socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// Only the sockets of this sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Ulid>,
    /// A push's place in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The whole frame as the client gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<F>,
}

/// The body of `POST /deliver`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliverRequest<D = Delivery> {
    /// Which edge process is meant: another process at a recycled address refuses with 409.
    pub boot: Arc<str>,
    /// What to deliver, in order.
    pub deliveries: Vec<D>,
}

/// The answer to `POST /deliver`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DeliverAnswer {
    /// Which users had no socket here (or not the one named): the delivery's index and the user.
    pub missing: Vec<(usize, Handle)>,
}

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
/// requests begin with their method.
const ADDRESS: &str = "edge address";

/// How much of the hash is the signature, in bytes: it is part of each envelope.
const ADDRESS_SIGNATURE_BYTES: usize = 16;

/// The key that workers, edges and operators share.
#[derive(Clone)]
pub struct InternalKey(hmac::Key);

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
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    fn message(method: &str, path: &str, time: &str, body: &[u8]) -> Vec<u8> {
        let body = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
        let mut message = format!("{method}\n{path}\n{time}\n").into_bytes();
        message.extend_from_slice(body.as_ref());
        message
    }

    /// The two header values that sign a request made at `now_ms`: time and signature.
    #[must_use]
    pub fn sign(&self, method: &str, path: &str, body: &[u8], now_ms: u64) -> (String, String) {
        let time = now_ms.to_string();
        let tag = hmac::sign(&self.0, &Self::message(method, path, &time, body));
        (time, hex(tag.as_ref()))
    }

    /// Whether a request was signed with this key within [`CLOCKS_APART_MS`] of `now_ms`. It takes the same time,
    /// whatever is wrong with the signature.
    #[must_use]
    pub fn verify(&self, method: &str, path: &str, body: &[u8], headers: (&str, &str), now_ms: u64) -> bool {
        let (time, signature) = headers;
        let fresh = time.parse::<u64>().is_ok_and(|at| at.abs_diff(now_ms) <= CLOCKS_APART_MS);
        let Some(tag) = unhex(signature) else { return false };
        fresh && hmac::verify(&self.0, &Self::message(method, path, time, body), &tag).is_ok()
    }

    fn address_signature(&self, boot: &str, address: &str) -> [u8; ADDRESS_SIGNATURE_BYTES] {
        let tag = hmac::sign(&self.0, format!("{ADDRESS}\n{boot}\n{address}").as_bytes());
        *tag.as_ref().first_chunk().expect("a tag of SHA-256 is longer")
    }

    /// Signs the address, `ip:port`, at which the edge process `boot` takes deliveries.
    #[must_use]
    pub fn sign_address(&self, boot: &str, address: &str) -> SignedAddress {
        let signature = URL_SAFE_NO_PAD.encode(self.address_signature(boot, address));
        SignedAddress(format!("{address}/{signature}").into())
    }

    /// The address, if the edge process `boot` signed it with this key. It takes the same time, whatever is wrong with
    /// the signature.
    #[must_use]
    pub fn address<'a>(&self, boot: &str, signed: &'a SignedAddress) -> Option<&'a str> {
        let (address, signature) = signed.0.rsplit_once('/')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_valid = verify_slices_are_equal(&self.address_signature(boot, address), &signature).is_ok();
        is_valid.then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_method_path_body_and_time() {
        let key = InternalKey::new(&[7; 32]).unwrap();
        let other = InternalKey::new(&[8; 32]).unwrap();
        let now = 1_000_000;
        let (time, tag) = key.sign("POST", "/deliver", b"body", now);
        let check = |key: &InternalKey, method, path, body: &[u8], time: &str, tag: &str, now| {
            key.verify(method, path, body, (time, tag), now)
        };
        assert!(check(&key, "POST", "/deliver", b"body", &time, &tag, now + CLOCKS_APART_MS));
        assert!(!check(&other, "POST", "/deliver", b"body", &time, &tag, now), "key");
        assert!(!check(&key, "GET", "/deliver", b"body", &time, &tag, now), "method");
        assert!(!check(&key, "POST", "/other", b"body", &time, &tag, now), "path");
        assert!(!check(&key, "POST", "/deliver", b"bodY", &time, &tag, now), "body");
        assert!(!check(&key, "POST", "/deliver", b"body", "1000001", &tag, now), "time");
        assert!(!check(&key, "POST", "/deliver", b"body", &time, &tag, now + CLOCKS_APART_MS + 1), "stale");
        for torn in ["", "zz", "é", &tag[1..], &tag[2..]] {
            assert!(!check(&key, "POST", "/deliver", b"body", &time, torn, now), "{torn:?}");
        }
        assert!(InternalKey::new(&[7; 31]).is_err());
    }

    #[test]
    fn an_address_is_signed_for_one_edge_process() {
        let key = InternalKey::new(&[7; 32]).unwrap();
        let other = InternalKey::new(&[8; 32]).unwrap();
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
