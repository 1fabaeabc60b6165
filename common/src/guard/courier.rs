//! A courier behind a breaker.

use std::sync::Arc;

use async_trait::async_trait;

use super::breaker::Breaker;
use crate::ports::courier::{Courier, Notice, Undelivered};

/// A courier that refuses at once while its carrier is away.
pub struct GuardedCourier {
    courier: Arc<dyn Courier>,
    breaker: Arc<Breaker>,
}

impl GuardedCourier {
    /// Puts a breaker before `courier`.
    #[must_use]
    pub fn new(courier: Arc<dyn Courier>, breaker: Arc<Breaker>) -> Self {
        Self { courier, breaker }
    }
}

#[async_trait]
impl Courier for GuardedCourier {
    async fn send(&self, notice: &Notice) -> Result<(), Undelivered> {
        let absent = |error: &Undelivered| matches!(error, Undelivered::Away(_));
        self.breaker.call(self.courier.send(notice), absent, Undelivered::Away).await
    }
}
