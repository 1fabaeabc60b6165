//! One websocket of one user: connect, hello, frames in and out. It coalesces writes and resends nothing;
//! [`crate::client`] does that.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use soundoff_common::protocol::{CloseCode, ErrorBody, SUBPROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::server::Server;

/// Connecting, the upgrade and the welcome each get this long.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// With this many frames unsent, writing goes before reading, so that a busy reader still sends.
const WRITE_FIRST: usize = 64;

/// Why there is no socket (any more).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The connection broke, or the server did not answer: reconnect.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server closed it and said why. The code decides whether to come back.
    #[error("closed {code}: {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// The server refuses this client for good.
    #[error("{0}")]
    Refused(String),
}

impl End {
    /// Whether the protocol asks to reconnect: for all codes below 4500.
    pub(crate) fn reconnect(&self) -> bool {
        match self {
            End::Lost(_) => true,
            End::Closed { code, .. } => !(4500..5000).contains(code),
            End::Refused(_) => false,
        }
    }

    /// How long the server asked to stay away, when it sheds load.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let End::Closed { code, reason } = self else { return None };
        if *code != CloseCode::Shedding.code() {
            return None;
        }
        let (_, after) = reason.split_once("retry_after_ms")?;
        let digits = after.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok().map(Duration::from_millis)
    }
}

/// The content of a server's frame. Frames of kinds that this client does not need are [`Frame::Other`].
#[derive(Debug)]
pub(crate) enum Frame {
    /// A message is durable.
    Accepted {
        /// The message's id.
        id: String,
    },
    /// A message's outcome.
    Reply {
        /// The message's id.
        id: String,
        /// The body, or the error.
        outcome: Result<Box<RawValue>, ErrorBody>,
        /// It had taken effect before.
        duplicate: bool,
    },
    /// A frame was refused.
    Refused {
        /// The message's id, if the frame had one.
        id: Option<String>,
        /// Why.
        error: ErrorBody,
    },
    /// The heartbeat's answer.
    Pong,
    /// The edge is draining: come back after a random time in this window of milliseconds.
    Goaway([u64; 2]),
    /// An entry of the inbox.
    Push(Push),
    /// Events, and kinds that do not exist yet.
    Other,
}

/// An entry of the user's inbox.
#[derive(Debug)]
pub(crate) struct Push {
    /// Its place in the inbox.
    pub(crate) seq: u64,
    /// What happened.
    pub(crate) push_type: String,
    /// The body for this type.
    pub(crate) body: Box<RawValue>,
}

/// What matters here of a socket's limits: there may be very many sockets.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Limits {
    /// How many messages a second the user may send in the long run.
    pub(crate) messages_per_second: u32,
}

/// The content of `welcome`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome {
    /// How often to ping.
    pub(crate) heartbeat: Duration,
    /// The limits of the socket.
    pub(crate) limits: Limits,
    /// The newest entry of the inbox.
    pub(crate) cursor: u64,
}

/// All fields of all frames that matter here.
#[derive(Deserialize)]
struct Incoming<'a> {
    op: &'a str,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    ok: bool,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorBody>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    heartbeat_ms: Option<u64>,
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    reconnect_after_ms: Option<[u64; 2]>,
    #[serde(default)]
    cursor: u64,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default, rename = "type")]
    push_type: Option<String>,
}

impl Incoming<'_> {
    /// `None` when the frame lacks what its kind needs.
    fn frame(self) -> Option<Frame> {
        Some(match self.op {
            "accepted" => Frame::Accepted { id: self.id? },
            "reply" => {
                let outcome = if self.ok { Ok(self.body?.to_owned()) } else { Err(self.error?) };
                Frame::Reply { id: self.id?, outcome, duplicate: self.duplicate }
            }
            "error" => Frame::Refused { id: self.id, error: self.error? },
            "pong" => Frame::Pong,
            "goaway" => Frame::Goaway(self.reconnect_after_ms?),
            "push" => {
                Frame::Push(Push { seq: self.seq?, push_type: self.push_type?, body: self.body?.to_owned() })
            }
            _ => Frame::Other,
        })
    }
}

