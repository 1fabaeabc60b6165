//! Which requests are ours and come for the first time.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::InternalKey;
use super::numbers::{Numbers, Taken};
use super::signer::{Stamp, TAG_BYTES, sha256};
use crate::lock::lock;
use crate::protocol::CLOCKS_APART_MS;

/// Why a request is refused by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not signed with the key, or signed too long ago.
    Unsigned,
    /// It is signed for another process.
    OtherProcess,
    /// A request with its number was taken before.
    Repeated,
    /// More senders came lately than are remembered.
    Crowded,
}

/// What a signed head says of its body.
#[derive(Debug)]
pub struct Promised([u8; TAG_BYTES]);

impl Promised {
    /// Whether this is the body.
    #[must_use]
    pub fn is_kept_by(&self, body: &[u8]) -> bool {
        self.0 == sha256(body)
    }
}

/// Whether what was signed at `time_ms` is new enough, by a clock that shows `now_ms`: they are within
/// [`CLOCKS_APART_MS`].
#[must_use]
pub fn is_fresh(time_ms: u64, now_ms: u64) -> bool {
    time_ms.abs_diff(now_ms) <= CLOCKS_APART_MS
}

/// Judges the heads of requests to one process.
#[derive(Debug)]
pub struct Judge {
    key: InternalKey,
    name: Arc<str>,
    numbers: Mutex<Numbers>,
}

/// The words of a [`SIGNED_HEADER`](super::SIGNED_HEADER).
struct Words<'a> {
    to: &'a str,
    stamp: Stamp,
    tag: [u8; TAG_BYTES],
}

impl<'a> Words<'a> {
    fn read(text: &'a str, length: u64) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let to = next()?;
        let (sender, number, time_ms) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
        let (digest, tag) = (bytes(next()?)?, bytes(next()?)?);
        next().is_none().then_some(Self { to, stamp: Stamp { sender, number, time_ms, length, digest }, tag })
    }
}

fn bytes(text: &str) -> Option<[u8; TAG_BYTES]> {
    let mut bytes = [0; TAG_BYTES];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? == TAG_BYTES).then_some(bytes)
}

impl Judge {
    /// The judge of the process that its senders know as `name`.
    #[must_use]
    pub fn new(key: InternalKey, name: Arc<str>) -> Self {
        Self { key, name, numbers: Mutex::default() }
    }

    /// Judges a request by its head: method, path, the `length` of its body in bytes and its signature, the value of
    /// [`SIGNED_HEADER`](super::SIGNED_HEADER). `is_new` judges its time, in milliseconds since 1970; see [`is_fresh`].
    ///
    /// What is found good counts as taken, whatever its body turns out to be. Its sender signs it again.
    ///
    /// # Errors
    /// Why the request is refused. It takes the same time, whatever is wrong with a signature.
    pub fn judge(
        &self,
        method: &str,
        path: &str,
        length: u64,
        signed: &str,
        is_new: impl FnOnce(u64) -> bool,
    ) -> Result<Promised, Refused> {
        let Words { to, stamp, tag } = Words::read(signed, length).ok_or(Refused::Unsigned)?;
        // The time first: it costs nothing.
        if !is_new(stamp.time_ms) || !self.key.has_signed(&stamp.message(method, path, to), &tag) {
            return Err(Refused::Unsigned);
        }
        if to != &*self.name {
            return Err(Refused::OtherProcess);
        }
        match lock(&self.numbers).take(stamp.sender, stamp.number, Instant::now()) {
            Taken::First => Ok(Promised(stamp.digest)),
            Taken::Again => Err(Refused::Repeated),
            Taken::NoRoom => Err(Refused::Crowded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signer::Signer;
    use super::*;

    const NOW: u64 = 1_000_000;

    fn key(byte: u8) -> InternalKey {
        InternalKey::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_signature_covers_the_whole_head_and_is_good_once() {
        let signer = Signer::new(key(7), "one".into());
        let (one, two) = (Judge::new(key(7), "one".into()), Judge::new(key(7), "two".into()));
        let other = Judge::new(key(8), "one".into());
        let signed = signer.sign("POST", "/deliver", b"body", NOW);
        let ask = |judge: &Judge, method, path, length, signed: &str, now| {
            judge.judge(method, path, length, signed, |time| is_fresh(time, now)).err()
        };
        let now = NOW + CLOCKS_APART_MS;
        assert_eq!(ask(&other, "POST", "/deliver", 4, &signed, now), Some(Refused::Unsigned), "key");
        assert_eq!(ask(&one, "GET", "/deliver", 4, &signed, now), Some(Refused::Unsigned), "method");
        assert_eq!(ask(&one, "POST", "/other", 4, &signed, now), Some(Refused::Unsigned), "path");
        assert_eq!(ask(&one, "POST", "/deliver", 5, &signed, now), Some(Refused::Unsigned), "length");
        assert_eq!(ask(&one, "POST", "/deliver", 4, &signed, now + 1), Some(Refused::Unsigned), "stale");
        assert_eq!(ask(&two, "POST", "/deliver", 4, &signed, now), Some(Refused::OtherProcess));
        let words: Vec<&str> = signed.split(' ').collect();
        let another = signer.sign("POST", "/deliver", b"bodY", NOW + 1);
        let others: Vec<&str> = another.split(' ').collect();
        for (at, what) in ["process", "sender", "number", "time", "digest", "signature"].iter().enumerate() {
            let mut changed = words.clone();
            changed[at] = if others[at] == words[at] { "1" } else { others[at] };
            let changed = changed.join(" ");
            assert_eq!(ask(&one, "POST", "/deliver", 4, &changed, now), Some(Refused::Unsigned), "{what}");
        }
        for torn in ["", "zz", "é", &signed[1..], &signed[..signed.len() - 1], &format!("{signed} ")] {
            assert_eq!(ask(&one, "POST", "/deliver", 4, torn, now), Some(Refused::Unsigned), "{torn:?}");
        }
        assert_eq!(ask(&one, "POST", "/deliver", 4, &signed, now), None, "and none of these took it");
        assert_eq!(ask(&one, "POST", "/deliver", 4, &signed, now), Some(Refused::Repeated));
        assert_eq!(ask(&one, "POST", "/deliver", 4, &another, now), None);
    }

    #[test]
    fn a_body_is_the_one_that_was_signed() {
        let signed = Signer::new(key(7), "one".into()).sign("POST", "/", b"body", NOW);
        let judge = Judge::new(key(7), "one".into());
        let promised = judge.judge("POST", "/", 4, &signed, |_| true).unwrap();
        assert!(promised.is_kept_by(b"body"));
        for other in [&b"bodY"[..], b"bod", b"body ", b""] {
            assert!(!promised.is_kept_by(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_signed_fits_into_two_blocks_of_the_hash() {
        let stamp = Stamp { sender: 1, number: 1, time_ms: 1, length: 1, digest: [0; TAG_BYTES] };
        let boot = ulid::Ulid::generate().to_string();
        let message = stamp.message("POST", super::super::DELIVER_PATH, &boot);
        // A block has 64 bytes, and the padding at least nine.
        assert!(message.len() + 9 <= 2 * 64, "{} bytes: another block in each delivery", message.len());
    }
}
