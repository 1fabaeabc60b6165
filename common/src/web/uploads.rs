//! Where large media are uploaded to: URLs that are signed, so that they need no access token.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use ulid::Ulid;

use crate::hex::{hex, unhex};
use crate::ports::Unavailable;
use crate::ports::uploads::Uploads;
use crate::web::secret::{KEY_BYTES, LacksKey, Purpose, Secret};

/// Where signed uploads go, before the id.
pub const UPLOAD_PATH: &str = "/v1/media/uploads/";

/// Signs and checks upload URLs of the media service itself: signs with the first key, and takes what any has signed.
#[derive(Clone)]
pub struct UploadKey(Vec<hmac::Key>);

impl std::fmt::Debug for UploadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadKey(…)")
    }
}

impl UploadKey {
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
        let keys = secret.keys(Purpose::Uploads)?;
        Ok(Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()))
    }

    fn said(id: Ulid, bytes: u64, expires: u64) -> String {
        format!("PUT\n{id}\n{bytes}\n{expires}")
    }

    /// Path and query for one upload of exactly `bytes` bytes until `expires` (seconds since 1970).
    #[must_use]
    pub fn sign(&self, id: Ulid, bytes: u64, expires: u64) -> String {
        let tag = hmac::sign(&self.0[0], Self::said(id, bytes, expires).as_bytes());
        format!("{UPLOAD_PATH}{id}?bytes={bytes}&expires={expires}&signature={}", hex(tag.as_ref()))
    }

    /// The length in bytes of an upload to `id`, if the query was signed here and has not expired at `now` (seconds
    /// since 1970).
    #[must_use]
    pub fn allows(&self, id: Ulid, query: &str, now: u64) -> Option<u64> {
        let mut fields = [None; 3];
        for part in query.split('&') {
            let (name, value) = part.split_once('=')?;
            let at = ["bytes", "expires", "signature"].iter().position(|known| *known == name)?;
            // With a field given twice it would be open which of the two was signed.
            if fields[at].replace(value).is_some() {
                return None;
            }
        }
        let [bytes, expires, signature] = fields;
        let (bytes, expires): (u64, u64) = (bytes?.parse().ok()?, expires?.parse().ok()?);
        let (said, signature) = (Self::said(id, bytes, expires), unhex(signature?)?);
        self.0.iter().find(|key| hmac::verify(key, said.as_bytes(), &signature).is_ok())?;
        (expires > now).then_some(bytes)
    }
}

#[async_trait]
impl Uploads for UploadKey {
    async fn url(&self, id: Ulid, bytes: u64, expires: u64) -> Result<String, Unavailable> {
        Ok(self.sign(id, bytes, expires))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_is_allowed_and_only_for_so_long() {
        let key = UploadKey::new(&[1; 32]);
        let id = Ulid::from_parts(1, 1);
        let url = key.sign(id, 1000, 50);
        let query = url.split_once('?').unwrap().1;
        assert_eq!(key.allows(id, query, 49), Some(1000));
        assert_eq!(key.allows(id, query, 50), None, "expired");
        assert_eq!(key.allows(Ulid::from_parts(1, 2), query, 49), None, "another id");
        assert_eq!(UploadKey::new(&[2; 32]).allows(id, query, 49), None, "another key");
        for altered in [
            query.replace("bytes=1000", "bytes=1001"),
            query.replace("expires=50", "expires=51"),
            query.replace("bytes=1000&", ""),
            format!("{query}&bytes=1000"),
            format!("{query}0"),
            query.split("&signature").next().unwrap().to_owned(),
            String::new(),
        ] {
            assert_eq!(key.allows(id, &altered, 49), None, "{altered}");
        }
    }
}
