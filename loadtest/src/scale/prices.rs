//! What things cost: requests at the prices that the product itself counts with, hours at those below; us-east-1, on demand, without free tier and taxes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

#[expect(unreachable_pub, dead_code, reason = "the product's own list, read as it is: one source of truth")]
#[path = "../../../aws/src/prices.rs"]
mod requests;

pub(crate) use requests::{AS_OF, DYNAMODB_READ, DYNAMODB_WRITE, FIREHOSE_5KB, SQS_REQUEST};

use super::terraform::Service;

/// A task's vCPU and GB for an hour (Fargate, Linux on x86).
const VCPU_HOUR: f64 = 0.040_48;
const GB_HOUR: f64 = 0.004_445;
/// What spot costs of that: it varies, some 0.3 are usual.
const SPOT: f64 = 0.3;
/// An ALB for an hour, and each of its capacity units: 25 new connections a second, 3,000 open ones, or 1 GB an hour.
const ALB_HOUR: f64 = 0.022_5;
const ALB_UNIT_HOUR: f64 = 0.008;
/// The units of an NLB that ends TLS: 50 new connections a second, 3,000 open ones, or 1 GB an hour.
const NLB_UNIT_HOUR: f64 = 0.006;
/// A GB to the internet, beyond the first volumes of a month, which are dearer.
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
/// How full a node may be.
const FULL: f64 = 0.75;

/// Dollars for units of requests.
pub(crate) fn of_requests(price: requests::Price, units: f64) -> f64 {
    price.dollars_per_million * units / 1e6
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

/// Nodes that hold so many GB: as many of the type that is deployed as are deployed, or enough of a large one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Nodes {
    /// Their type.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: u32,
    /// Dollars of all for an hour.
    pub(crate) hour: f64,
}

/// See [`Nodes`].
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

/// One line of docs/cost.md's table of one hop: what an envelope asks of SQS at a pace of one sender and one receiver.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hop {
    rate: f64,
    sends: f64,
    requests: f64,
    dollars: f64,
}

/// One a second: nothing that comes shares a send, a receive or a delete with another.
const ALONE: Hop =
    Hop { rate: 1.0, sends: 1.0, requests: 3.0, dollars: 3.0 * SQS_REQUEST.dollars_per_million };

/// What messages cost, as the documents have it.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    hops: Vec<Hop>,
    tables: BTreeMap<String, f64>,
}

impl Documents {
    /// Reads the documents of the build.
    ///
    /// # Errors
    /// A table is not where it was.
    pub(crate) fn read() -> Result<Self> {
        let hops = hops(include_str!("../../../docs/cost.md"))?;
        let tables = tables(include_str!("../../../docs/data-model.md"));
        ensure!(tables.len() > 20, "docs/data-model.md has no table of what each MessageType costs");
        Ok(Self { hops, tables })
    }

    /// Dollars that a message of a type costs at DynamoDB; none: the document has no row for it.
    pub(crate) fn tables(&self, message_type: &str) -> Option<f64> {
        self.tables.get(message_type).map(|dollars| dollars / 1e6)
    }

    /// What an envelope's hop costs, where one sender and one receiver pass so many a second.
    pub(crate) fn hop_dollars(&self, rate: f64) -> f64 {
        self.at(rate, |hop| hop.dollars) / 1e6
    }

    /// How many requests an envelope's sender and its receiver make.
    pub(crate) fn hop_requests(&self, rate: f64) -> [f64; 2] {
        let sends = self.at(rate, |hop| hop.sends);
        [sends, self.at(rate, |hop| hop.requests) - sends]
    }

    /// Between two paces both logarithms are taken to lie on a line; beyond the outermost nothing changes.
    fn at(&self, rate: f64, of: impl Fn(&Hop) -> f64) -> f64 {
        let above = self.hops.iter().position(|hop| hop.rate >= rate);
        match above {
            Some(0) => of(&self.hops[0]),
            None => of(&self.hops[self.hops.len() - 1]),
            Some(at) => {
                let (low, high) = (&self.hops[at - 1], &self.hops[at]);
                let part = (rate / low.rate).ln() / (high.rate / low.rate).ln();
                (of(low).ln() * (1.0 - part) + of(high).ln() * part).exp()
            }
        }
    }
}

fn columns(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

fn hops(text: &str) -> Result<Vec<Hop>> {
    let row = |line: &str| -> Option<Hop> {
        let columns = columns(line);
        let sends = columns.get(6)?.split(' ').next()?.parse::<f64>().ok()? / 1000.0;
        let number = |at: usize| columns.get(at)?.parse::<f64>().ok();
        Some(Hop { rate: number(4)?, sends, requests: number(5)? / 1e6, dollars: number(7)? })
    };
    let measured = text.lines().filter(|line| line.contains("| ours: packs |")).filter_map(row);
    let hops: Vec<_> = [ALONE].into_iter().chain(measured).collect();
    ensure!(
        hops.len() >= 4 && hops.is_sorted_by(|a, b| a.rate < b.rate),
        "docs/cost.md has no table of one hop at rising paces"
    );
    Ok(hops)
}

fn tables(text: &str) -> BTreeMap<String, f64> {
    let (_, section) = text.split_once("### What each MessageType costs").unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| -> Option<(String, f64)> {
        let columns = columns(line);
        let name = columns.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), columns.get(4)?.parse().ok()?))
    };
    section.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_to_the_digit() {
        let read = Documents::read().unwrap();
        assert_eq!(read.tables("post.create"), Some(5.0 / 1e6));
        assert_eq!(read.tables("presence.get"), Some(25.0 / 1e6));
        assert_eq!(read.tables("timeline.fetch"), None);
        assert_eq!(read.tables.len(), 23);
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(close(read.hop_dollars(0.1), 1.2e-6) && close(read.hop_dollars(10.0), 0.9900e-6));
        assert!(close(read.hop_dollars(998.0), 0.0331e-6) && close(read.hop_dollars(1e9), 0.0049e-6));
        let between = read.hop_dollars(300.0);
        assert!(between < 0.3268e-6 && between > 0.0331e-6);
        let [sends, rest] = read.hop_requests(998.0);
        assert!(close(sends, 0.0390) && close(sends + rest, 0.08275));
    }

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
        close(of_requests(SQS_REQUEST, 2.5e6), 1.0);
    }
}
