//! Refresh tokens: what they hold, and how the next one is derived.
//!
//! A token is opaque to clients. It holds its sign-in, a secret, and a mark that only this deployment can make. The
//! mark distinguishes a used token from an invented one without a list of all used tokens. The secret of the next token
//! is derived from the present one. So a refresh that is repeated because its answer was lost gets the same answer,
//! though only hashes are kept.
//!
//! While the deployment's secret is replaced, marks of all its generations are known. The hash that is stored of a token
//! proves as much as a mark: so a token goes on whose mark is of a root that is forgotten by now.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use soundoff_common::hex::hex;
use soundoff_common::web::secret::{LacksKey, Purpose, Secret};
use ulid::Ulid;

/// Begins every refresh token, so that scanners for leaked secrets recognize it.
const PREFIX: &str = "so_refresh_";
const SECRET_BYTES: usize = 32;
const MARK_BYTES: usize = 16;
const BYTES: usize = 16 + SECRET_BYTES + MARK_BYTES;

/// Makes and reads refresh tokens: makes them with the first key, and knows the marks of all.
pub(crate) struct RefreshKey(Vec<hmac::Key>);

/// A token that somebody shows.
#[derive(PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) token: RefreshToken,
    /// Whether its mark says that this deployment made it, now or earlier. Otherwise it was invented, or made under a
    /// root that is forgotten: then only what is stored of it can tell.
    pub(crate) is_marked: bool,
}

/// What one token holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) session: Ulid,
    secret: [u8; SECRET_BYTES],
}

impl RefreshKey {
    pub(crate) fn new(secret: &Secret) -> Result<Self, LacksKey> {
        let keys = secret.keys(Purpose::Refresh)?;
        Ok(Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()))
    }

    /// A new sign-in's first token.
    pub(crate) fn first(session: Ulid) -> RefreshToken {
        RefreshToken { session, secret: rand::random() }
    }

    /// The token that follows: the same one for each call.
    pub(crate) fn next(&self, token: &RefreshToken) -> RefreshToken {
        Self::next_by(&self.0[0], token)
    }

    /// The token that followed, as far as `hash` is what is stored of it: another process may have made it with another
    /// of the keys.
    pub(crate) fn followed(&self, token: &RefreshToken, hash: &str) -> Option<RefreshToken> {
        self.0.iter().map(|key| Self::next_by(key, token)).find(|next| next.hash() == hash)
    }

    fn next_by(key: &hmac::Key, token: &RefreshToken) -> RefreshToken {
        let said = [b"next".as_slice(), &token.session.to_bytes(), &token.secret];
        let tag = hmac::sign(key, &said.concat());
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(tag.as_ref());
        RefreshToken { session: token.session, secret }
    }

    fn mark(key: &hmac::Key, body: &[u8]) -> hmac::Tag {
        hmac::sign(key, &[b"mark", body].concat())
    }

    /// The token as the client gets it.
    pub(crate) fn text(&self, token: &RefreshToken) -> String {
        let mut wire = token.session.to_bytes().to_vec();
        wire.extend_from_slice(&token.secret);
        let mark = Self::mark(&self.0[0], &wire);
        wire.extend_from_slice(&mark.as_ref()[..MARK_BYTES]);
        format!("{PREFIX}{}", BASE64.encode(wire))
    }

    /// What a text holds, if it has the form of a token.
    pub(crate) fn parse(&self, text: &str) -> Option<Shown> {
        let wire = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
        let wire: [u8; BYTES] = wire.try_into().ok()?;
        let (body, mark) = wire.split_at(BYTES - MARK_BYTES);
        let is_by = |key: &hmac::Key| {
            let expected = Self::mark(key, body);
            aws_lc_rs::constant_time::verify_slices_are_equal(mark, &expected.as_ref()[..MARK_BYTES]).is_ok()
        };
        let token = RefreshToken {
            session: Ulid::from_bytes(body[..16].try_into().ok()?),
            secret: body[16..].try_into().ok()?,
        };
        Some(Shown { token, is_marked: self.0.iter().any(is_by) })
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
    use crate::keys::seal::tests::rotated;

    #[test]
    fn tokens_of_before_a_rotation_are_known_until_its_end() {
        let [before, both, after] = rotated().map(|secret| RefreshKey::new(&secret).unwrap());
        let token = RefreshKey::first(Ulid::generate());
        let old = before.text(&token);
        assert!(both.parse(&old).unwrap().is_marked);
        let late = after.parse(&old).unwrap();
        assert!(late.token == token && !late.is_marked, "what is stored of it must tell");
        assert!(after.parse(&both.text(&token)).unwrap().is_marked);
        // A refresh that one process answered is repeated at another.
        let next = before.next(&token);
        assert!(both.next(&token) != next && both.followed(&token, &next.hash()).unwrap() == next);
        assert!(after.followed(&token, &next.hash()).is_none());
    }

    #[test]
    fn only_what_was_made_here_is_a_token() {
        let key = RefreshKey::new(&Secret::new(&[1; 32]).unwrap()).unwrap();
        let token = RefreshKey::first(Ulid::generate());
        let text = key.text(&token);
        assert!(key.parse(&text).unwrap() == Shown { token: token.clone(), is_marked: true });
        assert!(key.next(&token) == key.next(&token), "a repeated refresh gets the same");
        assert!(key.next(&token).hash() != token.hash());
        let other = RefreshKey::new(&Secret::new(&[2; 32]).unwrap()).unwrap();
        assert!(!other.parse(&text).unwrap().is_marked, "another deployment's");
        for at in PREFIX.len()..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            let same = |shown: Shown| !shown.is_marked || shown.token == token;
            assert!(key.parse(&altered).is_none_or(same), "{at}");
        }
        for torn in ["", PREFIX, &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
            assert!(key.parse(torn).is_none(), "{torn}");
        }
    }
}
