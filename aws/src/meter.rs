//! Counts every request and every retry by service and action where it is made, and converts what is billed into
//! dollars.

use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use soundoff_common::telemetry::{BillLabel, Metrics, RequestLabel};

use crate::prices::Price;

/// The counters of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter {
    metrics: Metrics,
}

impl Meter {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// Counts requests as they are sent; part of every client.
    pub(crate) fn requests(&self) -> impl Intercept + 'static {
        Requests { metrics: self.metrics.clone(), billed: None }
    }

    /// Bills `units` for each try of one request, where the request decides the price; for a call's
    /// `customize().interceptor(…)`.
    pub(crate) fn each_try(&self, price: Price, units: f64) -> impl Intercept + 'static {
        Requests { metrics: self.metrics.clone(), billed: Some((price, units)) }
    }

    /// Bills `units` now, where the answer decides the price.
    pub(crate) fn bill(&self, price: Price, units: f64) {
        bill(&self.metrics, price, units);
    }
}

fn bill(metrics: &Metrics, price: Price, units: f64) {
    let label = BillLabel { service: price.service, unit: price.unit };
    metrics.bill.charge(&label, units, price.dollars_per_million());
}

#[derive(Debug)]
struct Requests {
    metrics: Metrics,
    billed: Option<(Price, f64)>,
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "meter"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match self.billed {
            Some((price, units)) => bill(&self.metrics, price, units),
            None => {
                if let Some(call) = bag.load::<Metadata>() {
                    let label = RequestLabel {
                        service: call.service().to_lowercase(),
                        action: call.name().to_owned(),
                    };
                    self.metrics.bill.request(&label);
                }
            }
        }
        Ok(())
    }
}
