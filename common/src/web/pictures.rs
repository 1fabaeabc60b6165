//! URLs of pictures that are not shown to everybody: each opens one medium for one viewer, for some minutes.

use aws_lc_rs::hmac;
use ulid::Ulid;

use crate::hex::{hex, unhex};
use crate::protocol::Handle;
use crate::web::secret::{KEY_BYTES, LacksKey, Purpose, Secret};

/// A URL stays the same for so many seconds, so that browsers find in their caches what they have.
const SAME_S: u64 = 300;
/// The longest life of a URL in seconds; the shortest is [`SAME_S`] less.
pub const LONGEST_S: u64 = 3 * SAME_S;
/// By how many seconds the clocks of those who sign and those who judge may differ. A URL that is valid for longer was
/// signed by a clock that was wrong, and opens nothing.
const SKEW_S: u64 = 60;
/// The fields of the query, in the order in which they are written.
const FIELDS: [&str; 3] = ["for", "until", "signature"];

/// What opens one medium for one viewer until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    viewer: Handle,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    signature: String,
}

impl Signed {
    /// The query `for=<viewer>&until=<seconds since 1970>&signature=<hex>`. Other parameters may stand beside these.
    #[must_use]
    pub fn query(&self) -> String {
        let Self { viewer, until, signature } = self;
        format!("for={viewer}&until={until}&signature={signature}")
    }
}

/// For whom a query opens a medium, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// For whom it was signed.
    pub viewer: Handle,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// Signs and checks URLs of pictures: signs with the first key, and takes what any has signed.
#[derive(Clone)]
pub struct PictureKey(Vec<hmac::Key>);

impl std::fmt::Debug for PictureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PictureKey(…)")
    }
}

