//! The engines of the Session Cache.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::ports::sessions::Sessions;
use soundoff_embedded::sessions::LocalSessions;

use super::opening::Opening;

/// How often expired registrations are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// One of them.
pub(super) enum Engine {
    /// This process's memory.
    Memory,
    /// memcached.
    #[cfg(feature = "aws")]
    Memcached,
}

impl Engine {
    pub(super) fn open(&self, opening: &mut Opening) -> anyhow::Result<Arc<dyn Sessions>> {
        match self {
            Self::Memory => {
                let sessions = Arc::new(LocalSessions::new());
                opening.upkeep.push(Box::pin(sweep(sessions.clone())));
                Ok(sessions)
            }
            #[cfg(feature = "aws")]
            Self::Memcached => {
                let memcached = opening.managed()?.memcached.clone();
                Ok(Arc::new(soundoff_aws::memcached::MemcachedSessions::new(memcached)))
            }
        }
    }
}

/// Removes expired registrations, for as long as the process runs.
async fn sweep(sessions: Arc<LocalSessions>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        for _ in 0..LocalSessions::SWEEPS_PER_ROUND {
            sessions.sweep();
        }
    }
}
