//! A server that speaks just enough of the protocol to be seeded, and misbehaves on purpose. Tokens are handles.

mod effects;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What goes wrong, for every n-th `send` of the server; 0 is never.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faults {
    /// It is not an `up` server: there are no tokens.
    pub(crate) no_tokens: bool,
    /// Refused as `rate_limited`.
    pub(crate) rate_limited: u64,
    /// Refused as `overloaded`.
    pub(crate) overloaded: u64,
    /// Accepted and done, but the reply never comes. The n-th only: each costs the client ten seconds.
    pub(crate) lost_reply: u64,
    /// The connection is cut without a word after the effect.
    pub(crate) cut: u64,
    /// `goaway` and close 4001 instead of an answer.
    pub(crate) drain: u64,
    /// It replies that it followed, and does not.
    pub(crate) lie: u64,
    /// Every n-th pong is not a valid one.
    pub(crate) wrong_pong: u64,
    /// Every n-th profile is another user's.
    pub(crate) wrong_profile: u64,
    /// Accepts everything and replies to nothing.
    pub(crate) mute: bool,
    /// The heartbeat in milliseconds; a client that is silent for two is closed. 0 is half a minute, unchecked.
    pub(crate) heartbeat_ms: u64,
    /// The second reply to a message also says that it took effect.
    pub(crate) reply_twice: u64,
    /// The second reply to a message says that it had taken effect before, but with another body.
    pub(crate) reply_otherwise: u64,
    /// After the first number of sends all sockets are cut, and for the second number of milliseconds nobody is
    /// welcomed.
    pub(crate) stall: Option<(u64, u64)>,
    /// Every n-th dm is not pushed,
    pub(crate) dm_lost: u64,
    /// is pushed twice,
    pub(crate) dm_twice: u64,
    /// or after the next one of the same sender to the same recipient.
    pub(crate) dm_late: u64,
    /// Every n-th page of a timeline has scores that are not the sum of their parts.
    pub(crate) bad_page: u64,
    /// The n-th push to each user is left out, and its number with it.
    pub(crate) gap: u64,
}

/// What the server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Who follows whom.
    pub(crate) follows: HashMap<String, HashSet<String>>,
    /// When each user's timeline was computed, and of how many follows.
    timelines: HashMap<String, (usize, u64)>,
    /// `send` frames by type.
    pub(crate) types: HashMap<String, u64>,
    /// Who wrote which post.
    authors: HashMap<String, String>,
    /// Inboxes.
    inboxes: HashMap<String, effects::Inbox>,
    /// Direct messages that will be pushed after the next one between the same two users.
    held: HashMap<(String, String), Value>,
    /// Until when nobody is welcomed, and the sockets that are cut off.
    stalled: Option<Instant>,
    cuts: watch::Sender<u64>,
    /// Effects per user and id.
    done: HashMap<(String, String), Value>,
    /// `send` frames.
    pub(crate) sends: u64,
    /// Heartbeats.
    pub(crate) pings: u64,
    /// Sockets closed for a missing one.
    pub(crate) heartless: u64,
    /// Sockets at the moment, and the most there were.
    open: usize,
    /// The most sockets open at once.
    pub(crate) most_open: usize,
    /// Faults that happened, by name.
    pub(crate) faults: HashMap<&'static str, u64>,
}

