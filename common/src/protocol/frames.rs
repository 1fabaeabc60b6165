use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use super::error::{ErrorBody, ErrorCode};
use super::handle::Handle;
use super::numbers;
use super::{MAX_DEVICE_CHARS, MAX_ID_CHARS};

/// A frame from a client. `body` stays raw: only the worker that needs it parses it.
#[derive(Debug, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame<'a> {
    /// The first frame.
    Hello {
        /// The access token, unless the upgrade carried it.
        token: Option<Cow<'a, str>>,
        /// Names this device, at most 64 characters.
        device: Option<Cow<'a, str>>,
        /// The last inbox `seq` this device has seen.
        cursor: Option<u64>,
        /// The greatest `mid` this client was told: its messages come after that, on whichever edge they arrive.
        #[schemars(with = "Option<String>")]
        after: Option<Ulid>,
    },
    /// One message for the pipeline.
    Send {
        /// The idempotency key, 1 to 64 characters: same user and same `id` is one effect.
        id: Cow<'a, str>,
        /// The MessageType.
        #[serde(rename = "type")]
        message_type: Cow<'a, str>,
        /// What the type says.
        #[serde(borrow)]
        body: &'a RawValue,
    },
    /// Every inbox push up to `cursor` is safe with the client.
    Ack {
        /// The last `seq` that is safe.
        cursor: u64,
    },
    /// Answered by `pong`.
    Ping,
    /// A fresh token for the live socket.
    Auth {
        /// The same user's token.
        token: Cow<'a, str>,
    },
    /// The client leaves on purpose.
    Bye,
}

/// A frame that was refused, with the `id` it named, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// The frame's own `id`, when it could be read.
    pub id: Option<String>,
    /// Always [`ErrorCode::BadFrame`].
    pub error: ErrorBody,
}

/// All fields of all frames: one pass over the text, whatever the order of its fields.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    message_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    device: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cursor: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

impl<'a> ClientFrame<'a> {
    /// Reads a text frame's header.
    ///
    /// # Errors
    /// [`FrameError`] when it is no JSON object, lacks `op`, has an unknown one, or a field is missing or of the wrong
    /// kind.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        let header: Header<'a> =
            serde_json::from_str(text).map_err(|e| bad(None, format!("not a frame: {e}")))?;
        let id = header.id.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let id = id.filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARS);
        Self::of(header, id.as_deref()).map_err(|message| bad(id.clone(), message))
    }

    /// The `id` of a frame of which only the beginning is known, if it is there.
    #[must_use]
    pub fn id_of_start(start: &str) -> Option<String> {
        let mut id = None;
        // What was cut off is an error, and what was read before it is not lost.
        let _ = Start(&mut id).deserialize(&mut serde_json::Deserializer::from_str(start));
        id.filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARS)
    }

    fn of(header: Header<'a>, id: Option<&str>) -> Result<Self, String> {
        let op = header.op.as_deref().ok_or("a frame needs an op")?;
        match op {
            "hello" => {
                let device: Option<Cow<'a, str>> = field("device", header.device)?;
                if device.as_ref().is_some_and(|d| d.is_empty() || d.chars().count() > MAX_DEVICE_CHARS) {
                    return Err(format!("device is 1 to {MAX_DEVICE_CHARS} characters"));
                }
                let token = field("token", header.token)?;
                let (cursor, after) = (number("cursor", header.cursor)?, field("after", header.after)?);
                Ok(ClientFrame::Hello { token, device, cursor, after })
            }
            "send" => {
                let id = id.ok_or_else(|| format!("send needs an id of 1 to {MAX_ID_CHARS} characters"))?;
                let message_type = required("type", header.message_type)?;
                let body = header.body.ok_or("send needs a body")?;
                Ok(ClientFrame::Send { id: Cow::Owned(id.to_owned()), message_type, body })
            }
            "ack" => {
                let cursor = number("cursor", header.cursor)?.ok_or("cursor is missing")?;
                Ok(ClientFrame::Ack { cursor })
            }
            "ping" => Ok(ClientFrame::Ping),
            "auth" => Ok(ClientFrame::Auth { token: required("token", header.token)? }),
            "bye" => Ok(ClientFrame::Bye),
            _ => Err("unknown op: hello, send, ack, ping, auth or bye".to_owned()),
        }
    }
}

/// Reads a frame's fields up to its `id`.
struct Start<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Start<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Start<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a frame")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if name == "id" {
                *self.0 = Some(fields.next_value()?);
                return Ok(());
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

fn bad(id: Option<String>, message: String) -> FrameError {
    FrameError { id, error: ErrorBody::new(ErrorCode::BadFrame, message) }
}

/// A field that may be absent; `null` counts as absent.
fn field<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<T>, String> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| format!("{name} is of the wrong kind")),
    }
}

/// A whole number, which may be absent.
fn number(name: &str, raw: Option<&RawValue>) -> Result<Option<u64>, String> {
    raw.map_or(Ok(None), |raw| numbers::read(raw.get())).map_err(|_| format!("{name} is of the wrong kind"))
}

