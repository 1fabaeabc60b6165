//! Refresh tokens: what they hold, and how the next one is derived.
//!
//! A token is opaque to clients. It holds its sign-in, a secret, and a mark that only this deployment can make. The
//! mark distinguishes a used token from an invented one without a list of all used tokens. The secret of the next token
//! is derived from the present one. So a refresh that is repeated because its answer was lost gets the same answer,
//! though only hashes are kept.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use soundoff_common::hex::hex;
use soundoff_common::web::secret::Secret;
use ulid::Ulid;

/// Begins every refresh token, so that scanners for leaked secrets recognize it.
const PREFIX: &str = "so_refresh_";
const SECRET_BYTES: usize = 32;
const MARK_BYTES: usize = 16;
const BYTES: usize = 16 + SECRET_BYTES + MARK_BYTES;

/// Makes and reads refresh tokens.
pub(crate) struct RefreshKey(hmac::Key);

/// What one token holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) session: Ulid,
    secret: [u8; SECRET_BYTES],
}

impl RefreshKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret.key("users refresh")))
    }

    /// A new sign-in's first token.
    pub(crate) fn first(session: Ulid) -> RefreshToken {
        RefreshToken { session, secret: rand::random() }
    }

    /// The token that follows: the same one for each call.
    pub(crate) fn next(&self, token: &RefreshToken) -> RefreshToken {
        let said = [b"next".as_slice(), &token.session.to_bytes(), &token.secret];
        let tag = hmac::sign(&self.0, &said.concat());
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(tag.as_ref());
        RefreshToken { session: token.session, secret }
    }

    fn mark(&self, body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &[b"mark", body].concat())
    }

    /// The token as the client gets it.
    pub(crate) fn text(&self, token: &RefreshToken) -> String {
        let mut wire = token.session.to_bytes().to_vec();
        wire.extend_from_slice(&token.secret);
        let mark = self.mark(&wire);
        wire.extend_from_slice(&mark.as_ref()[..MARK_BYTES]);
        format!("{PREFIX}{}", BASE64.encode(wire))
    }

    /// What a text holds, if it is a token that this deployment made, now or earlier.
    pub(crate) fn parse(&self, text: &str) -> Option<RefreshToken> {
        let wire = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
        let wire: [u8; BYTES] = wire.try_into().ok()?;
        let (body, mark) = wire.split_at(BYTES - MARK_BYTES);
        let expected = self.mark(body);
        aws_lc_rs::constant_time::verify_slices_are_equal(mark, &expected.as_ref()[..MARK_BYTES]).ok()?;
        Some(RefreshToken {
            session: Ulid::from_bytes(body[..16].try_into().ok()?),
            secret: body[16..].try_into().ok()?,
        })
    }
}

impl RefreshToken {
    /// What is stored of it. A plain hash of 256 random bits reveals nothing.
    pub(crate) fn hash(&self) -> String {
        hex(digest(&SHA256, &self.secret).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_a_token() {
        let key = RefreshKey::new(&Secret::new(&[1; 32]).unwrap());
        let token = RefreshKey::first(Ulid::generate());
        let text = key.text(&token);
        assert!(key.parse(&text).unwrap() == token);
        assert!(key.next(&token) == key.next(&token), "a repeated refresh gets the same");
        assert!(key.next(&token).hash() != token.hash());
        let other = RefreshKey::new(&Secret::new(&[2; 32]).unwrap());
        assert!(other.parse(&text).is_none(), "another deployment's");
        for at in PREFIX.len()..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(key.parse(&altered).is_none_or(|parsed| parsed == token), "{at}");
        }
        for torn in ["", PREFIX, &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
            assert!(key.parse(torn).is_none(), "{torn}");
        }
    }
}
