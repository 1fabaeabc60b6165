//! The language of each server under test: what opens a socket, what greets it, and how it answers a heartbeat.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use soundoff_common::protocol::SUBPROTOCOL;

use crate::wire::frames::{BINARY, PING, PONG, TEXT, put};
use crate::wire::upgrade;

/// A user of the server under test.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// Its name.
    pub(crate) name: String,
    /// What proves it at the handshake; empty where the server does not ask for it.
    pub(crate) token: String,
}

/// The language of a server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `soundoff.v1`: token at the upgrade, hello, welcome.
    SoundOff,
    /// The peers in JavaScript: token at the upgrade and no other greeting; otherwise the same frames.
    Bare,
    /// nchan: a subscription by its URL; no token.
    Nchan,
    /// MQTT 3.1.1 in websocket frames; no token.
    Mqtt,
    /// NATS in websocket frames; no token.
    Nats,
}

/// What a frame means to a client that opens sockets and sends pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The socket is greeted and registered.
    Welcome,
    /// The answers to this many pings.
    Pong(u32),
    /// A frame that no ping has asked for.
    Other,
}

impl Dialect {
    /// The upgrade request of a user.
    pub(crate) fn upgrade(self, host: SocketAddr, user: &User) -> Vec<u8> {
        match self {
            Self::SoundOff => upgrade(host, "/v1/ws", Some(SUBPROTOCOL), Some(&user.token)),
            Self::Bare => upgrade(host, "/v1/ws", None, Some(&user.token)),
            Self::Nchan => upgrade(host, &format!("/sub/{}", user.name), None, None),
            Self::Mqtt => upgrade(host, "/mqtt", Some("mqtt"), None),
            Self::Nats => upgrade(host, "/", None, None),
        }
    }

