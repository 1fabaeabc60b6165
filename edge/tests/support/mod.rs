//! An edge on small in-memory ports that tests can hold, make fail and inspect.
#![expect(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod client;
pub(crate) mod ports;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use soundoff_common::guard::Weather;
use soundoff_common::model::gate::Keeper;
use soundoff_common::pipeline::catalog::{Catalog, Spec};
use soundoff_common::pipeline::deliver::{DELIVER_PATH, DeliverAnswer, InternalKey, SIGNED_HEADER, Signer};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Source};
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::memory::MemoryCache;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{Answer, whole};
use soundoff_common::web::pages::Pages;
use soundoff_edge::{Clock, EdgeConfig, EdgeDeps};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::Client;
use ports::{FakeQueues, FakeSessions, FakeTables, FakeVerifier};

pub(crate) const SECRET: [u8; 32] = [7; 32];
/// How long a test waits for what must happen. Long, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

struct Note<const INTERNAL: bool>;

impl<const INTERNAL: bool> MessageType for Note<INTERNAL> {
    const TYPE: &'static str = if INTERNAL { "note.internal" } else { "note.add" };
    const SUMMARY: &'static str = "a note";
    const SOURCE: Source = if INTERNAL { Source::Internal } else { Source::Client };
    type Body = Value;
    type Reply = ();

    async fn handle(_: &Context, _: &Request<Value>) -> Result<Outcome<()>, Failure> {
        Ok(Outcome::read(()))
    }
}

struct NoPages;

#[async_trait]
impl Pages for NoPages {
    async fn answer(&self, request: hyper::Request<hyper::body::Incoming>) -> Answer {
        let page = match request.uri().path() {
            "/large" => "x".repeat(16 << 20),
            path => format!("page {} {path}", request.method()),
        };
        whole(hyper::Response::new(Full::new(Bytes::from(page))))
    }
}

/// What an edge depends on; two edges may share one.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) queues: Arc<FakeQueues>,
    pub(crate) sessions: Arc<FakeSessions>,
    pub(crate) tables: Arc<FakeTables>,
    pub(crate) gate: Keeper,
    pub(crate) cache: Arc<MemoryCache>,
}

/// The clock of an edge, on tables of its own: those of the world may be told to fail before the edge starts.
async fn clock(metrics: &Metrics) -> Arc<Clock> {
    Clock::alone(Arc::new(FakeTables::default()), metrics.clone()).await.unwrap()
}

/// Notes that clients and only we send, and two more: one that can be missed, and one that keeps people safe.
fn catalog() -> Catalog {
    let note = |message_type, queue, terms| {
        let spec = Spec { message_type, terms, ..Spec::of::<Note<false>>() };
        spec.on(queue)
    };
    Catalog::new(vec![
        Spec::of::<Note<false>>(),
        Spec::of::<Note<true>>(),
        note("note.peek", "note_peek_q", Terms::USUAL.sheddable()),
        note("note.guard", "note_guard_q", Terms::USUAL.critical()),
    ])
}

/// A running edge.
pub(crate) struct Stand {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
    boot: OnceLock<Arc<str>>,
}

/// Short times, so that no test waits long; long enough that a busy machine meets them.
pub(crate) fn config() -> EdgeConfig {
    EdgeConfig {
        linger: Duration::from_millis(500),
        drain_window: Duration::from_millis(50),
        drain_deadline: Duration::from_secs(20),
        goaway: (Duration::from_millis(10), Duration::from_millis(40)),
        ..EdgeConfig::default()
    }
}

pub(crate) async fn stand() -> Stand {
    stand_with(config(), World::default()).await
}

pub(crate) async fn stand_with(config: EdgeConfig, world: World) -> Stand {
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let internal = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, internal_address) = (public.local_addr().unwrap(), internal.local_addr().unwrap());
    let metrics = Metrics::new();
    let deps = EdgeDeps {
        queues: world.queues.clone(),
        sessions: world.sessions.clone(),
        cache: world.cache.clone(),
        tables: world.tables.clone(),
        clock: clock(&metrics).await,
        catalog: Arc::new(catalog()),
        verifier: Arc::new(FakeVerifier),
        replies: Replies::start(
            world.sessions.clone(),
            InternalKey::new(&SECRET).unwrap(),
            Weather::new(metrics.clone()),
        ),
        key: InternalKey::new(&SECRET).unwrap(),
        metrics: metrics.clone(),
        weather: Weather::new(metrics.clone()),
        gate: world.gate.clone(),
        pages: Arc::new(NoPages),
        internal_pages: None,
    };
    let (deal, sockets) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = public.accept().await {
            let stream = stream.into_std().expect("a connection of ours");
            if deal.send(stream).await.is_err() {
                return;
            }
        }
    });
    let stop = CancellationToken::new();
    let advertise = internal_address.to_string();
    let running = tokio::spawn(soundoff_edge::run(sockets, internal, advertise, config, deps, stop.clone()));
    Stand { world, address, internal: internal_address, metrics, stop, running, boot: OnceLock::new() }
}

