//! What engines share while they are opened.

use futures_util::future::BoxFuture;
use soundoff_common::guard::Weather;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::secret::Secret;

#[cfg(feature = "aws")]
use super::managed::Clients;

/// What engines share while they are opened.
pub(super) struct Opening {
    pub(super) metrics: Metrics,
    pub(super) weather: Weather,
    pub(super) secret: Secret,
    #[cfg(feature = "aws")]
    pub(super) managed: Option<Clients>,
    pub(super) upkeep: Vec<BoxFuture<'static, ()>>,
    pub(super) closings: Vec<Box<dyn FnOnce() + Send>>,
}

#[cfg(feature = "aws")]
impl Opening {
    /// The clients of managed engines.
    pub(super) fn managed(&self) -> anyhow::Result<&Clients> {
        self.managed
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("a managed engine without a deployment's settings"))
    }
}