/// A `send` frame's text.
pub(crate) fn send_frame(id: &str, message_type: &str, body: &impl Serialize) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Send<'a, B> {
        op: &'a str,
        id: &'a str,
        #[serde(rename = "type")]
        message_type: &'a str,
        body: &'a B,
    }
    json(&Send { op: "send", id, message_type, body })
}

fn json(value: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(value).expect("frames of ours are JSON").into()
}

/// An open socket that has been welcomed.
#[derive(Debug)]
pub(crate) struct Socket {
    ws: WebSocketStream<TcpStream>,
    /// Frames that the websocket has not taken yet.
    outbox: VecDeque<Message>,
    /// Frames it has taken and not written yet.
    unflushed: usize,
    /// The server's answer to the hello.
    pub(crate) welcome: Welcome,
}

impl Socket {
    /// Connects and says hello.
    ///
    /// # Errors
    /// The server refuses this client, or does not run.
    pub(crate) async fn open(server: &Server, token: &str) -> Result<Self, End> {
        Self::open_at(server, token, None).await
    }

    /// As [`Self::open`], and asks for what the inbox got after `cursor`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_at(server: &Server, token: &str, cursor: Option<u64>) -> Result<Self, End> {
        let lost = |e: &dyn std::fmt::Display| End::Lost(e.to_string());
        let stream = within("connect", TcpStream::connect(server.address)).await?.map_err(|e| lost(&e))?;
        stream.set_nodelay(true).map_err(|e| lost(&e))?;
        let refused = |e: WsError| End::Refused(format!("bad URL: {e}"));
        let mut request = server.url.as_str().into_client_request().map_err(refused)?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(small_buffers()));
        let (ws, _) = within("upgrade", upgrade).await?.map_err(ended)?;
        let limits = Limits::default();
        let welcome = Welcome { heartbeat: OPEN_TIMEOUT, limits, cursor: 0 };
        let mut socket = Self { ws, outbox: VecDeque::new(), unflushed: 0, welcome };
        let mut hello = serde_json::json!({ "op": "hello", "token": token });
        if let Some(cursor) = cursor {
            hello["cursor"] = cursor.into();
        }
        socket.send(json(&hello));
        socket.welcome = within("welcome", std::future::poll_fn(|cx| socket.poll_welcome(cx))).await??;
        Ok(socket)
    }

    /// Queues a frame. It is written, together with all other queued frames, when [`Self::poll_frame`] has nothing more
    /// to read.
    pub(crate) fn send(&mut self, text: Utf8Bytes) {
        self.outbox.push_back(Message::Text(text));
    }

    /// Sends a heartbeat.
    pub(crate) fn ping(&mut self) {
        self.send(Utf8Bytes::from_static(r#"{"op":"ping"}"#));
    }

    /// The next frame. Everything that can be read is returned before anything is written, so that answers to many
    /// frames leave in one write.
    ///
    /// # Errors
    /// The socket has ended.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        let text = ready!(self.poll_text(cx))?;
        let frame = serde_json::from_str::<Incoming>(&text).ok().and_then(Incoming::frame);
        let what =
            || End::Refused(format!("the server sent something that is no frame of {SUBPROTOCOL}: {text}"));
        Poll::Ready(frame.ok_or_else(what))
    }

    /// As [`Self::poll_frame`].
    pub(crate) async fn next(&mut self) -> Result<Frame, End> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Acks the inbox up to `cursor`.
    pub(crate) fn ack(&mut self, cursor: u64) {
        self.send(json(&serde_json::json!({ "op": "ack", "cursor": cursor })));
    }

    /// Says goodbye, and waits a moment so that the server has read everything.
    pub(crate) async fn bye(mut self) {
        self.send(Utf8Bytes::from_static(r#"{"op":"bye"}"#));
        let gone = async { while self.next().await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
    }

    fn poll_welcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Welcome, End>> {
        let text = ready!(self.poll_text(cx))?;
        let incoming = serde_json::from_str::<Incoming>(&text).ok();
        let welcome = incoming.filter(|i| i.op == "welcome").and_then(|i| {
            let heartbeat = Duration::from_millis(i.heartbeat_ms?.max(1));
            Some(Welcome { heartbeat, limits: i.limits?, cursor: i.cursor })
        });
        Poll::Ready(welcome.ok_or_else(|| End::Refused(format!("expected a welcome, got {text}"))))
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, End>> {
        if self.outbox.len() + self.unflushed >= WRITE_FIRST {
            self.poll_write(cx)?;
        }
        loop {
            match self.ws.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(Message::Text(text)))) => return Poll::Ready(Ok(text)),
                Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.as_str().to_owned())
                    });
                    // Reading on completes the closing handshake; its result no longer matters.
                    let _ = self.ws.poll_flush_unpin(cx);
                    return Poll::Ready(Err(End::Closed { code, reason }));
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(ended(error))),
                Poll::Ready(None) => return Poll::Ready(Err(End::Lost("the server hung up".into()))),
                Poll::Pending => {
                    self.poll_write(cx)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes as much as the connection takes now; reading goes on in any case.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let mut ws = std::pin::Pin::new(&mut self.ws);
        while !self.outbox.is_empty() {
            match ws.as_mut().poll_ready(cx) {
                Poll::Ready(ready) => ready.map_err(ended)?,
                Poll::Pending => return Ok(()),
            }
            if let Some(message) = self.outbox.pop_front() {
                ws.as_mut().start_send(message).map_err(ended)?;
                self.unflushed += 1;
            }
        }
        if self.unflushed > 0
            && let Poll::Ready(flushed) = ws.poll_flush(cx)
        {
            flushed.map_err(ended)?;
            self.unflushed = 0;
        }
        Ok(())
    }
}

