//! The way from a request to a courier. It is not part of the request, so that the answer reveals neither how long a
//! carrier took nor whether it succeeded.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::ports::courier::{Courier, Notice};
use tokio::sync::Semaphore;

/// How many notices may be on their way at once; more are refused.
const AT_ONCE: usize = 512;
/// How often a carrier that fails is tried.
const TRIES: u32 = 3;
/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Hands notices to a courier.
#[derive(Clone)]
pub(crate) struct Post {
    courier: Arc<dyn Courier>,
    room: Arc<Semaphore>,
}

impl Post {
    pub(crate) fn new(courier: Arc<dyn Courier>) -> Self {
        Self { courier, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Starts sending a notice; `false` when there is no room.
    ///
    /// A code is valid for minutes and can be asked for again, so it is kept in memory only: no disk and no queue ever
    /// holds it in the clear.
    pub(crate) fn send(&self, notice: Notice) -> bool {
        let Ok(room) = self.room.clone().try_acquire_owned() else { return false };
        let courier = self.courier.clone();
        tokio::spawn(async move {
            for turn in 1..=TRIES {
                match courier.send(&notice).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, turn, "a code was not sent"),
                }
                tokio::time::sleep(PAUSE).await;
            }
            drop(room);
        });
        true
    }
}
