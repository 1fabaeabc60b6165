//! How a request says who made it, and what its body will be, before the body is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::InternalKey;
use crate::hex::hex;

/// The header that signs a request: six words with a space between them. They are the process that is meant, the
/// sender, the request's number, the time of signing in milliseconds since 1970, the SHA-256 of the body and the
/// signature. The last two are in base64url.
pub const SIGNED_HEADER: &str = "x-soundoff-signed";

/// The bytes of a digest, and of a signature.
pub(super) const TAG_BYTES: usize = 32;

/// What is signed of a request, besides its method, its path and the process that is meant.
pub(super) struct Stamp {
    /// Who signs; drawn at random.
    pub(super) sender: u64,
    /// A sender gives no number twice.
    pub(super) number: u64,
    pub(super) time_ms: u64,
    /// The body's length in bytes.
    pub(super) length: u64,
    /// The body's SHA-256.
    pub(super) digest: [u8; TAG_BYTES],
}

impl Stamp {
    /// The bytes that are signed. No two requests have the same: of the three texts none holds a line's end, and the
    /// rest has a fixed length. They are few enough for two blocks of SHA-256.
    pub(super) fn message(&self, method: &str, path: &str, to: &str) -> Vec<u8> {
        let mut message = Vec::with_capacity(128);
        for (text, end) in [(method, b' '), (path, b'\n'), (to, b'\n')] {
            message.extend_from_slice(text.as_bytes());
            message.push(end);
        }
        for number in [self.sender, self.number, self.time_ms, self.length] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message.extend_from_slice(&self.digest);
        message
    }
}

pub(super) fn sha256(body: &[u8]) -> [u8; TAG_BYTES] {
    digest(&SHA256, body).as_ref().try_into().expect("a digest of SHA-256 has 32 bytes")
}

/// Signs requests to one process. Each request gets a number of its own, so that the process takes it once: what is sent
/// again is signed again.
#[derive(Debug)]
pub struct Signer {
    key: InternalKey,
    to: Arc<str>,
    sender: u64,
    number: AtomicU64,
}

impl Signer {
    /// A new sender of requests to the process that calls itself `to`: an edge's boot, say.
    #[must_use]
    pub fn new(key: InternalKey, to: Arc<str>) -> Self {
        Self { key, to, sender: rand::random(), number: AtomicU64::new(0) }
    }

    /// The value of [`SIGNED_HEADER`] for one request that is made at `now_ms`.
    #[must_use]
    pub fn sign(&self, method: &str, path: &str, body: &[u8], now_ms: u64) -> String {
        self.value(method, path, &self.stamp(body, now_ms))
    }

    /// The header fields of one request, names and values, for an edge of this version or of 0.1.0: an update replaces
    /// edges last. The two fields for 0.1.0 open nothing at an edge of this version.
    #[must_use]
    pub fn sign_for_any(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        now_ms: u64,
    ) -> [(&'static str, String); 3] {
        let stamp = self.stamp(body, now_ms);
        let mut message = format!("{method}\n{path}\n{now_ms}\n").into_bytes();
        message.extend_from_slice(&stamp.digest);
        let tag = hex(self.key.tag(&message).as_ref());
        let signed = self.value(method, path, &stamp);
        [(SIGNED_HEADER, signed), ("x-soundoff-time", now_ms.to_string()), ("x-soundoff-signature", tag)]
    }

    fn stamp(&self, body: &[u8], now_ms: u64) -> Stamp {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, length) = (self.sender, body.len() as u64);
        Stamp { sender, number, time_ms: now_ms, length, digest: sha256(body) }
    }

    fn value(&self, method: &str, path: &str, stamp: &Stamp) -> String {
        let tag = URL_SAFE_NO_PAD.encode(self.key.tag(&stamp.message(method, path, &self.to)));
        let Stamp { sender, number, time_ms, digest, .. } = stamp;
        format!("{} {sender} {number} {time_ms} {} {tag}", self.to, URL_SAFE_NO_PAD.encode(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "c32619fd7f698d8b9b1e0cc71a07238d4f8cab9cbb4ec464360d466d77749996";

    #[test]
    fn an_edge_of_0_1_0_finds_the_signature_that_it_knows() {
        let signer = Signer::new(InternalKey::new(&[7; 32]).unwrap(), "boot".into());
        let [_, time, signature] = signer.sign_for_any("POST", "/deliver", b"body", 1_000_000);
        assert_eq!(time, ("x-soundoff-time", "1000000".to_owned()));
        assert_eq!(signature, ("x-soundoff-signature", VECTOR.to_owned()), "as 0.1.0 signed the same");
    }
}
