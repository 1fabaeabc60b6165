//! The Session Cache: which edges hold a user's sockets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Unavailable;
use crate::protocol::Handle;

/// The suite that every adapter of [`Sessions`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// One socket of a user. Equal registrations are the same socket: `boot` and `connection` are the token by which only
/// its maker removes it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The internal address of the edge, `ip:port`.
    pub edge: Arc<str>,
    /// The edge process: drawn again at every start, so that a recycled address differs from the old one.
    pub boot: Arc<str>,
    /// The socket within the edge process; never reused by it.
    pub connection: u64,
}

/// The Session Cache.
///
/// Laws, each in the contract suite:
/// 1. A handle has any number of registrations; `put` adds or refreshes its own and touches no other.
/// 2. `remove` removes exactly the given registration, and returns whether it was there. It never removes another's.
/// 3. A registration is gone once its `ttl` has passed since its last `put`; refreshing one does not prolong another.
/// 4. `get_many` returns one list for each handle, in order. All registrations may vanish at any time; they come back
///    by `put`.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Adds or refreshes registrations.
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable>;

    /// The registrations of each handle.
    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable>;

    /// Removes one registration if it is still there.
    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable>;
}
