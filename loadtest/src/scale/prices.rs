//! Prices: requests as in aws/prices.json, which the product itself uses, and hours as below. All of them are for
//! us-east-1, on demand, without free tier and taxes.

use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::terraform::Service;

#[derive(Deserialize)]
struct Price {
    service: String,
    unit: String,
    dollars_per_million: f64,
}

#[derive(Deserialize)]
struct List {
    as_of: String,
    prices: Vec<Price>,
}

static LIST: LazyLock<List> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../aws/prices.json")).expect("it is a list of prices")
});

/// Dollars for a million units.
fn listed(service: &str, unit: &str) -> f64 {
    let row = LIST.prices.iter().find(|row| row.service == service && row.unit == unit);
    row.expect("aws/prices.json has all prices").dollars_per_million
}

/// Dollars for a million requests to SQS, for each 64 KB begun.
pub(crate) static SQS_REQUEST: LazyLock<f64> = LazyLock::new(|| listed("sqs", "request_64kb"));
/// Dollars for a million read units of DynamoDB.
pub(crate) static DYNAMODB_READ: LazyLock<f64> = LazyLock::new(|| listed("dynamodb", "read_unit"));
/// Dollars for a million write units of DynamoDB.
pub(crate) static DYNAMODB_WRITE: LazyLock<f64> = LazyLock::new(|| listed("dynamodb", "write_unit"));
/// Dollars for a million records of Firehose, for each 5 KB begun.
pub(crate) static FIREHOSE_5KB: LazyLock<f64> = LazyLock::new(|| listed("firehose", "record_5kb"));

/// When the prices of requests were looked up.
pub(crate) fn as_of() -> &'static str {
    &LIST.as_of
}

/// A task's vCPU and GB for an hour (Fargate, Linux on x86).
const VCPU_HOUR: f64 = 0.040_48;
const GB_HOUR: f64 = 0.004_445;
/// The share of that which spot costs: it varies, about 0.3 is usual.
const SPOT: f64 = 0.3;
/// An ALB for an hour, and each of its capacity units: 25 new connections a second, 3,000 open ones, or 1 GB an hour.
const ALB_HOUR: f64 = 0.022_5;
const ALB_UNIT_HOUR: f64 = 0.008;
/// The units of an NLB that ends TLS: 50 new connections a second, 3,000 open ones, or 1 GB an hour.
const NLB_UNIT_HOUR: f64 = 0.006;
/// A GB to the internet, beyond the first volumes of a month, which cost more.
const GB_OUT: f64 = 0.05;
/// A NAT gateway for an hour.
pub(crate) const NAT_HOUR: f64 = 0.045;
/// Cache nodes: type, dollars an hour, and the GB they hold.
const NODES: [(&str, f64, f64); 4] = [
    ("cache.t4g.small", 0.032, 1.37),
    ("cache.t4g.medium", 0.065, 3.09),
    ("cache.r7g.large", 0.219, 13.07),
    ("cache.r7g.xlarge", 0.437, 26.32),
];
/// How full a node may be, as a share.
const FULL: f64 = 0.75;

/// Dollars for units of requests, from the dollars for a million of them.
pub(crate) fn of_requests(price: &f64, units: f64) -> f64 {
    price * units / 1e6
}

/// A second of a service's tasks: the first is on demand, the others spot where the service is.
pub(crate) fn tasks_second(service: &Service, tasks: u32) -> f64 {
    let hour = f64::from(service.cpu) / 1024.0 * VCPU_HOUR + f64::from(service.memory) / 1024.0 * GB_HOUR;
    let base = f64::from(tasks.min(1));
    let share = if service.spot { SPOT } else { 1.0 };
    hour / 3600.0 * (base + (f64::from(tasks) - base) * share)
}

/// A second of the load balancer: as it is (an ALB), and as an NLB would cost.
pub(crate) fn balancer_second(opened: f64, open: f64, bytes: f64) -> [f64; 2] {
    let gb_an_hour = bytes * 3600.0 / 1e9;
    let units = |each_second: f64| (opened / each_second).max(open / 3000.0).max(gb_an_hour);
    [(25.0, ALB_UNIT_HOUR), (50.0, NLB_UNIT_HOUR)]
        .map(|(each, unit)| (ALB_HOUR + unit * units(each)) / 3600.0)
}

/// Bytes to clients.
pub(crate) fn transfer(bytes: f64) -> f64 {
    bytes / 1e9 * GB_OUT
}

/// Cache nodes: those that are deployed if the data fits, or enough nodes of a large type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Nodes {
    /// Their type.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: u32,
    /// Dollars of all for an hour.
    pub(crate) hour: f64,
}

/// The nodes that hold `gb` GB, where `count` nodes of the type `deployed` are deployed.
///
/// # Errors
/// The deployed type's price is not known.
pub(crate) fn nodes(deployed: &str, count: u32, gb: f64) -> Result<Nodes> {
    let known = NODES.iter().find(|(name, ..)| *name == deployed);
    let (name, hour, holds) = *known
        .with_context(|| format!("the price of {deployed} is not known to loadtest/src/scale/prices.rs"))?;
    if gb <= holds * FULL * f64::from(count) {
        return Ok(Nodes { name: name.into(), count, hour: hour * f64::from(count) });
    }
    let (name, hour, holds) = NODES[NODES.len() - 1];
    let count = (gb / (holds * FULL)).ceil();
    Ok(Nodes { name: name.into(), count: count as u32, hour: hour * count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_as_by_hand() {
        let service = Service {
            cpu: 512,
            memory: 1024,
            min: 1,
            max: 4,
            spot: true,
            backlog_per_task: 1.0,
            out_cooldown: 1,
            in_cooldown: 1,
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        // 0.5 × 0.04048 + 1 × 0.004445 = 0.024685 an hour; the two beyond the first at 0.3 of that.
        close(tasks_second(&service, 3) * 3600.0, 0.024_685 * 1.6);
        close(tasks_second(&Service { spot: false, ..service.clone() }, 3) * 3600.0, 0.024_685 * 3.0);
        close(tasks_second(&service, 0), 0.0);
        // 30,000 open sockets are 10 units, whatever else.
        close(balancer_second(10.0, 30_000.0, 0.0)[0] * 3600.0, 0.0225 + 0.08);
        close(balancer_second(1000.0, 30_000.0, 0.0)[1] * 3600.0, 0.0225 + 0.006 * 20.0);
        let few = nodes("cache.t4g.small", 2, 1.0).unwrap();
        assert_eq!((few.name.as_str(), few.count), ("cache.t4g.small", 2));
        let many = nodes("cache.t4g.small", 2, 100.0).unwrap();
        assert_eq!((many.name.as_str(), many.count), ("cache.r7g.xlarge", 6));
        assert!(nodes("cache.x", 1, 1.0).is_err());
        close(of_requests(&SQS_REQUEST, 2.5e6), 1.0);
    }
}
