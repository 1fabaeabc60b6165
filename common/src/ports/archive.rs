//! The archive of everything that happened, for the data team.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Unavailable;

/// What every adapter checks of a record, and how it writes one.
pub mod rules;

/// The suite that every adapter of [`Archive`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// One archived message. Fields are only ever added. It holds no handle of a user, no private words, no email, phone
/// number, token or IP address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The message's `mid`: readers dedupe by it, as the archive is at-least-once.
    pub id: Arc<str>,
    /// The MessageType.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The version of this layout.
    pub v: u32,
    /// When the edge took the message, RFC 3339 UTC.
    pub ts: String,
    /// When the router archived it, RFC 3339 UTC.
    pub ingest_ts: Arc<str>,
    /// The sender's pseudonym.
    pub user_key: Arc<str>,
    /// The same for everything that one message caused.
    pub trace_id: Arc<str>,
    /// The message's body, on one line; null where the archive keeps none.
    pub body: Option<Box<RawValue>>,
}

/// The archive.
///
/// Laws, each in the contract suite:
/// 1. A record is archived at least once after `put` returned `Ok`, whatever is killed afterwards.
/// 2. A file under `events/` is complete: a reader never finds half a file.
/// 3. Files are at `events/type=T/dt=YYYY-MM-DD/hour=HH/`, by `ts`, as gzip of JSON lines, each line ends with a
///    newline.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Archives records; durable once `Ok`. It may wait a little to share one disk sync, so no reply waits for it.
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable>;

    /// Makes what was put readable now rather than at the next roll.
    async fn flush(&self) -> Result<(), Unavailable>;
}
