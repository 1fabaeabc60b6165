//! A client as an app's developer would write it from docs/protocol.md.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::PATIENCE;

/// Shorter than any repair in the background: edges compare inboxes and renew registrations at most every 15 s.
const BEFORE_HEALING: Duration = Duration::from_secs(10);

/// What came next on a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// A frame.
    Frame(Value),
    /// The server closed, with this code; 1006 when it did so without a close frame.
    Closed(u16, String),
}

/// One socket after its hello.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Frames that came while the test waited for another.
    pub(crate) pending: VecDeque<Value>,
    /// The welcome frame.
    pub(crate) welcome: Value,
    sent: u64,
    prefix: String,
}

/// A websocket without a hello.
pub(crate) async fn connect(address: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{address}/v1/ws");
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

impl Client {
    /// Connects and says hello.
    pub(crate) async fn hello(
        address: &str,
        token: &Value,
        device: Option<&str>,
        cursor: Option<u64>,
    ) -> Self {
        Self::try_hello(address, token, device, cursor)
            .await
            .unwrap_or_else(|next| panic!("no welcome: {next:?}"))
    }

    /// Connects and says hello; an error is what came instead of a welcome.
    pub(crate) async fn try_hello(
        address: &str,
        token: &Value,
        device: Option<&str>,
        cursor: Option<u64>,
    ) -> Result<Self, Next> {
        Self::hello_over(connect(address).await, token, device, cursor).await
    }

    /// Says hello on a connection that may break at any moment.
    pub(crate) async fn hello_on(
        stream: TcpStream,
        token: &Value,
        device: Option<&str>,
        cursor: Option<u64>,
    ) -> Result<Self, Next> {
        let _ = stream.set_nodelay(true);
        let url =
            format!("ws://{}/v1/ws", stream.peer_addr().map_err(|_| Next::Closed(1006, String::new()))?);
        match tokio_tungstenite::client_async(url, stream).await {
            Ok((socket, _)) => Self::hello_over(socket, token, device, cursor).await,
            Err(_) => Err(Next::Closed(1006, String::new())),
        }
    }

    async fn hello_over(
        socket: WebSocketStream<TcpStream>,
        token: &Value,
        device: Option<&str>,
        cursor: Option<u64>,
    ) -> Result<Self, Next> {
        let prefix = ulid::Ulid::generate().to_string();
        let mut client = Self { socket, pending: VecDeque::new(), welcome: Value::Null, sent: 0, prefix };
        client.send(json!({ "op": "hello", "token": token, "device": device, "cursor": cursor })).await;
        match client.next().await {
            Next::Frame(frame) if frame["op"] == "welcome" => {
                client.welcome = frame;
                Ok(client)
            }
            other => Err(other),
        }
    }

    /// Sends a frame. A socket that is closed already shows at the next read.
    pub(crate) async fn send(&mut self, frame: Value) {
        let _ = self.socket.send(Message::text(frame.to_string())).await;
    }

    /// Disappears silently, as a phone without network does; with `reset` the kernel sends RST instead of FIN.
    pub(crate) fn vanish(self, reset: bool) {
        if reset {
            self.socket.get_ref().set_zero_linger().unwrap();
        }
    }

    /// The newest `seq` when it was welcomed.
    pub(crate) fn head(&self) -> u64 {
        self.welcome["cursor"].as_u64().unwrap()
    }

    /// Sends a message under a fresh id; returns the id.
    pub(crate) async fn submit(&mut self, message_type: &str, body: Value) -> String {
        self.sent += 1;
        let id = format!("{}-{}", self.prefix, self.sent);
        self.submit_as(&id, message_type, body).await;
        id
    }

    /// Sends a message under a given id.
    pub(crate) async fn submit_as(&mut self, id: &str, message_type: &str, body: Value) {
        self.send(json!({ "op": "send", "id": id, "type": message_type, "body": body })).await;
    }

    /// The next frame from the wire, whatever it is.
    pub(crate) async fn next(&mut self) -> Next {
        self.next_within(PATIENCE).await.expect("no frame came")
    }

    /// The next frame from the wire, if one comes in time.
    pub(crate) async fn next_within(&mut self, patience: Duration) -> Option<Next> {
        timeout(patience, self.read()).await.ok()
    }

    async fn read(&mut self) -> Next {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Next::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => {
                    // Finish the closing handshake, as browsers do.
                    let _ = timeout(PATIENCE, self.socket.close(None)).await;
                    return Next::Closed(close.code.into(), close.reason.to_string());
                }
                Some(Ok(Message::Close(None))) | Some(Err(_)) | None => {
                    return Next::Closed(1006, String::new());
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// The first frame, pending or new, that `wanted` accepts; others stay pending.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value, Next> {
        if let Some(at) = self.pending.iter().position(&wanted) {
            return Ok(self.pending.remove(at).unwrap());
        }
        loop {
            match self.next().await {
                Next::Frame(frame) if wanted(&frame) => return Ok(frame),
                Next::Frame(frame) => self.pending.push_back(frame),
                closed @ Next::Closed(..) => return Err(closed),
            }
        }
    }

    /// The outcome of a message: its `reply`, or the `error` that refused it.
    pub(crate) async fn outcome(&mut self, id: &str) -> Result<Value, Next> {
        self.until(|f| f["id"] == id && (f["op"] == "reply" || f["op"] == "error")).await
    }

    /// Sends a message and waits for the body of its reply.
    pub(crate) async fn call(&mut self, message_type: &str, body: Value) -> Value {
        let id = self.submit(message_type, body).await;
        let mut reply = self.outcome(&id).await.unwrap();
        assert_eq!(reply["ok"], true, "{message_type}: {reply}");
        reply["body"].take()
    }

    /// Every item of a list, newest first.
    pub(crate) async fn list(&mut self, message_type: &str, mut body: Value) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            body["limit"] = json!(100);
            let mut page = self.call(message_type, body.clone()).await;
            items.append(page["items"].as_array_mut().unwrap());
            if page["next"].is_null() {
                return items;
            }
            body["before"] = page["next"].take();
        }
    }

    /// Sends a message that must fail; returns the error's code.
    pub(crate) async fn refused(&mut self, message_type: &str, body: Value) -> String {
        let id = self.submit(message_type, body).await;
        let outcome = self.outcome(&id).await.unwrap();
        assert_ne!(outcome["ok"], true, "{message_type} was taken: {outcome}");
        outcome["error"]["code"].as_str().unwrap().to_owned()
    }

    /// The next push or event of a type; it must come before a repair in the background would bring it.
    pub(crate) async fn at_once(&mut self, op: &str, frame_type: &str) -> Value {
        let wanted = |frame: &Value| frame["op"] == op && frame["type"] == frame_type;
        let came = timeout(BEFORE_HEALING, self.until(wanted)).await;
        came.unwrap_or_else(|_| panic!("no {op} {frame_type} came")).unwrap()
    }

    /// The next push of a type.
    pub(crate) async fn push(&mut self, push_type: &str) -> Value {
        self.until(|f| f["op"] == "push" && f["type"] == push_type).await.unwrap()
    }

    /// The next event of a type.
    pub(crate) async fn event(&mut self, event_type: &str) -> Value {
        self.until(|f| f["op"] == "event" && f["type"] == event_type).await.unwrap()
    }

    /// Waits for the server to close; returns the code.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Next::Closed(code, _) = self.next().await {
                return code;
            }
        }
    }
}
