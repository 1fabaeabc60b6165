//! Requests to managed services and their cost, in total and for a million messages.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One action of a managed service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabel {
    /// The service, such as `sqs`.
    pub service: String,
    /// The action by its own name, such as `SendMessageBatch`.
    pub action: String,
}

/// A unit that a managed service bills.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BillLabel {
    /// From a fixed set.
    pub service: &'static str,
    /// From a fixed set.
    pub unit: &'static str,
}

/// The bill of one process. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Bill {
    /// Requests, each try counted.
    pub requests: Family<RequestLabel, Counter>,
    /// Units billed.
    pub units: Family<BillLabel, Counter<f64, AtomicU64>>,
    /// The cost of those units, in US dollars.
    pub dollars: Family<BillLabel, Counter<f64, AtomicU64>>,
    sums: Arc<Sums>,
}

/// The same without labels, and the number of messages to divide by.
#[derive(Debug, Default)]
struct Sums {
    requests: Counter,
    dollars: Counter<f64, AtomicU64>,
    taken: Counter,
    requests_per_million: Gauge<f64, AtomicU64>,
    dollars_per_million: Gauge<f64, AtomicU64>,
}

impl Bill {
    /// Counts one request.
    pub fn request(&self, label: &RequestLabel) {
        self.requests.get_or_create(label).inc();
        self.sums.requests.inc();
    }

    /// Bills units, by their price for a million.
    pub fn charge(&self, label: &BillLabel, units: f64, dollars_per_million: f64) {
        let dollars = units * dollars_per_million / 1e6;
        self.units.get_or_create(label).inc_by(units);
        self.dollars.get_or_create(label).inc_by(dollars);
        self.sums.dollars.inc_by(dollars);
    }

    /// Counts a message that this process has taken: from a client, when it is an edge; from a queue, and done, when it
    /// is not.
    pub fn took_message(&self) {
        self.sums.taken.inc();
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("aws_requests", "requests to managed services", self.requests.clone());
        r.register("aws_billed", "units billed by managed services", self.units.clone());
        r.register("aws_dollars", "US dollars for units billed", self.dollars.clone());
        let gauge = self.sums.requests_per_million.clone();
        r.register("aws_requests_per_million", "requests for a million messages this process took", gauge);
        let gauge = self.sums.dollars_per_million.clone();
        r.register("aws_dollars_per_million", "US dollars for a million messages this process took", gauge);
    }

    /// Brings the ratios up to date; zero while nothing was taken.
    pub(super) fn divide(&self) {
        let Sums { requests, dollars, taken, requests_per_million, dollars_per_million } = &*self.sums;
        let of_million = |sum: f64| if taken.get() == 0 { 0.0 } else { sum * 1e6 / taken.get() as f64 };
        requests_per_million.set(of_million(requests.get() as f64));
        dollars_per_million.set(of_million(dollars.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn the_page_says_what_a_million_messages_ask_and_cost() {
        let metrics = Metrics::new();
        let says = |line: &str| metrics.text().lines().any(|it| it == line);
        assert!(says("soundoff_aws_dollars_per_million 0.0"), "nothing is divided by nothing");
        let request = RequestLabel { service: "sqs".to_owned(), action: "SendMessage".to_owned() };
        (0..3).for_each(|_| metrics.bill.request(&request));
        metrics.bill.charge(&BillLabel { service: "sqs", unit: "request_64kb" }, 5.0, 0.4);
        (0..4).for_each(|_| metrics.bill.took_message());
        assert!(says("soundoff_aws_requests_per_million 750000.0"), "{}", metrics.text());
        assert!(says("soundoff_aws_dollars_per_million 0.5"), "{}", metrics.text());
        assert!(
            says(r#"soundoff_aws_requests_total{service="sqs",action="SendMessage"} 3"#),
            "{}",
            metrics.text()
        );
    }
}