/// The library's defaults hold 128 KiB per socket.
fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(8 * 1024)
}

async fn within<T>(what: &str, step: impl Future<Output = T>) -> Result<T, End> {
    let late = |_| End::Lost(format!("{what} took over {} s", OPEN_TIMEOUT.as_secs()));
    tokio::time::timeout(OPEN_TIMEOUT, step).await.map_err(late)
}

fn ended(error: WsError) -> End {
    match error {
        WsError::Protocol(error @ ProtocolError::SecWebSocketSubProtocolError(_)) => {
            End::Refused(format!("this is no server of {SUBPROTOCOL}: {error}"))
        }
        WsError::Http(response) if response.status().is_client_error() && response.status() != 429 => {
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            End::Refused(format!("the server refuses the upgrade with {}: {body}", response.status()))
        }
        other => End::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Frame, Incoming};

    #[test]
    fn the_close_code_alone_decides_about_coming_back() {
        let closed = |code, reason: &str| End::Closed { code, reason: reason.into() };
        assert!(closed(4001, "").reconnect() && closed(1006, "").reconnect() && closed(4418, "").reconnect());
        assert!(!closed(4500, "").reconnect() && !closed(4505, "").reconnect());
        for reason in ["shedding load; retry_after_ms=1500", r#"{"retry_after_ms":1500,"n":2}"#] {
            let wait = closed(4418, reason).retry_after();
            assert_eq!(wait.map(|w| w.as_millis()), Some(1500), "{reason}");
        }
        assert_eq!(closed(4001, "5000").retry_after(), None);
    }

    #[test]
    fn unknown_frames_and_fields_are_passed_over() {
        let frame = |text| serde_json::from_str::<Incoming>(text).ok().and_then(Incoming::frame);
        assert!(matches!(frame(r#"{"op":"hologram","x":1}"#), Some(Frame::Other)));
        let accepted = frame(r#"{"op":"accepted","id":"7","mid":"01J","later":{}}"#);
        assert!(matches!(accepted, Some(Frame::Accepted { id }) if id == "7"));
        assert!(frame(r#"{"op":"accepted"}"#).is_none());
        assert!(frame("[]").is_none());
    }
}