fn required<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<T, String> {
    field(name, raw)?.ok_or_else(|| format!("{name} is missing"))
}

/// What a socket may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// The largest inbound frame, in bytes.
    pub frame_bytes: usize,
    /// How many messages a second the user may send in the long run, on all sockets of one edge together; one of more
    /// than 4 KiB counts as several.
    pub messages_per_second: u32,
    /// How many messages the user may send at once after a rest.
    pub burst: u32,
    /// The types that cost more than one message, or of which there may be only so many.
    pub types: BTreeMap<String, TypeLimits>,
}

/// The limits of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeLimits {
    /// How many messages one of it counts as.
    pub cost: u16,
    /// The most of one user in a minute, on one edge, and at once after a minute without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// The most of one user in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
}

/// A frame to a client.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The hello was good.
    Welcome {
        /// Names this connection in logs.
        session: &'a str,
        /// Who the token speaks for.
        user: &'a Handle,
        /// The newest inbox `seq`.
        cursor: u64,
        /// How often to ping.
        heartbeat_ms: u64,
        /// When the token expires, RFC 3339.
        token_expires_at: &'a str,
        /// What the socket may do.
        limits: &'a Limits,
    },
    /// Durable: main_q has confirmed the message.
    Accepted {
        /// The client's id.
        id: &'a str,
        /// The message's id in the whole system.
        #[schemars(with = "String")]
        mid: Ulid,
    },
    /// The outcome, from the worker.
    Reply {
        /// The client's id.
        id: &'a str,
        /// Whether it took effect.
        ok: bool,
        /// What the type answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a RawValue>,
        /// Why it did not.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a ErrorBody>,
        /// This `id` had taken effect before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// A durable inbox event.
    Push {
        /// Per user, gapless, rising.
        seq: u64,
        /// What happened.
        #[serde(rename = "type")]
        push_type: &'a str,
        /// The message that caused it.
        mid: &'a str,
        /// What the type says.
        body: &'a RawValue,
    },
    /// A live, unstored event.
    Event {
        /// What happened.
        #[serde(rename = "type")]
        event_type: &'a str,
        /// What the type says.
        body: &'a RawValue,
    },
    /// The answer to `ping`.
    Pong,
    /// The token will expire soon.
    AuthDue {
        /// How long it is still valid.
        expires_in_ms: u64,
    },
    /// The token was replaced.
    AuthOk {
        /// When the new one expires, RFC 3339.
        token_expires_at: &'a str,
    },
    /// A frame was refused; nothing was queued.
    Error {
        /// The frame's id, when it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        /// Why.
        error: &'a ErrorBody,
    },
    /// The edge is draining.
    Goaway {
        /// Reconnect at a random time in this window, in milliseconds: low, high.
        reconnect_after_ms: [u64; 2],
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_any_order_and_unknown_ones_are_ignored() {
        let text = r#"{"future":[1],"body": {"text" : "hi"},"type":"post.create","id":"a\n1","op":"send"}"#;
        match ClientFrame::parse(text).unwrap() {
            ClientFrame::Send { id, message_type, body } => {
                assert_eq!((&*id, &*message_type, body.get()), ("a\n1", "post.create", r#"{"text" : "hi"}"#));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_with_the_id_it_named() {
        let long = format!(r#"{{"op":"send","id":"{}","type":"x","body":{{}}}}"#, "é".repeat(65));
        for (text, id) in [
            ("", None),
            ("[]", None),
            ("null", None),
            ("{}", None),
            (r#"{"op":7}"#, None),
            (r#"{"op":"fly","id":"7"}"#, Some("7")),
            (r#"{"op":"send","id":"7","type":"x"}"#, Some("7")),
            (r#"{"op":"send","id":"7","type":5,"body":{}}"#, Some("7")),
            (r#"{"op":"send","id":"","type":"x","body":{}}"#, None),
            (r#"{"op":"send","id":7,"type":"x","body":{}}"#, None),
            (r#"{"op":"ack","cursor":-1}"#, None),
            (r#"{"op":"hello","device":""}"#, None),
            (r#"{"op":"ping"} {"#, None),
            (long.as_str(), None),
        ] {
            let refused = ClientFrame::parse(text).expect_err(text);
            assert_eq!((refused.error.code, refused.id.as_deref()), (ErrorCode::BadFrame, id), "{text}");
        }
    }

    #[test]
    fn a_reply_says_only_what_it_has_to() {
        let body = serde_json::value::to_raw_value(&serde_json::json!({})).unwrap();
        let frame =
            ServerFrame::Reply { id: "1", ok: true, body: Some(&body), error: None, duplicate: false };
        let text = |frame| serde_json::to_string::<ServerFrame<'_>>(frame).unwrap();
        assert_eq!(text(&frame), r#"{"op":"reply","id":"1","ok":true,"body":{}}"#);
        assert_eq!(text(&ServerFrame::Pong), r#"{"op":"pong"}"#);
    }
}