impl PictureKey {
    /// Signs with `key`.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(vec![hmac::Key::new(hmac::HMAC_SHA256, key)])
    }

    /// Signs with the keys for this purpose of a deployment's secret.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub fn of(secret: &Secret) -> Result<Self, LacksKey> {
        let keys = secret.keys(Purpose::Pictures)?;
        Ok(Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()))
    }

    fn said(id: Ulid, viewer: &str, until: &str) -> String {
        format!("GET\n{id}\n{viewer}\n{until}")
    }

    /// What opens the medium `id`, in all of its sizes, for `viewer`, who may see it at `now` (seconds since 1970): for
    /// more than ten minutes and at most fifteen. All that is signed within five minutes is the same.
    #[must_use]
    pub fn sign(&self, id: Ulid, viewer: &Handle, now: u64) -> Signed {
        let until = (now / SAME_S).saturating_mul(SAME_S).saturating_add(LONGEST_S);
        let tag = hmac::sign(&self.0[0], Self::said(id, viewer.as_str(), &until.to_string()).as_bytes());
        Signed { viewer: viewer.clone(), until, signature: hex(tag.as_ref()) }
    }

    /// For whom a query opens the medium `id` at `now` (seconds since 1970), if it was signed here and has not ended.
    /// Parameters of others are passed over: people share links that others have added to.
    #[must_use]
    pub fn allows(&self, id: Ulid, query: &str, now: u64) -> Option<Allowed> {
        let mut fields = [None; FIELDS.len()];
        for part in query.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(at) = FIELDS.iter().position(|known| *known == name) else { continue };
            // With a field given twice it would be open which of the two was signed.
            if fields[at].replace(value).is_some() {
                return None;
            }
        }
        let [viewer, until, signature] = fields;
        let (viewer, until, signature) = (viewer?, until?, unhex(signature?)?);
        let said = Self::said(id, viewer, until);
        self.0.iter().find(|key| hmac::verify(key, said.as_bytes(), &signature).is_ok())?;
        let (viewer, until): (Handle, u64) = (viewer.parse().ok()?, until.parse().ok()?);
        let in_time = until > now && until - now <= LONGEST_S + SKEW_S;
        in_time.then_some(Allowed { viewer, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_123;

    fn user(name: &str) -> Handle {
        name.parse().unwrap()
    }

    fn viewer(allowed: Option<Allowed>) -> Option<String> {
        allowed.map(|allowed| allowed.viewer.to_string())
    }

    #[test]
    fn only_what_was_signed_is_allowed_for_one_viewer_and_only_for_so_long() {
        let key = PictureKey::new(&[1; 32]);
        let id = Ulid::from_parts(1, 1);
        let signed = key.sign(id, &user("alice"), NOW);
        let (query, until) = (signed.query(), signed.until);
        assert_eq!(key.allows(id, &query, NOW), Some(Allowed { viewer: user("alice"), until }));
        assert_eq!(viewer(key.allows(id, &query, until - 1)).as_deref(), Some("alice"));
        assert_eq!(key.allows(id, &query, until), None, "expired");
        assert_eq!(key.allows(id, &query, until - LONGEST_S - SKEW_S - 1), None, "by a clock that was wrong");
        assert_eq!(key.allows(Ulid::from_parts(1, 2), &query, NOW), None, "another id");
        assert_eq!(PictureKey::new(&[2; 32]).allows(id, &query, NOW), None, "another key");
        let [of_viewer, of_until, of_signature] = [0, 1, 2].map(|at| query.split('&').nth(at).unwrap());
        for altered in [
            query.replace("for=alice", "for=bobby"),
            query.replace("for=alice", "for=alice%0A"),
            query.replace(of_until, &format!("until={}", until + 1)),
            query.replace(of_until, &format!("until=+{until}")),
            format!("{of_until}&{of_signature}"),
            format!("{of_viewer}&{of_signature}"),
            format!("{of_viewer}&{of_until}"),
            format!("{query}&for=alice"),
            format!("{query}&{of_signature}"),
            format!("{query}0"),
            query[..query.len() - 2].to_owned(),
            format!("{of_viewer}&{of_until}&signature="),
            String::new(),
        ] {
            assert_eq!(key.allows(id, &altered, NOW), None, "{altered}");
        }
        for same in [
            format!("{of_signature}&size=feed&{of_until}&{of_viewer}"),
            format!("fbclid=x&{query}&utm_source"),
            format!("{query}&size=thumb&"),
        ] {
            assert_eq!(viewer(key.allows(id, &same, NOW)).as_deref(), Some("alice"), "{same}");
        }
    }

    #[test]
    fn it_lives_ten_to_fifteen_minutes_and_is_the_same_for_five() {
        let key = PictureKey::new(&[1; 32]);
        let sign = |now| key.sign(Ulid::from_parts(1, 1), &user("alice"), now);
        let begun = NOW / SAME_S * SAME_S;
        for now in [begun, begun + 1, begun + SAME_S - 1] {
            assert_eq!(sign(now), sign(begun));
            let life = sign(now).until - now;
            assert!((600..=900).contains(&life) && life > 600, "{life}");
        }
        assert_ne!(sign(begun), sign(begun + SAME_S));
        assert_ne!(sign(begun).query(), key.sign(Ulid::from_parts(1, 1), &user("bobby"), begun).query());
    }

    #[test]
    fn what_a_former_root_signed_opens_until_the_root_is_retired() {
        let mut roots = crate::web::secret::roots::Roots::read(&[b'a'; 32]).unwrap();
        let key =
            |roots: &crate::web::secret::roots::Roots| PictureKey::of(&roots.secret().unwrap()).unwrap();
        let id = Ulid::from_parts(1, 1);
        let before = key(&roots).sign(id, &user("alice"), NOW).query();
        roots.add([1; 32], 5, false).unwrap();
        let after = key(&roots).sign(id, &user("alice"), NOW).query();
        assert_ne!(before, after);
        for query in [&before, &after] {
            assert!(key(&roots).allows(id, query, NOW).is_some());
        }
        roots.retire().unwrap();
        assert_eq!(key(&roots).allows(id, &before, NOW), None);
        assert!(key(&roots).allows(id, &after, NOW).is_some());
    }
}
