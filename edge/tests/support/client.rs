//! An independent websocket client: `tokio-tungstenite`.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::soon;

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) upgrade: Response,
}

/// What a client sees next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Frame(Value),
    Closed(u16, String),
    /// The connection ended without a close frame.
    Cut,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr, headers: &[(&'static str, &str)]) -> Self {
        Self::try_connect(to, headers).await.expect("an upgrade")
    }

    pub(crate) async fn try_connect(
        to: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{to}/v1/ws").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(to).await?;
        let (socket, upgrade) = soon("an upgrade", tokio_tungstenite::client_async(request, stream)).await?;
        Ok(Self { socket, upgrade })
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn hello(&mut self, token: &str) {
        self.send(&json!({"op": "hello", "token": token})).await;
    }

    pub(crate) async fn see(&mut self) -> Seen {
        loop {
            match soon("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Seen::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Seen::Closed(close.code.into(), close.reason.to_string());
                }
                Some(Ok(Message::Close(None))) => return Seen::Closed(1005, String::new()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Seen::Cut,
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.see().await {
            Seen::Frame(frame) => frame,
            other => panic!("{other:?} instead of a frame"),
        }
    }

    /// The next frame, which must be of this kind.
    pub(crate) async fn expect(&mut self, op: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    /// The next frame must be an error of this code.
    pub(crate) async fn refused(&mut self, code: &str) -> Value {
        let frame = self.expect("error").await;
        assert_eq!(frame["error"]["code"], code, "{frame}");
        frame
    }

    /// Reads until the socket closes; returns the code and the reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.see().await {
                Seen::Closed(code, reason) => return (code, reason),
                Seen::Frame(_) => {}
                Seen::Cut => panic!("cut without a close frame"),
            }
        }
    }

    /// Asks for a pong; returns the frames before it, which were on their way already.
    pub(crate) async fn before_pong(&mut self) -> Vec<Value> {
        self.send(&json!({"op": "ping"})).await;
        let mut before = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame["op"] == "pong" {
                return before;
            }
            before.push(frame);
        }
    }
}
