//! What AWS bills for the requests this product makes. The dollars are in `aws/prices.json`, which `loadtest scale`
//! reads as well.

use std::sync::LazyLock;

use serde::Deserialize;

/// One price, by what is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// The service, as metrics name it.
    pub service: &'static str,
    /// What is billed.
    pub unit: &'static str,
}

/// A standard queue's request, for each 64 KB of payload begun.
pub const SQS_REQUEST: Price = Price { service: "sqs", unit: "request_64kb" };
/// A read request unit: 4 KB read strongly consistent; transactions take two.
pub const DYNAMODB_READ: Price = Price { service: "dynamodb", unit: "read_unit" };
/// A write request unit: 1 KB written; transactions take two.
pub const DYNAMODB_WRITE: Price = Price { service: "dynamodb", unit: "write_unit" };
/// 5 KB of a record begun.
pub const FIREHOSE_5KB: Price = Price { service: "firehose", unit: "record_5kb" };
/// A PUT, POST or LIST of S3.
pub const S3_PUT: Price = Price { service: "s3", unit: "put" };
/// A GET or HEAD of S3.
pub const S3_GET: Price = Price { service: "s3", unit: "get" };

#[derive(Deserialize)]
struct Listed {
    service: String,
    unit: String,
    dollars_per_million: f64,
}

#[derive(Deserialize)]
struct List {
    prices: Vec<Listed>,
}

static LIST: LazyLock<List> =
    LazyLock::new(|| serde_json::from_str(include_str!("../prices.json")).expect("it is a list of prices"));

impl Price {
    /// Dollars for a million units.
    pub fn dollars_per_million(self) -> f64 {
        let row = LIST.prices.iter().find(|row| row.service == self.service && row.unit == self.unit);
        row.expect("every price is in prices.json").dollars_per_million
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_is_in_the_list_and_every_row_of_the_list_is_billed() {
        let prices = [SQS_REQUEST, DYNAMODB_READ, DYNAMODB_WRITE, FIREHOSE_5KB, S3_PUT, S3_GET];
        assert!(prices.iter().all(|price| price.dollars_per_million() > 0.0));
        for row in &LIST.prices {
            let billed = prices.iter().any(|price| row.service == price.service && row.unit == price.unit);
            assert!(billed, "prices.json has {}'s {}, which nothing bills", row.service, row.unit);
        }
        assert_eq!(FIREHOSE_5KB.dollars_per_million(), (0.029 + 0.020) * 5.0 * 1e6 / (1024.0 * 1024.0));
    }
}
