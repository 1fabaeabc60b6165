//! Many connections on one thread, as cheap as possible: server and generator share the cores, so what the generator
//! uses, the server lacks.
//!
//! There is one buffer for everything that is read, frames are found in it without a copy, and answers to one read
//! leave in one write. A [`Talk`] decides what is sent.

pub(crate) mod frames;
mod http;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

/// As much as a socket's kernel buffer usually holds.
const READ_BYTES: usize = 256 * 1024;
/// Readiness events that are handled at once.
const EVENTS: usize = 1024;
/// The token of [`Swarm::waker`].
const WAKE: Token = Token(usize::MAX);
/// The key of RFC 6455's example, and what the server must make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is said over the connections of a [`Swarm`]. Bytes in `out` are written after everything that was read has been
/// handled.
pub(crate) trait Talk {
    /// Connection `at` is open: the websocket is upgraded, or the HTTP connection is made.
    ///
    /// # Errors
    /// Ends the run.
    fn opened(&mut self, at: usize, out: &mut Vec<u8>) -> Result<()> {
        let _ = (at, out);
        Ok(())
    }

    /// A websocket's frame, or an HTTP answer's body with its status as `kind`.
    ///
    /// # Errors
    /// The server must not say this: the run ends.
    fn heard(&mut self, at: usize, kind: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<()>;
}

/// How a connection begins, and its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Websocket,
    Http,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    stage: Stage,
    /// A websocket's upgrade request goes first.
    is_websocket: bool,
    /// Not written yet.
    out: Vec<u8>,
    /// The beginning of a frame or answer that is not complete.
    rest: Vec<u8>,
}

/// A websocket's upgrade request.
pub(crate) fn upgrade(host: SocketAddr, path: &str, protocol: Option<&str>, token: Option<&str>) -> Vec<u8> {
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for (name, value) in [("Sec-WebSocket-Protocol: ", protocol), ("Authorization: Bearer ", token)] {
        if let Some(value) = value {
            head.extend([name, value, "\r\n"]);
        }
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// All connections of one thread.
#[derive(Debug)]
pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    buffer: Box<[u8]>,
}

impl Swarm {
    /// An empty one.
    ///
    /// # Errors
    /// The system has no epoll.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("no epoll")?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// A waker that ends a [`Self::turn`] from another thread.
    ///
    /// # Errors
    /// The system has no event descriptor.
    pub(crate) fn waker(&self) -> Result<Waker> {
        Waker::new(self.poll.registry(), WAKE).context("no event descriptor")
    }

    /// Begins to open a websocket, and returns its number.
    ///
    /// # Errors
    /// There is no descriptor or port left.
    pub(crate) fn websocket(&mut self, address: SocketAddr, upgrade: Vec<u8>) -> Result<usize> {
        self.connect(address, true, upgrade)
    }

    /// Begins to open an HTTP connection that is kept.
    ///
    /// # Errors
    /// As [`Self::websocket`].
    pub(crate) fn http(&mut self, address: SocketAddr) -> Result<usize> {
        self.connect(address, false, Vec::new())
    }

    fn connect(&mut self, address: SocketAddr, is_websocket: bool, out: Vec<u8>) -> Result<usize> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        let at = self.connections.len();
        let mut connection =
            Connection { stream, stage: Stage::Connecting, is_websocket, out, rest: Vec::new() };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut connection.stream, Token(at), interest)?;
        self.connections.push(Some(connection));
        Ok(at)
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Writes to a connection. What it does not take now is kept for later.
    ///
    /// # Errors
    /// The connection is broken or was never opened.
    pub(crate) fn send(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let connection = self.connections.get_mut(at).and_then(Option::as_mut);
        let connection = connection.with_context(|| format!("connection {at} is not there"))?;
        connection.out.extend_from_slice(bytes);
        connection.flush().with_context(|| format!("connection {at}"))
    }

    /// Cuts all connections from `first` on without a close, as a network failure does, and forgets them.
    pub(crate) fn cut(&mut self, first: usize) {
        for connection in self.connections.drain(first..).flatten() {
            // A reset instead of a close: otherwise ports would stay in use for a minute.
            let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Waits up to `wait` for events, and handles all that have come.
    ///
    /// # Errors
    /// A connection broke, or an error of `talk`.
    pub(crate) fn turn(&mut self, wait: Duration, talk: &mut impl Talk) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.context("epoll fails")?,
        }
        for event in &self.events {
            let at = event.token().0;
            // One that was cut may still have an event on its way.
            let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else { continue };
            connection
                .serve(at, event.is_readable(), &mut self.buffer, talk)
                .with_context(|| format!("connection {at}"))?;
        }
        Ok(())
    }
}

