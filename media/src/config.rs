//! What operators can choose.

use std::sync::Arc;
use std::time::Duration;

use crate::bounds::Bounds;
use crate::purge::Purger;

/// The most bytes of a `POST /v1/media`.
pub const MAX_POST_BYTES: u64 = 16 << 20;
/// The most bytes of an upload to a URL of `media.begin`.
pub const MAX_UPLOAD_BYTES: u64 = 64 << 20;

/// How many pictures a process checks at the same time: each takes up to [`Bounds::memory`], and its file.
pub(crate) const CHECKS: usize = 2;
/// How many messages at once tell caches what to forget: each waits for the operator's hook.
pub(crate) const PURGES: usize = 8;

/// How media are uploaded, checked and kept.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// How long media are kept that no post shows.
    pub kept: Duration,
    /// How many uploads this process takes at the same time.
    pub uploads: usize,
    /// How many of them may come from one address (or /64 of IPv6).
    pub uploads_per_household: usize,
    /// How many of them one user may have.
    pub uploads_per_user: usize,
    /// How long an upload may pause.
    pub pause: Duration,
    /// How many bytes of an upload must arrive in each such time.
    pub slowest: u64,
    /// How many pictures this process sends at the same time.
    pub shown: usize,
    /// How many of them may go to one address (or /64 of IPv6), behind which there may be many people.
    pub shown_per_household: usize,
    /// How many seconds caches may keep a picture that everybody may see.
    pub max_age: u64,
    /// Tells caches in front what to forget, if there are any.
    pub purger: Option<Arc<dyn Purger>>,
    /// How many pictures this process checks at the same time: each takes up to [`Bounds::memory`], and its file.
    pub checks: usize,
    /// What a picture may be.
    pub bounds: Bounds,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            kept: Duration::from_secs(24 * 3600),
            uploads: 256,
            uploads_per_household: 64,
            uploads_per_user: 4,
            pause: Duration::from_secs(10),
            slowest: 32 * 1024,
            shown: 1024,
            shown_per_household: 256,
            max_age: 3600,
            purger: None,
            checks: CHECKS,
            bounds: Bounds::default(),
        }
    }
}
