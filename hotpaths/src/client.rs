//! The other side: clients on websockets, a worker that POSTs to an edge, and an edge that takes a worker's POSTs. It
//! is not counted, so it blocks and is simple. It waits for all answers of a round before it begins the next, so that
//! the counted side always gets the same input.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::json;
use soundoff_common::pipeline::deliver::{DELIVER_PATH, SIGNED_HEADER, Signer};
use soundoff_common::protocol::now_ms;

use crate::load::{IN_FLIGHT, Load, key};
use crate::ports::user;

const NOTHING_MISSING: &str = r#"{"missing":[]}"#;

/// A connection, and the bytes that were read and not used yet.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    fn to(address: &str) -> anyhow::Result<Self> {
        Self::new(TcpStream::connect(address)?)
    }

    fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Reads more; `false` at the end of the stream.
    fn more(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; 64 * 1024];
        let n = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..n]);
        Ok(n > 0)
    }

    /// The bytes up to the end of an HTTP header; `None` at the end.
    fn head(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..at + 4).collect();
                return Ok(Some(String::from_utf8(head)?.to_ascii_lowercase()));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// A whole HTTP message; `None` at the end.
    fn message(&mut self) -> anyhow::Result<Option<(String, String)>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        let body = String::from_utf8(self.exactly(length)?)?;
        Ok(Some((head, body)))
    }

    fn exactly(&mut self, many: usize) -> anyhow::Result<Vec<u8>> {
        while self.read.len() < many {
            anyhow::ensure!(self.more()?, "the server hung up");
        }
        Ok(self.read.drain(..many).collect())
    }

    /// The next websocket frame's text.
    fn frame(&mut self) -> anyhow::Result<String> {
        let head = self.exactly(2)?;
        let length = match head[1] {
            126 => self.exactly(2)?.into_iter().fold(0, |length, byte| length << 8 | usize::from(byte)),
            short => usize::from(short),
        };
        let text = String::from_utf8_lossy(&self.exactly(length)?).into_owned();
        anyhow::ensure!(head[0] == 0x81, "no text frame but {:#x}: {text}", head[0]);
        Ok(text)
    }

    fn expect(&mut self, op: &str) -> anyhow::Result<()> {
        let frame = self.frame()?;
        anyhow::ensure!(frame.contains(&format!(r#""op":"{op}""#)), "no {op} but {frame}");
        Ok(())
    }

    /// A user's socket, welcomed.
    fn socket(address: &str, n: u32) -> anyhow::Result<Self> {
        let mut wire = Self::to(address)?;
        let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        wire.stream.write_all(upgrade.as_bytes())?;
        anyhow::ensure!(wire.head()?.is_some_and(|head| head.contains(" 101 ")), "no upgrade");
        wire.stream.write_all(&masked(&json!({ "op": "hello", "token": user(n) }).to_string()))?;
        wire.expect("welcome")?;
        Ok(wire)
    }
}

/// A client's frame.
fn masked(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("frames are short");
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Opens the sockets, prints `ready`, waits for a line with the edge's boot, and does the rounds.
pub(crate) fn run(load: Load, rounds: usize, public: &str, internal: &str) -> anyhow::Result<()> {
    let count = match load {
        Load::Ping | Load::Publish => 1,
        Load::Deliver(many) => u32::try_from(many)?,
        Load::Pipeline => 2,
    };
    let mut sockets = (0..count).map(|n| Wire::socket(public, n)).collect::<Result<Vec<_>, _>>()?;
    println!("ready");
    let mut boot = String::new();
    std::io::stdin().lock().read_line(&mut boot)?;
    match load {
        Load::Ping => ping(&mut sockets[0], rounds),
        Load::Publish => send(&mut sockets, rounds, 1, 0),
        Load::Pipeline => send(&mut sockets, rounds, 2, 1),
        Load::Deliver(_) => deliver(&mut sockets, rounds, internal, boot.trim_end()),
    }
}

fn ping(socket: &mut Wire, rounds: usize) -> anyhow::Result<()> {
    let pings = masked(r#"{"op":"ping"}"#).repeat(IN_FLIGHT);
    for _ in 0..rounds {
        socket.stream.write_all(&pings)?;
        for _ in 0..IN_FLIGHT {
            socket.expect("pong")?;
        }
    }
    Ok(())
}

/// Sends as the first user to the second. For each message it reads `answers` frames on the first socket and `events`
/// on the second.
fn send(sockets: &mut [Wire], rounds: usize, answers: usize, events: usize) -> anyhow::Result<()> {
    for round in 0..rounds {
        let message = |n: usize| {
            let id = format!("m{:09}", round * IN_FLIGHT + n);
            masked(&format!(r#"{{"op":"send","id":"{id}","type":"typing","body":{{"to":"user0001"}}}}"#))
        };
        let messages: Vec<u8> = (0..IN_FLIGHT).flat_map(message).collect();
        sockets[0].stream.write_all(&messages)?;
        for _ in 0..answers * IN_FLIGHT {
            let frame = sockets[0].frame()?;
            let good = frame.contains(r#""op":"accepted""#) || frame.contains(r#""ok":true"#);
            anyhow::ensure!(good, "{frame}");
        }
        for _ in 0..events * IN_FLIGHT {
            sockets[1].expect("event")?;
        }
    }
    Ok(())
}

fn deliver(sockets: &mut [Wire], rounds: usize, internal: &str, boot: &str) -> anyhow::Result<()> {
    let frame = json!({ "op": "reply", "id": "m000000001", "ok": true, "body": { "user": "user0001" } });
    let deliveries =
        (0..sockets.len() as u32).map(|n| json!({ "kind": "reply", "to": [user(n)], "frame": frame }));
    let body = json!({ "deliveries": deliveries.collect::<Vec<_>>() }).to_string();
    let (signer, mut wire) = (Signer::new(key()?, boot.into()), Wire::to(internal)?);
    for _ in 0..rounds {
        let signed = signer.sign("POST", DELIVER_PATH, body.as_bytes(), now_ms());
        let request = format!(
            "POST {DELIVER_PATH} HTTP/1.1\r\nhost: {internal}\r\n{SIGNED_HEADER}: {signed}\r\n\
            content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.stream.write_all(request.as_bytes())?;
        let (head, answer) = wire.message()?.ok_or_else(|| anyhow::anyhow!("the edge hung up"))?;
        anyhow::ensure!(head.contains(" 200 ") && answer == NOTHING_MISSING, "{head}{answer}");
        for socket in &mut *sockets {
            socket.expect("reply")?;
        }
    }
    Ok(())
}

/// Plays an edge that takes every delivery on one connection, until the connection ends.
pub(crate) fn sink() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || -> anyhow::Result<()> {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{NOTHING_MISSING}",
            NOTHING_MISSING.len()
        );
        let mut wire = Wire::new(listener.accept()?.0)?;
        while wire.message()?.is_some() {
            wire.stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
