//! A message on its way through the pipeline, with what the edge stamped on it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::protocol::Handle;

/// The socket a message came from, so that its reply finds back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The edge process.
    pub boot: Arc<str>,
    /// The socket within it.
    pub connection: u64,
}

/// A message in a queue, as JSON.
#[derive(Debug, Clone, Deserialize)]
pub struct Envelope {
    /// The message's id in the whole system; rising per edge.
    pub mid: Ulid,
    /// The client's idempotency key; empty in internal messages.
    #[serde(default)]
    pub id: String,
    /// The MessageType.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The sender, from the token and never from the frame. In internal messages: whose message caused it.
    pub from: Handle,
    /// The sender's socket; absent in internal messages.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// What the type says; nobody but the type's worker looks inside.
    pub body: Box<RawValue>,
}

/// An [`Envelope`] about to be written, of what lies elsewhere.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Stamped<'a> {
    /// As [`Envelope::mid`].
    pub mid: Ulid,
    /// As [`Envelope::id`].
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    /// The MessageType.
    #[serde(rename = "type")]
    pub message_type: &'a str,
    /// The sender.
    pub from: &'a Handle,
    /// The sender's socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'a Origin>,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// What the type says.
    pub body: &'a RawValue,
}

/// An envelope without its id and its body.
const ABOUT_BYTES: usize = 256;

impl Stamped<'_> {
    /// The envelope as a queue carries it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(ABOUT_BYTES + self.id.len() + self.body.get().len());
        serde_json::to_writer(&mut bytes, self).expect("an envelope holds nothing that JSON cannot");
        bytes.into()
    }
}

/// What a router needs of an envelope, most of it as it lies in the message.
#[derive(Debug, Deserialize)]
pub struct Routed<'a> {
    /// As [`Envelope::mid`].
    pub mid: Ulid,
    /// The MessageType.
    #[serde(rename = "type", borrow)]
    pub message_type: Cow<'a, str>,
    /// The sender.
    pub from: Handle,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// What the type says.
    #[serde(borrow)]
    pub body: &'a RawValue,
}

impl<'a> Routed<'a> {
    /// Reads what is needed to route a message.
    ///
    /// # Errors
    /// When the bytes are no envelope: somebody else wrote to our queue, or it is corrupt.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Envelope {
    /// The envelope as a queue carries it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let Self { mid, id, message_type, from, origin, at, body } = self;
        let (mid, at, origin) = (*mid, *at, origin.as_ref());
        Stamped { mid, id, message_type, from, origin, at, body }.bytes()
    }

    /// Reads an envelope back.
    ///
    /// # Errors
    /// When the bytes are none: somebody else wrote to our queue, or it is corrupt.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
