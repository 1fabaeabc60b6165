//! Websocket frames as an attacker writes them: bytes on the wire, not messages of a library that would object.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mutations::{anything, mutated_text};
use crate::support::PATIENCE;
use crate::take;

/// The first byte of a text frame that is whole.
pub(crate) const TEXT: u8 = 0x81;

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [7, 77, 177, 250];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// One connection of an attacker.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What the server said.
enum Said {
    Frame(Value),
    Closed(Option<u16>),
    /// The end of the stream, or a reset.
    Ended,
}

impl Wire {
    async fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut wire = Self { stream, read: Vec::new() };
        while !wire.read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            assert!(wire.more().await, "no answer to the upgrade");
        }
        let end = wire.read.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert!(wire.read.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&wire.read));
        wire.read.drain(..end);
        wire
    }

    async fn more(&mut self) -> bool {
        let read =
            timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("the server says nothing");
        read.is_ok_and(|n| n > 0)
    }

    /// Whether the server took the bytes; one that has closed takes none.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads nothing").is_ok()
    }

    /// Sends nothing more, and waits until the server ends, too.
    async fn end(mut self) {
        let _ = self.stream.shutdown().await;
        while self.more().await {
            self.read.clear();
        }
    }

    async fn said(&mut self) -> Said {
        loop {
            if let Some((first, payload, len)) = whole(&self.read) {
                let payload = payload.to_vec();
                self.read.drain(..len);
                match first & 0x0f {
                    1 => return Said::Frame(serde_json::from_slice(&payload).expect("the server says JSON")),
                    8 => return Said::Closed(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
                    _ => continue,
                }
            }
            if !self.more().await {
                return Said::Ended;
            }
        }
    }

    /// Reads until the error that answers `marker`; returns the errors before it, and whether the server closed
    /// instead.
    async fn answers(&mut self, marker: &str) -> (Vec<String>, bool) {
        let mut errors = Vec::new();
        loop {
            match self.said().await {
                Said::Frame(frame) if frame["id"] == marker => return (errors, false),
                Said::Frame(frame) if frame["op"] == "error" => {
                    errors.push(frame["error"]["code"].as_str().unwrap().to_owned());
                }
                Said::Frame(_) => {}
                Said::Closed(_) | Said::Ended => return (errors, true),
            }
        }
    }
}

/// A whole frame at the start of `bytes`: its first byte, its payload, its length.
fn whole(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, at) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    Some((first, bytes.get(at..at + len)?, at + len))
}

/// Sends bad frames until no number is left, on a new connection whenever the server closes.
pub(crate) async fn attacker(address: String, token: Value, mut random: StdRng, left: Arc<AtomicUsize>) {
    let hello = frame(TEXT, json!({ "op": "hello", "token": token }).to_string().as_bytes());
    while take(&left) {
        let mut wire = Wire::open(&address).await;
        if random.random_bool(0.1) {
            // Never a proper hello.
            wire.write(&anything(&mut random)).await;
            wire.end().await;
            continue;
        }
        wire.write(&hello).await;
        match wire.said().await {
            Said::Frame(welcome) => assert_eq!(welcome["op"], "welcome"),
            Said::Closed(code) => panic!("closed with {code:?} instead of a welcome"),
            Said::Ended => panic!("no welcome"),
        }
        if random.random_bool(0.5) {
            texts(&mut wire, &mut random, &left).await;
        } else {
            let several = random.random_range(1..5);
            let mut bytes = anything(&mut random);
            for _ in 1..several {
                if take(&left) {
                    bytes.extend(anything(&mut random));
                }
            }
            wire.write(&bytes).await;
            wire.end().await;
        }
    }
}

/// Sends texts that may or may not be frames, and checks how the server answers each.
async fn texts(wire: &mut Wire, random: &mut StdRng, left: &AtomicUsize) {
    for number in 0..10 {
        let text = mutated_text(random);
        wire.write(&frame(TEXT, text.as_bytes())).await;
        // Whatever the text was, this gets its own error, unless the socket is closed.
        let marker = format!("marker-{number}");
        let said = json!({ "op": "send", "id": marker, "type": "no.such", "body": {} });
        wire.write(&frame(TEXT, said.to_string().as_bytes())).await;
        let (errors, closed) = wire.answers(&marker).await;
        if is_no_frame(&text) {
            assert!(
                errors.iter().any(|code| code == "bad_frame"),
                "{errors:?}, closed {closed}, after {text}"
            );
        }
        if closed || !take(left) {
            return;
        }
    }
}

/// Whether docs/protocol.md calls for `bad_frame`: JSON, and not an object with a known `op`.
fn is_no_frame(text: &str) -> bool {
    let known = ["hello", "send", "ack", "ping", "auth", "bye"];
    let op = |value: Value| value["op"].as_str().is_some_and(|op| known.contains(&op));
    serde_json::from_str::<Value>(text).is_ok_and(|value| !value.is_object() || !op(value))
}
