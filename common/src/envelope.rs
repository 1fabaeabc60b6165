//! A message on its way through the pipeline, with what the edge stamped on it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::protocol::Handle;

/// The socket a message came from, so that its reply finds back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The edge process.
    pub boot: String,
    /// The socket within it.
    pub connection: u64,
}

/// A message in a queue, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// The message's id in the whole system; rising per edge.
    pub mid: Ulid,
    /// The client's idempotency key; empty in internal messages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The MessageType.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The sender, from the token and never from the frame. In internal messages: whose message caused it.
    pub from: Handle,
    /// The sender's socket; absent in internal messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// What the type says; nobody but the type's worker looks inside.
    pub body: Box<RawValue>,
}

impl Envelope {
    /// The envelope as a queue carries it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("an envelope holds nothing that JSON cannot").into()
    }

    /// Reads an envelope back.
    ///
    /// # Errors
    /// When the bytes are none: somebody else wrote to our queue, or it is corrupt.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
