//! Whether the last calls to the services that the edge depends on went well.

use std::sync::atomic::{AtomicBool, Ordering};

use soundoff_common::ports::Unavailable;

/// How the last call to each service went.
#[derive(Debug)]
pub(crate) struct Health {
    sessions: AtomicBool,
    queues: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self { sessions: AtomicBool::new(true), queues: AtomicBool::new(true) }
    }
}

impl Health {
    /// Notes how a call to the Session Cache went; logs each change once.
    pub(crate) fn sessions(&self, result: &Result<(), Unavailable>) {
        let before = self.sessions.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Err(error) if before => {
                tracing::warn!(%error, "the session cache fails; registrations wait for it")
            }
            Ok(()) if !before => tracing::info!("the session cache is back"),
            _ => {}
        }
    }

    /// Notes whether main_q takes messages.
    pub(crate) fn queues(&self, well: bool) {
        self.queues.store(well, Ordering::Relaxed);
    }

    pub(crate) fn are_sessions_well(&self) -> bool {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(crate) fn are_queues_well(&self) -> bool {
        self.queues.load(Ordering::Relaxed)
    }
}
