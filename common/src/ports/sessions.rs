//! The Session Cache: which edges hold a user's sockets.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Unavailable;
use crate::protocol::Handle;

/// The suite that every adapter of [`Sessions`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// Stands for the name of a user's device: two sockets of one user with the same mark are the same device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceMark(pub NonZeroU64);

impl DeviceMark {
    /// The mark of a device's name, the same in all processes of one build. Processes of different builds may disagree:
    /// then an older socket is noticed only by its silence.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }
}

/// One socket of a user. Registrations with equal `edge`, `boot` and `connection` are equal, and the same socket: that
/// is the token by which only its maker removes it. Cheap to clone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// The internal address of the edge, `ip:port`.
    pub edge: Arc<str>,
    /// The edge process: drawn again at every start, so that a recycled address differs from the old one.
    pub boot: Arc<str>,
    /// The socket within the edge process; never reused by it.
    pub connection: u64,
    /// Which of the user's devices it is, if the client said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceMark>,
}

impl Registration {
    fn token(&self) -> (&str, &str, u64) {
        (&self.edge, &self.boot, self.connection)
    }
}

impl PartialEq for Registration {
    fn eq(&self, other: &Self) -> bool {
        self.token() == other.token()
    }
}

impl Eq for Registration {}

impl Hash for Registration {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.token().hash(state);
    }
}

/// The Session Cache.
///
/// Laws, each in the contract suite:
/// 1. A handle has any number of registrations; `put` adds or refreshes its own and touches no other.
/// 2. `remove` removes exactly the given registration, and returns whether it was there. It never removes another's.
/// 3. A registration is gone once its `ttl` has passed since its last `put`; refreshing one does not prolong another.
/// 4. `get_many` returns one list for each handle, in order, each registration with its device as last `put`. All
///    registrations may vanish at any time; they come back by `put`.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Adds or refreshes registrations.
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable>;

    /// The registrations of each handle.
    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable>;

    /// Removes one registration if it is still there.
    async fn remove(&self, handle: &Handle, registration: &Registration) -> Result<bool, Unavailable>;
}
