//! What pages on HTTP share, and the keys that are derived from the deployment's secret.

pub mod address;
pub mod base;
pub mod coding;
pub mod http;
pub mod operator;
pub mod origins;
pub mod paced;
pub mod packing;
pub mod pages;
pub mod pairing;
pub mod pictures;
pub mod problem;
pub mod secret;
pub mod tls_only;
pub mod uploads;
