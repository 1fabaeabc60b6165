//! A message on its way through the pipeline, with what the edge stamped on it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::pipeline::consumer::Verdict;
use crate::pipeline::deliver::SignedAddress;
use crate::ports::queues::Message;
use crate::protocol::Handle;
use crate::protocol::text::{shared, ulid};

/// The socket that a message came from, so that its reply finds the way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The edge process.
    #[serde(deserialize_with = "shared")]
    pub boot: Arc<str>,
    /// The socket within it.
    pub connection: u64,
    /// Where the process takes deliveries. Without it the Session Cache is asked: edges of 0.1.0 do not send it, and
    /// their messages may still be on queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<SignedAddress>,
}

/// A message in a queue, as JSON.
#[derive(Debug, Clone, Deserialize)]
pub struct Envelope {
    /// The message's id in the whole system; rising per edge.
    #[serde(deserialize_with = "ulid")]
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
#[derive(Debug, Clone, Copy)]
pub struct Stamped<'a> {
    /// As [`Envelope::mid`].
    pub mid: Ulid,
    /// As [`Envelope::id`].
    pub id: &'a str,
    /// The MessageType.
    pub message_type: &'a str,
    /// The sender.
    pub from: &'a Handle,
    /// The sender's socket.
    pub origin: Option<&'a Origin>,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// The body, as the type defines it.
    pub body: &'a RawValue,
}

/// An envelope without its id and its body.
const ABOUT_BYTES: usize = 320;

impl Stamped<'_> {
    /// The envelope as a queue carries it. Every message is written, and serde takes eight instructions for each byte
    /// of a text, so this is done by hand.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let Self { mid, id, message_type, from, origin, at, body } = *self;
        let mut json = Vec::with_capacity(ABOUT_BYTES + id.len() + body.get().len());
        let mut digits = [0; ulid::ULID_LEN];
        write_text(&mut json, "{\"mid\":", mid.array_to_str(&mut digits));
        if !id.is_empty() {
            write_text(&mut json, ",\"id\":", id);
        }
        write_text(&mut json, ",\"type\":", message_type);
        write_text(&mut json, ",\"from\":", from.as_str());
        if let Some(Origin { boot, connection, edge }) = origin {
            write_text(&mut json, ",\"origin\":{\"boot\":", boot);
            write_number(&mut json, ",\"connection\":", *connection);
            if let Some(edge) = edge {
                write_text(&mut json, ",\"edge\":", edge.as_str());
            }
            json.push(b'}');
        }
        write_number(&mut json, ",\"at\":", at);
        json.extend_from_slice(b",\"body\":");
        json.extend_from_slice(body.get().as_bytes());
        json.push(b'}');
        json.into()
    }
}

fn write_number(json: &mut Vec<u8>, name: &str, number: u64) {
    json.extend_from_slice(name.as_bytes());
    serde_json::to_writer(json, &number).expect("a number is JSON");
}

fn write_text(json: &mut Vec<u8>, name: &str, text: &str) {
    json.extend_from_slice(name.as_bytes());
    // Without an end in the middle, so that many bytes are looked at with one instruction.
    let escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | escaped(byte)) {
        return serde_json::to_writer(json, text).expect("a text is JSON");
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// What a router needs of an envelope, most of it borrowed from the message.
#[derive(Debug, Deserialize)]
pub struct Routed<'a> {
    /// As [`Envelope::mid`].
    #[serde(deserialize_with = "ulid")]
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

/// Whose a message is, read from its envelope; `None` when it is no envelope.
#[must_use]
pub fn sender_of(message: &Message) -> Option<Handle> {
    Routed::of(message).ok().map(|envelope| envelope.from)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Envelope;
    use crate::pipeline::deliver::InternalKey;

    #[test]
    fn an_envelope_without_the_edges_address_is_read_and_written_as_it_was() {
        let of_0_1_0 = json!({
            "mid": "01K0000000000000000000000A", "id": "m1", "type": "typing", "from": "alice",
            "origin": { "boot": "01BOOT", "connection": 7 }, "at": 1_790_000_000_000_u64, "body": { "to": "bob" },
        });
        let mut envelope = Envelope::parse(of_0_1_0.to_string().as_bytes()).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&envelope.bytes()).unwrap();
        assert_eq!(written, of_0_1_0);
        let signed = InternalKey::new(&[7; 32]).unwrap().sign_address("01BOOT", "10.0.0.1:9090");
        envelope.origin.as_mut().unwrap().edge = Some(signed.clone());
        let read = Envelope::parse(&envelope.bytes()).unwrap();
        assert_eq!(read.origin.unwrap().edge, Some(signed));
    }

    #[test]
    fn an_envelope_holds_any_text() {
        let texts = ["", "m1", "\"", "\\", "a\nb", "\u{0}", "\u{1f}\u{7f}", "häßlich \u{1f600}", "</script>"];
        for text in texts {
            let said = json!({
                "mid": "01K0000000000000000000000A", "id": text, "type": text, "from": "alice",
                "origin": { "boot": text, "connection": u64::MAX, "edge": text }, "at": 0, "body": { "a": text },
            });
            let mut written: serde_json::Value =
                serde_json::from_slice(&Envelope::parse(said.to_string().as_bytes()).unwrap().bytes())
                    .unwrap();
            if text.is_empty() {
                written["id"] = "".into();
            }
            assert_eq!(written, said);
        }
    }
}