    /// Appends what a client says first. Returns false where it says nothing, as the upgrade is the welcome.
    pub(crate) fn greet(self, user: &User, out: &mut Vec<u8>) -> bool {
        match self {
            Self::SoundOff => put(out, TEXT, br#"{"op":"hello"}"#),
            Self::Mqtt => put(out, BINARY, &mqtt_greeting(&user.name)),
            Self::Nats => {
                let connect = r#"CONNECT {"verbose":false,"pedantic":false,"protocol":1}"#;
                put(out, BINARY, format!("{connect}\r\nSUB u.{} 1\r\nPING\r\n", user.name).as_bytes());
            }
            Self::Bare | Self::Nchan => return false,
        }
        true
    }

    /// Appends a ping of about `bytes` bytes, where the language allows a size.
    pub(crate) fn ping(self, bytes: usize, out: &mut Vec<u8>) {
        match self {
            Self::SoundOff | Self::Bare => put(out, TEXT, padded_ping(bytes).as_bytes()),
            Self::Nchan => put(out, PING, b"loadtest"),
            Self::Mqtt => put(out, BINARY, &[0xc0, 0]),
            Self::Nats => put(out, BINARY, b"PING\r\n"),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// The server must not send such a frame.
    pub(crate) fn sort(self, kind: u16, payload: &[u8]) -> Result<Heard> {
        let wrong = || format!("unexpected: {}", String::from_utf8_lossy(&payload[..payload.len().min(200)]));
        match self {
            Self::SoundOff | Self::Bare => match &*op(payload).with_context(wrong)? {
                "welcome" => Ok(Heard::Welcome),
                "pong" => {
                    ensure!(payload == br#"{"op":"pong"}"#, "{}", wrong());
                    Ok(Heard::Pong(1))
                }
                "error" => bail!("{}", wrong()),
                _ => Ok(Heard::Other),
            },
            Self::Nchan if kind == u16::from(PONG) => {
                ensure!(payload == b"loadtest", "{}", wrong());
                Ok(Heard::Pong(1))
            }
            Self::Nchan => Ok(Heard::Other),
            Self::Mqtt => match payload {
                [0x20, 2, _, 0] | [0x30, ..] => Ok(Heard::Other),
                [0x90, 3, _, _, 0] | [0x20, 2, _, 0, 0x90, 3, _, _, 0] => Ok(Heard::Welcome),
                [0xd0, 0] => Ok(Heard::Pong(1)),
                _ => bail!("{}", wrong()),
            },
            Self::Nats => match payload {
                // Answers that are sent together share a frame.
                [.., b'P', b'O', b'N', b'G', b'\r', b'\n'] => {
                    let whole = payload.chunks(6).all(|answer| answer == b"PONG\r\n");
                    ensure!(whole, "{}", wrong());
                    Ok(Heard::Pong(u32::try_from(payload.len() / 6)?))
                }
                [b'-', ..] => bail!("{}", wrong()),
                _ => Ok(Heard::Other),
            },
        }
    }
}

/// The kind of a frame of `soundoff.v1`. Where the server writes it first, no parser is needed.
pub(crate) fn op(payload: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        op: Cow<'a, str>,
    }
    match payload.strip_prefix(br#"{"op":""#) {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b'"')?;
            std::str::from_utf8(&rest[..end]).ok().map(Cow::Borrowed)
        }
        None => serde_json::from_slice::<Kind<'_>>(payload).ok().map(|kind| kind.op),
    }
}

/// A string field of a frame. The frame must have no spaces between its tokens, and the field no escapes.
pub(crate) fn text_field<'a>(payload: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(payload).ok()?;
    let start = text.find(&format!("\"{name}\":\""))? + name.len() + 4;
    text[start..].split('"').next()
}

fn padded_ping(bytes: usize) -> String {
    const EMPTY: &str = r#"{"op":"ping","pad":""}"#;
    match bytes.checked_sub(EMPTY.len()) {
        None => r#"{"op":"ping"}"#.into(),
        Some(pad) => EMPTY.replace("\"\"", &format!("\"{}\"", "x".repeat(pad))),
    }
}

/// CONNECT with a clean session and no keep-alive, and SUBSCRIBE to the user's own topic, both in one frame.
fn mqtt_greeting(user: &str) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    let mut connect = Vec::new();
    text(&mut connect, "MQTT");
    connect.extend_from_slice(&[4, 2, 0, 0]);
    text(&mut connect, user);
    let mut subscribe = vec![0, 1];
    text(&mut subscribe, &format!("u/{user}"));
    subscribe.push(0);
    // Both stay under 128 bytes, so that a length is one byte: names are short.
    let mut out = vec![0x10, connect.len() as u8];
    out.append(&mut connect);
    out.extend_from_slice(&[0x82, subscribe.len() as u8]);
    out.append(&mut subscribe);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_as_long_as_asked_and_stays_a_ping() {
        for bytes in [22, 23, 200, 1000] {
            let ping = padded_ping(bytes);
            assert_eq!(ping.len(), bytes);
            let parsed: serde_json::Value = serde_json::from_str(&ping).unwrap();
            assert_eq!(parsed["op"], "ping");
        }
        assert_eq!(padded_ping(0), r#"{"op":"ping"}"#);
    }

    #[test]
    fn what_a_server_should_not_say_is_an_error() {
        use Dialect::{Bare, Mqtt, Nats, Nchan, SoundOff};
        for (dialect, kind, good, bad) in [
            (SoundOff, 1, &br#"{"op":"pong"}"#[..], &br#"{"op":"error","error":{}}"#[..]),
            (Bare, 1, br#"{"op":"pong"}"#, br#"{"op":"pong","n":1}"#),
            (Nchan, 10, b"loadtest", b"other"),
            (Mqtt, 2, &[0xd0, 0], &[0x20, 2, 0, 5]),
            (Nats, 2, b"PONG\r\n", b"-ERR 'no'\r\n"),
            (Nats, 2, b"PONG\r\n", b"PING\r\nPONG\r\n"),
        ] {
            assert_eq!(dialect.sort(kind, good).unwrap(), Heard::Pong(1), "{dialect:?}");
            assert!(dialect.sort(kind, bad).is_err(), "{dialect:?}");
        }
    }

    #[test]
    fn fields_are_found_in_frames() {
        let frame = br#"{"op":"reply","id":"7-3","ok":true}"#;
        assert_eq!((op(frame).as_deref(), text_field(frame, "id")), (Some("reply"), Some("7-3")));
        assert_eq!(op(br#"{"id":"1","op":"accepted"}"#).as_deref(), Some("accepted"));
        assert_eq!((op(b"[]"), text_field(frame, "mid")), (None, None));
    }
}