pub(crate) fn handle(name: &str) -> Handle {
    name.parse().unwrap()
}

/// A token that is valid for an hour.
pub(crate) fn token(user: &str) -> String {
    token_until(user, now_ms() / 1000 + 3600)
}

pub(crate) fn token_until(user: &str, expires_at: u64) -> String {
    format!("good:{user}:{expires_at}")
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "never came true: {what}");
}

/// Waits for a future, but not forever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never came: {what}"),
    }
}

/// One HTTP request on its own connection; returns status, head and body.
pub(crate) async fn http(to: SocketAddr, head: &str, body: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may hang up on a large body.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = soon("an HTTP answer", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (status, head.to_owned(), body.to_owned())
}

/// A plain request of deliveries.
pub(crate) fn plain(signed: &str, body: &[u8]) -> Vec<u8> {
    let fields = format!("{SIGNED_HEADER}: {signed}\r\ncontent-length: {}", body.len());
    [format!("POST {DELIVER_PATH} HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n").as_bytes(), body].concat()
}

/// The next answer on a kept connection: status and body.
pub(crate) async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match soon("an answer", stream.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => return (0, String::new()),
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, rest) = head.split_once("content-length: ").expect("a length");
    let mut body = vec![0; rest.split("\r\n").next().unwrap().parse().unwrap()];
    soon("a body", stream.read_exact(&mut body)).await.unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

impl Stand {
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address, &[]).await
    }

    /// A socket that has said hello and read its welcome.
    pub(crate) async fn welcomed(&self, user: &str) -> Client {
        self.world.tables.add_user(user);
        let mut client = self.connect().await;
        let before = self.world.queues.announced(user).len();
        client.send(&json!({"op": "hello", "token": token(user)})).await;
        client.expect("welcome").await;
        // From then on nothing of the hello is in flight.
        until("the hello is announced", || self.world.queues.announced(user).len() > before).await;
        client
    }

    /// The same for a named device with a cursor; also returns the welcome.
    pub(crate) async fn device(&self, user: &str, device: &str, cursor: Option<u64>) -> (Client, Value) {
        self.world.tables.add_user(user);
        let mut client = self.connect().await;
        client.send(&json!({"op": "hello", "token": token(user), "device": device, "cursor": cursor})).await;
        let welcome = client.expect("welcome").await;
        (client, welcome)
    }

    /// The key that this edge and its workers share.
    pub(crate) fn key(&self) -> InternalKey {
        InternalKey::new(&SECRET).unwrap()
    }

    /// This edge's boot id, from the first of its registrations.
    pub(crate) fn boot(&self) -> Arc<str> {
        let find = || {
            let ours = self.internal.to_string();
            let all = self.world.sessions.all();
            all.into_iter().find(|(_, r)| *r.edge == *ours).expect("a registration of this edge").1.boot
        };
        self.boot.get_or_init(find).clone()
    }

    /// What a worker says who delivers here, for the first time.
    pub(crate) fn signed(&self, body: &[u8]) -> Vec<u8> {
        let signed = Signer::new(self.key(), self.boot()).sign("POST", DELIVER_PATH, body, now_ms());
        plain(&signed, body)
    }

    /// Sends bytes to the internal port on a connection of their own; returns status and body of the answer.
    pub(crate) async fn say(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.internal).await.unwrap();
        // Who is refused early may see the connection end before all is written.
        let _ = stream.write_all(bytes).await;
        answer(&mut stream).await
    }

    /// Delivers to this edge; returns the status.
    pub(crate) async fn post(&self, deliveries: &[Value]) -> (u16, Option<DeliverAnswer>) {
        let body = serde_json::to_vec(&json!({ "deliveries": deliveries })).unwrap();
        let (status, answer) = self.say(&self.signed(&body)).await;
        (status, serde_json::from_str(&answer).ok())
    }

    /// Delivers to this edge; returns which users were missing.
    pub(crate) async fn deliver(&self, deliveries: &[Value]) -> Vec<(usize, Handle)> {
        let (status, answer) = self.post(deliveries).await;
        assert_eq!(status, 200);
        answer.unwrap().missing
    }

    /// Appends to a user's inbox and delivers the push, as workers do; returns its seq.
    pub(crate) async fn push(&self, user: &str, text: &str) -> u64 {
        let seq = self.world.tables.append(user, text).await;
        self.deliver(&[push_of(user, seq, text)]).await;
        seq
    }
}

pub(crate) fn push_of(user: &str, seq: u64, text: &str) -> Value {
    let frame = json!({"op": "push", "seq": seq, "type": "note", "mid": "m", "body": {"text": text}});
    json!({"kind": "push", "to": [user], "seq": seq, "frame": frame})
}

pub(crate) fn event_of(user: &str, body: &Value) -> Value {
    json!({"kind": "event", "to": [user], "frame": {"op": "event", "type": "typing", "body": body}})
}

pub(crate) fn note(id: &str) -> Value {
    note_of("note.add", id)
}

pub(crate) fn note_of(message_type: &str, id: &str) -> Value {
    json!({"op": "send", "id": id, "type": message_type, "body": {"text": id}})
}
