//! The ports on managed engines: SQS, DynamoDB, memcached, Firehose and S3, or engines with the same protocols.
//!
//! No type of an SDK is part of this crate's interface. Every request is counted where it is made, with its cost.

mod clients;
pub mod dynamodb;
pub mod firehose;
mod gate;
pub mod memcached;
mod meter;
pub mod prices;
mod private_ip;
pub mod s3;
pub mod sqs;

pub use clients::{Aws, AwsConfig, Breakers};
pub use meter::Meter;
pub use private_ip::private_ip;
