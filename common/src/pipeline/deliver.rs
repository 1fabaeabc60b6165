//! What workers send to an edge's internal port, and how they prove that they are ours.

use std::sync::Arc;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::hex::{hex, unhex};
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
}
