//! What requests cost that a message causes: hops over SQS and calls to DynamoDB, as requests.toml has them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::prices::{SQS_REQUEST, of_requests};

/// What an envelope asks of SQS at one pace of one sender and one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hop {
    /// Envelopes.
    per_second: f64,
    /// The sender's requests for a thousand envelopes.
    sends: f64,
    /// Both sides' requests for a million envelopes.
    requests: f64,
    /// For a million envelopes.
    dollars: f64,
}

/// What messages cost at SQS and DynamoDB.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requests {
    #[serde(rename = "hop")]
    hops: Vec<Hop>,
    /// Dollars for a million messages, by MessageType.
    dynamodb: BTreeMap<String, f64>,
}

impl Requests {
    /// Reads the file that was built in.
    ///
    /// # Errors
    /// It is incomplete.
    pub(crate) fn read() -> Result<Self> {
        let mut read: Self = toml::from_str(include_str!("requests.toml")).context("requests.toml")?;
        // One a second: no envelope shares a send, a receive or a delete with another.
        let dollars = of_requests(&SQS_REQUEST, 3.0 * 1e6);
        read.hops.insert(0, Hop { per_second: 1.0, sends: 1000.0, requests: 3e6, dollars });
        ensure!(
            read.hops.is_sorted_by(|a, b| a.per_second < b.per_second),
            "requests.toml should list its hops by rising pace, from above 1 a second"
        );
        Ok(read)
    }

    /// Dollars that a message of a type costs at DynamoDB; none where there is no row for it.
    pub(crate) fn dynamodb(&self, message_type: &str) -> Option<f64> {
        self.dynamodb.get(message_type).map(|dollars| dollars / 1e6)
    }

    /// What an envelope's hop costs, where one sender and one receiver pass `rate` envelopes a second.
    pub(crate) fn hop_dollars(&self, rate: f64) -> f64 {
        self.at(rate, |hop| hop.dollars) / 1e6
    }

    /// How many requests an envelope's sender and its receiver make.
    pub(crate) fn hop_requests(&self, rate: f64) -> [f64; 2] {
        let sends = self.at(rate, |hop| hop.sends) / 1e3;
        [sends, self.at(rate, |hop| hop.requests) / 1e6 - sends]
    }

    /// Between two paces the logarithms are assumed to lie on a line; beyond the outermost paces nothing changes.
    fn at(&self, rate: f64, of: impl Fn(&Hop) -> f64) -> f64 {
        let above = self.hops.iter().position(|hop| hop.per_second >= rate);
        match above {
            Some(0) => of(&self.hops[0]),
            None => of(&self.hops[self.hops.len() - 1]),
            Some(at) => {
                let (low, high) = (&self.hops[at - 1], &self.hops[at]);
                let part = (rate / low.per_second).ln() / (high.per_second / low.per_second).ln();
                (of(low).ln() * (1.0 - part) + of(high).ln() * part).exp()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(line: &str) -> Vec<&str> {
        line.split('|').map(str::trim).collect()
    }

    #[test]
    fn figures_are_read_to_the_digit() {
        let read = Requests::read().unwrap();
        assert_eq!(read.dynamodb("post.create"), Some(5.0 / 1e6));
        assert_eq!(read.dynamodb("presence.get"), Some(37.5 / 1e6));
        assert_eq!(read.dynamodb("timeline.fetch"), None);
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(close(read.hop_dollars(0.1), 1.2e-6) && close(read.hop_dollars(10.0), 0.9900e-6));
        assert!(close(read.hop_dollars(998.0), 0.0331e-6) && close(read.hop_dollars(1e9), 0.0049e-6));
        let between = read.hop_dollars(300.0);
        assert!(between < 0.3268e-6 && between > 0.0331e-6);
        let [sends, rest] = read.hop_requests(998.0);
        assert!(close(sends, 0.0390) && close(sends + rest, 0.08275));
    }

    #[test]
    fn docs_cost_shows_the_same_hops() {
        let row = |line: &str| -> Option<Hop> {
            let columns = columns(line);
            let number = |at: usize| columns.get(at)?.parse::<f64>().ok();
            let sends = columns.get(6)?.split(' ').next()?.parse().ok()?;
            Some(Hop { per_second: number(4)?, sends, requests: number(5)?, dollars: number(7)? })
        };
        let text = include_str!("../../../docs/cost.md");
        let shown: Vec<Hop> =
            text.lines().filter(|line| line.contains("| ours: packs |")).filter_map(row).collect();
        assert!(
            shown == Requests::read().unwrap().hops[1..],
            "docs/cost.md (\"One hop over SQS\", rows \"ours: packs\") and loadtest/src/scale/requests.toml ([[hop]]) differ: write what was \
             measured last into both. The document shows {shown:?}"
        );
    }

    #[test]
    fn docs_data_model_shows_the_same_dollars() {
        let text = include_str!("../../../docs/data-model.md");
        let (_, section) = text.split_once("### What each MessageType costs").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let row = |line: &str| -> Option<(String, f64)> {
            let columns = columns(line);
            let name = columns.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_owned(), columns.get(4)?.parse().ok()?))
        };
        let shown: BTreeMap<String, f64> = section.lines().filter_map(row).collect();
        let read = Requests::read().unwrap().dynamodb;
        for name in shown.keys().chain(read.keys()) {
            let (document, file) = (shown.get(name), read.get(name));
            assert!(
                document == file,
                "docs/data-model.md (\"What each MessageType costs\") says {document:?} for {name}, and loadtest/src/scale/requests.toml \
                 ([dynamodb]) says {file:?}: write the same dollars into both, or remove the row from both"
            );
        }
    }
}
