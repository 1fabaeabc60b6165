//! The ports: what the pipeline needs from engines, one file for each.
//!
//! Each file holds the trait, its laws in words, and (behind the feature `contract`) the suite that every adapter must
//! pass. Behind the same feature, `memory` has a fake of a port for tests, which passes that suite too.

pub mod archive;
pub mod blobs;
pub mod cache;
pub mod courier;
#[cfg(any(test, feature = "contract"))]
pub mod memory;
pub mod queues;
pub mod sessions;
pub mod tables;
pub mod tokens;
pub mod uploads;

/// A port's engine could not serve the call now; the same call may succeed later.
///
/// The text says which engine and why, and never carries bodies, tokens or codes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);