impl Connection {
    fn serve(&mut self, at: usize, readable: bool, buffer: &mut [u8], talk: &mut impl Talk) -> Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                bail!("cannot connect: {error}");
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.stream.set_nodelay(true)?;
            self.stage = if self.is_websocket { Stage::Upgrading } else { Stage::Http };
            if self.stage == Stage::Http {
                talk.opened(at, &mut self.out)?;
            }
        }
        if readable {
            self.read(at, buffer, talk)?;
        }
        self.flush()
    }

    fn read(&mut self, at: usize, buffer: &mut [u8], talk: &mut impl Talk) -> Result<()> {
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => bail!("the server hung up"),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_gone(&error) => bail!("the server hung up: {error}"),
                Err(error) => return Err(error).context("the connection broke"),
            };
            let drained = n < buffer.len();
            if self.rest.is_empty() {
                let used = self.take(at, &buffer[..n], talk)?;
                self.rest.extend_from_slice(&buffer[used..n]);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(&buffer[..n]);
                let used = self.take(at, &whole, talk)?;
                whole.drain(..used);
                self.rest = whole;
            }
            // After a short read, more bytes come with an event of their own.
            if drained {
                return Ok(());
            }
        }
    }

    /// Hands on what is complete, and returns how many bytes that was.
    fn take(&mut self, at: usize, bytes: &[u8], talk: &mut impl Talk) -> Result<usize> {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(head) = http::head(bytes)? else { return Ok(0) };
            let answer = &bytes[..head.bytes];
            let agreed = answer.windows(ACCEPT.len()).any(|window| window == ACCEPT);
            let what = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            ensure!(head.status == 101 && agreed, "the server refuses the websocket: {}", what());
            used = head.bytes;
            self.stage = Stage::Websocket;
            talk.opened(at, &mut self.out)?;
        }
        if self.stage == Stage::Http {
            while let Some(answer) = http::answer(&bytes[used..])? {
                talk.heard(at, answer.status, &bytes[used..][answer.body.clone()], &mut self.out)?;
                used += answer.body.end;
            }
            return Ok(used);
        }
        while let Some(found) = frames::find(&bytes[used..])? {
            let payload = &bytes[used..][found.payload.clone()];
            match found.opcode {
                frames::CLOSE => bail!("the server closed it: {}", close_reason(payload)),
                frames::PING => frames::put(&mut self.out, frames::PONG, payload),
                opcode => talk.heard(at, u16::from(opcode), payload, &mut self.out)?,
            }
            used += found.payload.end;
        }
        Ok(used)
    }

    fn flush(&mut self) -> Result<()> {
        if matches!(self.stage, Stage::Connecting) {
            return Ok(());
        }
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading says why, if the server has.
                Err(error) if is_gone(&error) => written = self.out.len(),
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() && self.out.capacity() > READ_BYTES {
            self.out = Vec::new();
        }
        Ok(())
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn close_reason(payload: &[u8]) -> String {
    let Some((code, reason)) = payload.split_at_checked(2) else { return "without a code".into() };
    format!("{} {}", u16::from_be_bytes([code[0], code[1]]), String::from_utf8_lossy(reason))
}
