//! A server that speaks just enough of the protocol to be seeded, and misbehaves on purpose. Tokens are handles.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use soundoff_common::protocol::{now_ms, rfc3339};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What goes wrong. Every n-th `send` of the server suffers; 0 is never.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faults {
    /// Not an `up` server: there are no tokens.
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
    /// Says it followed and does not.
    pub(crate) lie: u64,
    /// Accepts everything and replies to nothing.
    pub(crate) mute: bool,
    /// The heartbeat in milliseconds; a client that is silent for two is closed. 0 is half a minute, unchecked.
    pub(crate) heartbeat_ms: u64,
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
    /// Effects per user and id.
    done: HashMap<(String, String), Value>,
    /// `send` frames.
    pub(crate) sends: u64,
    /// Heartbeats.
    pub(crate) pings: u64,
    /// Sockets closed for want of one.
    pub(crate) heartless: u64,
    /// Sockets at the moment, and the most there were.
    open: usize,
    /// The most sockets open at once.
    pub(crate) most_open: usize,
    /// Faults that came to pass, by name.
    pub(crate) faults: HashMap<&'static str, u64>,
}

/// A running fake.
#[derive(Debug)]
pub(crate) struct Fake {
    /// Where it listens.
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
        loop {
            let Ok(next) = tokio::time::timeout(patience, ws.next()).await else {
                self.seen.lock().unwrap().heartless += 1;
                return close(ws, 4003).await;
            };
            let Some(Ok(Message::Text(text))) = next else { return };
            let frame: Value = serde_json::from_str(&text).unwrap();
            let answers = match frame["op"].as_str().unwrap() {
                "hello" => self.welcome(&frame),
                "ping" => {
                    self.seen.lock().unwrap().pings += 1;
                    vec![json!({ "op": "pong" })]
                }
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

    fn welcome(&mut self, hello: &Value) -> Vec<Value> {
        self.user = hello["token"].as_str().unwrap().to_owned();
        let heartbeat = if self.faults.heartbeat_ms == 0 { 30_000 } else { self.faults.heartbeat_ms };
        let limits = json!({ "frame_bytes": 32768, "messages_per_second": 1000 });
        vec![
            json!({ "op": "welcome", "session": "s", "user": self.user, "cursor": 0, "heartbeat_ms": heartbeat,
            "token_expires_at": "2100-01-01T00:00:00.000Z", "limits": limits, "future": [1] }),
        ]
    }

    /// What a `send` gets; `Err` is a close code, or 0 for a cut.
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
        let lost = hits("lost_reply", self.faults.lost_reply) && sends == self.faults.lost_reply;
        let cut = hits("cut", self.faults.cut);
        let lie = hits("lie", self.faults.lie);
        let key = (self.user.clone(), id.to_owned());
        let (body, duplicate) = match seen.done.get(&key) {
            Some(body) => (body.clone(), true),
            None => (self.effect(&mut seen, frame, lie), false),
        };
        seen.done.insert(key, body.clone());
        if cut {
            return Err(0);
        }
        let mut answers = vec![json!({ "op": "accepted", "id": id, "mid": "01JD0000000000000000000000" })];
        if !lost && !self.faults.mute {
            let mut reply = json!({ "op": "reply", "id": id, "ok": true, "body": body });
            if duplicate {
                reply["duplicate"] = json!(true);
            }
            answers.push(reply);
        }
        Ok(answers)
    }

    fn effect(&self, seen: &mut Seen, frame: &Value, lie: bool) -> Value {
        let other = frame["body"]["user"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap() {
            "follow.add" => {
                if !lie {
                    seen.follows.entry(self.user.clone()).or_default().insert(other.to_owned());
                }
                json!({ "user": other })
            }
            "follow.remove" => {
                seen.follows.entry(self.user.clone()).or_default().remove(other);
                json!({ "user": other })
            }
            "timeline.fetch" => self.timeline(seen),
            "profile.get" => {
                let following = seen.follows.get(other).map_or(0, HashSet::len);
                let followers = seen.follows.values().filter(|follows| follows.contains(other)).count();
                json!({ "user": { "handle": other, "followers": followers, "following": following } })
            }
            _ => json!({}),
        }
    }

    /// Gathered at once when it has not been computed of the follows of now; that computes it for the next time.
    fn timeline(&self, seen: &mut Seen) -> Value {
        let follows = seen.follows.get(&self.user).map_or(0, HashSet::len);
        let computed = seen.timelines.get(&self.user).filter(|(of, _)| *of == follows);
        let at = computed.map_or_else(now_ms, |(_, at)| *at);
        seen.timelines.insert(self.user.clone(), (follows, at));
        json!({ "items": vec![json!({ "post": {}, "score": 1, "why": {} }); follows.min(20)], "next": null, "computed_at": rfc3339(at) })
    }
}

async fn close(ws: &mut WebSocketStream<TcpStream>, code: u16) {
    let _ = ws.close(Some(CloseFrame { code: code.into(), reason: "so it is".into() })).await;
    while let Some(Ok(_)) = ws.next().await {}
}
