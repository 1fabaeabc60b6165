//! Where clients upload large media themselves.

use async_trait::async_trait;
use ulid::Ulid;

use super::Unavailable;

/// Uploads.
///
/// Law: anybody who holds the URL may PUT the raw bytes of that one medium, of exactly that length, until it expires,
/// and can do nothing else with it.
#[async_trait]
pub trait Uploads: Send + Sync + 'static {
    /// Where to PUT the `bytes` bytes of the medium `id` until `expires` (seconds since 1970): a URL, or the path and
    /// query of one when the server itself takes it.
    async fn url(&self, id: Ulid, bytes: u64, expires: u64) -> Result<String, Unavailable>;
}