/// A running fake.
#[derive(Debug)]
pub(crate) struct Fake {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// What it has seen.
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl Fake {
    /// Starts one.
    pub(crate) async fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (seen, faults) = (shared.clone(), faults.clone());
                tokio::spawn(async move {
                    let mut start = [0u8; 4];
                    while stream.peek(&mut start).await.unwrap_or(4) < 4 {}
                    if &start == b"POST" {
                        tokens(stream, &faults).await;
                    } else {
                        Session { seen, faults, user: String::new() }.serve(stream).await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Its websocket's URL, without a path.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// How many follows it holds.
    pub(crate) fn follow_count(&self) -> usize {
        self.seen.lock().unwrap().follows.values().map(HashSet::len).sum()
    }
}

async fn tokens(mut stream: TcpStream, faults: &Faults) {
    let mut request = Vec::new();
    let body = loop {
        let mut chunk = [0u8; 4096];
        let n = stream.read(&mut chunk).await.unwrap();
        assert!(n > 0, "the request ends early");
        request.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split_once("content-length: ").unwrap().1.lines().next().unwrap().to_owned();
            if body.len() == length.parse::<usize>().unwrap() {
                break body.to_owned();
            }
        }
    };
    let (status, answer) = if faults.no_tokens {
        ("404 Not Found", String::new())
    } else {
        let body: Value = serde_json::from_str(&body).unwrap();
        let handles = body["handles"].as_array().unwrap();
        let tokens: serde_json::Map<String, Value> =
            handles.iter().map(|handle| (handle.as_str().unwrap().to_owned(), handle.clone())).collect();
        ("200 OK", json!({ "tokens": tokens }).to_string())
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// One websocket.
struct Session {
    seen: Arc<Mutex<Seen>>,
    faults: Faults,
    user: String,
}

impl Session {
    #[expect(clippy::result_large_err, reason = "the websocket library's callback has this type")]
    async fn serve(mut self, stream: TcpStream) {
        let speak = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("soundoff.v1"));
            Ok(response)
        };
        let Ok(mut ws) = tokio_tungstenite::accept_hdr_async(stream, speak).await else { return };
        {
            let mut seen = self.seen.lock().unwrap();
            seen.open += 1;
            seen.most_open = seen.most_open.max(seen.open);
        }
        self.talk(&mut ws).await;
        self.seen.lock().unwrap().open -= 1;
    }

    async fn talk(&mut self, ws: &mut WebSocketStream<TcpStream>) {
        let patience = match self.faults.heartbeat_ms {
            0 => Duration::from_secs(60),
            ms => Duration::from_millis(ms * 2),
        };
        let (inbox, mut pushes) = mpsc::unbounded_channel::<Value>();
        let mut cuts = self.seen.lock().unwrap().cuts.subscribe();
        let mut until = Instant::now() + patience;
        loop {
            let next = tokio::select! {
                Some(push) = pushes.recv() => {
                    if push["seq"] != self.faults.gap {
                        let _ = ws.send(Message::text(push.to_string())).await;
                    }
                    continue;
                }
                _ = cuts.changed() => return,
                next = tokio::time::timeout_at(until, ws.next()) => next,
            };
            until = Instant::now() + patience;
            let Ok(next) = next else {
                self.seen.lock().unwrap().heartless += 1;
                return close(ws, 4003).await;
            };
            let Some(Ok(Message::Text(text))) = next else { return };
            let frame: Value = serde_json::from_str(&text).unwrap();
            let answers = match frame["op"].as_str().unwrap() {
                "hello" => {
                    let stalled = self.seen.lock().unwrap().stalled;
                    if let Some(until) = stalled {
                        tokio::time::sleep_until(until).await;
                    }
                    self.welcome(&frame, inbox.clone())
                }
                "ping" => {
                    let mut seen = self.seen.lock().unwrap();
                    seen.pings += 1;
                    let wrong = self.faults.wrong_pong;
                    let wrong = wrong > 0 && seen.pings.is_multiple_of(wrong);
                    vec![if wrong { json!({ "op": "pong", "n": 1 }) } else { json!({ "op": "pong" }) }]
                }
                "ack" => vec![],
                "bye" => return close(ws, 1000).await,
                "send" => match self.answer(&frame) {
                    Ok(answers) => answers,
                    Err(0) => return,
                    Err(code) => {
                        let goaway = json!({ "op": "goaway", "reconnect_after_ms": [1, 50] });
                        let _ = ws.send(Message::text(goaway.to_string())).await;
                        return close(ws, code).await;
                    }
                },
                other => panic!("unexpected op {other}"),
            };
            for answer in answers {
                let _ = ws.send(Message::text(answer.to_string())).await;
            }
        }
    }

    /// The welcome, and what came after the client's cursor.
    fn welcome(&mut self, hello: &Value, socket: mpsc::UnboundedSender<Value>) -> Vec<Value> {
        self.user = hello["token"].as_str().unwrap_or_default().to_owned();
        let mut seen = self.seen.lock().unwrap();
        let inbox = seen.inboxes.entry(self.user.clone()).or_default();
        inbox.tell(socket);
        let cursor = inbox.cursor();
        let missed = hello["cursor"].as_u64().map_or(vec![], |cursor| inbox.after(cursor as usize));
        let heartbeat = if self.faults.heartbeat_ms == 0 { 30_000 } else { self.faults.heartbeat_ms };
        let limits = json!({ "frame_bytes": 32768, "messages_per_second": 1000 });
        let welcome = json!({ "op": "welcome", "session": "s", "user": self.user, "cursor": cursor,
            "heartbeat_ms": heartbeat, "token_expires_at": "2100-01-01T00:00:00.000Z", "limits": limits, "future": [1] });
        [welcome].into_iter().chain(missed).collect()
    }

    /// The answer to a `send`; `Err` is a close code, or 0 for a cut.
    fn answer(&self, frame: &Value) -> Result<Vec<Value>, u16> {
        let mut seen = self.seen.lock().unwrap();
        seen.sends += 1;
        *seen.types.entry(frame["type"].as_str().unwrap().to_owned()).or_default() += 1;
        let sends = seen.sends;
        let mut hits = |name, every: u64| {
            let hit = every > 0 && sends.is_multiple_of(every);
            *seen.faults.entry(name).or_default() += u64::from(hit);
            hit
        };
        let id = frame["id"].as_str().unwrap();
        for (name, every) in
            [("rate_limited", self.faults.rate_limited), ("overloaded", self.faults.overloaded)]
        {
            if hits(name, every) {
                let error = json!({ "code": name, "message": "later", "retry": true, "retry_after_ms": 20 });
                return Ok(vec![json!({ "op": "error", "id": id, "error": error })]);
            }
        }
        if hits("drain", self.faults.drain) {
            return Err(4001);
        }
        let twice = hits("reply_twice", self.faults.reply_twice);
        let otherwise = hits("reply_otherwise", self.faults.reply_otherwise);
        let lost = hits("lost_reply", self.faults.lost_reply) && sends == self.faults.lost_reply;
        let cut = hits("cut", self.faults.cut);
        let lie = hits("lie", self.faults.lie);
        let key = (self.user.clone(), id.to_owned());
        let (body, duplicate) = match seen.done.get(&key) {
            Some(body) => (body.clone(), true),
            None => (self.effect(&mut seen, frame, lie), false),
        };
        seen.done.insert(key, body.clone());
        if let Some((_, ms)) = self.faults.stall.filter(|(send, _)| *send == sends) {
            *seen.faults.entry("stall").or_default() += 1;
            seen.stalled = Some(Instant::now() + Duration::from_millis(ms));
            seen.cuts.send_replace(sends);
            return Err(0);
        }
        if cut {
            return Err(0);
        }
        let mut answers = vec![json!({ "op": "accepted", "id": id, "mid": "01JD0000000000000000000000" })];
        if !lost && !self.faults.mute {
            let mut reply = json!({ "op": "reply", "id": id, "ok": true, "body": body });
            if duplicate {
                reply["duplicate"] = json!(true);
            }
            answers.extend(std::iter::repeat_n(reply, if twice { 2 } else { 1 }));
            if otherwise {
                answers.push(json!({ "op": "reply", "id": id, "ok": true, "body": {}, "duplicate": true }));
            }
        }
        Ok(answers)
    }
}

async fn close(ws: &mut WebSocketStream<TcpStream>, code: u16) {
    let _ = ws.close(Some(CloseFrame { code: code.into(), reason: "so it is".into() })).await;
    while let Some(Ok(_)) = ws.next().await {}
}
