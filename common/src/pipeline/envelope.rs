//! A message on its way through the pipeline, with what the edge stamped on it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::pipeline::consumer::Verdict;
use crate::ports::queues::Message;
use crate::protocol::Handle;

/// The socket that a message came from, so that its reply finds the way back.
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
    /// The body, as the type defines it; only the type's worker looks inside.
    pub body: Box<RawValue>,
}

/// An [`Envelope`] that is about to be written, made of borrowed parts.
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
    /// The body, as the type defines it.
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

/// What a router needs of an envelope, most of it borrowed from the message.
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
    /// The body, as the type defines it.
    #[serde(borrow)]
    pub body: &'a RawValue,
}

impl<'a> Routed<'a> {
    /// Reads what is needed to route a message.
    ///
    /// # Errors
    /// The verdict on a message that is no envelope.
    pub fn of(message: &'a Message) -> Result<Self, Verdict> {
        serde_json::from_slice(&message.body).map_err(|error| no_envelope(&error))
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

    /// The envelope of a queue's message.
    ///
    /// # Errors
    /// The verdict on a message that is no envelope.
    pub fn of(message: &Message) -> Result<Self, Verdict> {
        Self::parse(&message.body).map_err(|error| no_envelope(&error))
    }

    /// Reads an envelope back.
    ///
    /// # Errors
    /// When the bytes are no envelope: somebody else wrote to our queue, or it is corrupt.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Another try would find the same bytes.
fn no_envelope(error: &serde_json::Error) -> Verdict {
    Verdict::Dead(format!("not an envelope: {error}"))
}
