//! What AWS bills for the requests this product makes: us-east-1, on demand, without free tier or taxes, as published on [`AS_OF`].
//!
//! Capacity that is paid by the hour (containers, cache nodes) is not in here.

/// When these prices were looked up.
pub const AS_OF: &str = "2026-11-25";

/// One price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The service, as metrics name it.
    pub service: &'static str,
    /// What is billed.
    pub unit: &'static str,
    /// Dollars for a million units.
    pub dollars_per_million: f64,
}

/// A standard queue's request, for each 64 KB of payload begun.
pub const SQS_REQUEST: Price = Price { service: "sqs", unit: "request_64kb", dollars_per_million: 0.40 };
/// A read request unit: 4 KB read strongly consistent; transactions take two.
pub const DYNAMODB_READ: Price = Price { service: "dynamodb", unit: "read_unit", dollars_per_million: 0.125 };
/// A write request unit: 1 KB written; transactions take two.
pub const DYNAMODB_WRITE: Price =
    Price { service: "dynamodb", unit: "write_unit", dollars_per_million: 0.625 };
/// 5 KB of a record begun, direct PUT with dynamic partitioning: (0.029 + 0.020) dollars a GB.
pub const FIREHOSE_5KB: Price = Price {
    service: "firehose",
    unit: "record_5kb",
    dollars_per_million: 0.049 * 5.0 * 1e6 / (1024.0 * 1024.0),
};
/// A PUT, POST or LIST of S3.
pub const S3_PUT: Price = Price { service: "s3", unit: "put", dollars_per_million: 5.0 };
/// A GET or HEAD of S3.
pub const S3_GET: Price = Price { service: "s3", unit: "get", dollars_per_million: 0.40 };
