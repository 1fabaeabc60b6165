//! The breakers of a process, and the signal that one of them has closed again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::breaker::Breaker;
use crate::lock::lock;
use crate::telemetry::Metrics;

/// An engine that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Which one: the label of its metrics.
    pub engine: &'static str,
    /// For how long.
    pub time: Duration,
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: away for {} s", self.engine, self.time.as_secs())
    }
}

/// Looks at something and returns what is wrong with it.
struct Look(Box<dyn Fn() -> Option<String> + Send + Sync>);

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// The breakers of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Weather {
    metrics: Metrics,
    engines: Arc<Mutex<Vec<Arc<Breaker>>>>,
    looks: Arc<Mutex<Vec<Look>>>,
    cleared: watch::Sender<()>,
}

impl Weather {
    /// No engine yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, engines: Arc::default(), looks: Arc::default(), cleared: watch::Sender::new(()) }
    }

    /// The metrics that its breakers count in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A breaker for an engine of this process, which [`Self::away`] names when it is open.
    #[must_use]
    pub fn engine(&self, name: &'static str) -> Arc<Breaker> {
        self.add(Breaker::new(name, false, &self.metrics, self.cleared.clone()))
    }

    /// The same for an engine whose client asks the breaker before each request.
    #[must_use]
    pub fn engine_of_client(&self, name: &'static str) -> Arc<Breaker> {
        self.add(Breaker::new(name, true, &self.metrics, self.cleared.clone()))
    }

    fn add(&self, breaker: Breaker) -> Arc<Breaker> {
        let breaker = Arc::new(breaker);
        lock(&self.engines).push(breaker.clone());
        breaker
    }

    /// A breaker for one of many things of a kind that come and go, such as edges: only their number is shown.
    #[must_use]
    pub fn one_of_many(&self, name: &'static str) -> Breaker {
        Breaker::new(name, false, &self.metrics, self.cleared.clone())
    }

    /// The engines that are away, in the order in which their breakers were made.
    #[must_use]
    pub fn away(&self) -> Vec<Away> {
        let away = |breaker: &Arc<Breaker>| Some(Away { engine: breaker.engine(), time: breaker.away()? });
        lock(&self.engines).iter().filter_map(away).collect()
    }

    /// From now on [`Self::wrong`] also returns what `look` does: something that has no breaker, such as a disk.
    pub fn look_at(&self, look: impl Fn() -> Option<String> + Send + Sync + 'static) {
        lock(&self.looks).push(Look(Box::new(look)));
    }

    /// What stands in the way of work, a line each: for `/readyz`.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<_> = self.away().iter().map(Away::to_string).collect();
        wrong.extend(lock(&self.looks).iter().filter_map(|look| look.0()));
        wrong
    }

    /// Whether every engine answers.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        lock(&self.engines).iter().all(|breaker| breaker.away().is_none())
    }

    /// For how long no engine has been away; [`Duration::MAX`] if none ever was.
    #[must_use]
    pub fn calm_for(&self) -> Duration {
        let calm = |breaker: &Arc<Breaker>| breaker.calm_for();
        lock(&self.engines).iter().map(calm).min().unwrap_or(Duration::MAX)
    }

    /// Changes each time that an engine is back.
    #[must_use]
    pub fn cleared(&self) -> watch::Receiver<()> {
        self.cleared.subscribe()
    }
}
