//! The cost of an idle socket: opens many from a second process, says hello and pings once on each, and prints the
//! server's resident memory for each socket.
//!
//! `cargo run --release -p soundoff-edge --example idle_memory -- [SOCKETS]` (5,000 by default; mind the limit on open
//! files).

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::guard::Weather;
use soundoff_common::model::gate::Keeper;
use soundoff_common::model::sign_ins;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::memory::MemoryCache;
use soundoff_common::ports::queues::{
    DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};
use soundoff_common::ports::tokens::{Claims, Token, TokenError, TokenVerifier};
use soundoff_common::protocol::{Handle, Role};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::http::{Answer, whole};
use soundoff_common::web::pages::Pages;
use soundoff_edge::{Clock, EdgeConfig, EdgeDeps};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// Ports that remember nothing, so that the memory measured is the edge's own. They are no fakes of the ports: they
/// break the ports' laws.
struct Nothing;

#[async_trait]
impl Queues for Nothing {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        vec![Ok(()); batch.len()]
    }
    async fn receive(
        &self,
        _: &QueueName,
        _: usize,
        _: Duration,
        _: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        Ok(Vec::new())
    }
    async fn ack(&self, _: &QueueName, _: Vec<Receipt>) -> Result<(), QueueError> {
        Ok(())
    }
    async fn extend(&self, _: &QueueName, _: Vec<Receipt>, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }
    async fn give_back(&self, _: &QueueName, _: Vec<Receipt>) -> Result<(), QueueError> {
        Ok(())
    }
    async fn bury(&self, _: &QueueName, _: Receipt, _: &str) -> Result<(), QueueError> {
        Ok(())
    }
    async fn depth(&self, _: &QueueName) -> Result<Depth, QueueError> {
        Ok(Depth::default())
    }
    async fn dead_letters(&self, _: &QueueName, _: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(Vec::new())
    }
    async fn redrive(&self, _: &QueueName, _: usize) -> Result<usize, QueueError> {
        Ok(0)
    }
}

#[async_trait]
impl Sessions for Nothing {
    async fn put_many(&self, _: &[(Handle, Registration)], _: Duration) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        Ok(vec![Vec::new(); handles.len()])
    }
    async fn remove(&self, _: &Handle, _: &Registration) -> Result<bool, Unavailable> {
        Ok(true)
    }
}

/// Every user exists, and every sign-in, whose number spells its user.
fn answer(table: Table, key: &Key) -> Option<Item> {
    if table == Table::Users {
        return Some(Item::new());
    }
    let session: Ulid = key.pk.strip_prefix("sign-in#")?.parse().ok()?;
    let user = session.to_bytes();
    Some(Item::new().with(sign_ins::attribute::USER, std::str::from_utf8(&user).ok()?.trim_end_matches('\0')))
}

#[async_trait]
impl Tables for Nothing {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        Ok(keys.iter().map(|(table, key)| answer(*table, key)).collect())
    }
    async fn write(&self, _: Vec<Write>) -> Result<(), TableError> {
        Ok(())
    }
    async fn query(&self, _: Query) -> Result<Page, TableError> {
        Ok(Page::default())
    }
    async fn scan(
        &self,
        _: Table,
        _: u32,
        _: u32,
        _: Option<Key>,
        _: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        Ok(Vec::new())
    }
}

impl TokenVerifier for Nothing {
    fn verify(&self, token: &str, _: u64) -> Result<Token, TokenError> {
        let user: Handle = token.parse().map_err(|_| TokenError::Invalid)?;
        let mut session = [0; 16];
        session[..token.len()].copy_from_slice(token.as_bytes());
        let session = Ulid::from_bytes(session);
        let expires_at = u64::MAX / 2000;
        Ok(Token::Ours(Claims { user, session, role: Role::User, expires_at }))
    }
}

#[async_trait]
impl Pages for Nothing {
    async fn answer(&self, _: hyper::Request<hyper::body::Incoming>) -> Answer {
        whole(hyper::Response::default())
    }
}

fn resident_kb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).ok_or_else(|| anyhow::anyhow!("no VmRSS"))
}

/// A masked text frame with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("short")];
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

fn read_until(stream: &mut std::net::TcpStream, end: &str) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&seen).contains(end) {
        let n = stream.read(&mut buffer)?;
        anyhow::ensure!(n > 0, "the server hung up");
        seen.extend_from_slice(&buffer[..n]);
    }
    Ok(())
}

/// The second process: holds the sockets until its input ends.
fn clients(address: &str, count: usize) -> anyhow::Result<()> {
    let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut sockets = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(upgrade.as_bytes())?;
        read_until(&mut stream, "\r\n\r\n")?;
        stream.write_all(&frame(&format!(r#"{{"op":"hello","token":"user{n}"}}"#)))?;
        read_until(&mut stream, "welcome")?;
        stream.write_all(&frame(r#"{"op":"ping"}"#))?;
        read_until(&mut stream, "pong")?;
        sockets.push(stream);
    }
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn serve(count: usize) -> anyhow::Result<()> {
    let (public, internal) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let address = public.local_addr()?.to_string();
    let nothing = Arc::new(Nothing);
    let metrics = Metrics::new();
    let deps = EdgeDeps {
        queues: nothing.clone(),
        sessions: nothing.clone(),
        cache: Arc::new(MemoryCache::default()),
        tables: nothing.clone(),
        clock: Clock::alone(nothing.clone(), metrics.clone()).await?,
        catalog: Arc::new(Catalog::new(Vec::new())),
        verifier: nothing.clone(),
        replies: Replies::start(nothing.clone(), InternalKey::new(&[7; 32])?, Weather::new(metrics.clone())),
        key: InternalKey::new(&[7; 32])?,
        weather: Weather::new(metrics.clone()),
        metrics,
        gate: Keeper::default(),
        pages: nothing,
        internal_pages: None,
    };
    let config =
        EdgeConfig { heartbeat: Duration::from_secs(3600), tokens_cached: 64, ..EdgeConfig::default() };
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
    let running =
        tokio::spawn(soundoff_edge::run(sockets, internal, String::new(), config, deps, stop.clone()));
    let myself = std::env::current_exe()?;
    let mut last = (0, resident_kb()?);
    // The first hundred warm up what every process pays once.
    let mut children = Vec::new();
    for (total, add) in [(100, 100), (count + 100, count)] {
        let mut child = Command::new(&myself)
            .args(["clients", &address, &add.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
        tokio::task::spawn_blocking(move || std::io::BufReader::new(output).lines().next()).await?;
        let now = resident_kb()?;
        let per_socket = (now as f64 - last.1 as f64) / (total - last.0) as f64;
        println!("{total:6} sockets: {now:7} KB resident, {per_socket:.2} KB per added socket");
        last = (total, now);
        children.push(child);
    }
    for child in &mut children {
        drop(child.stdin.take());
        child.wait()?;
    }
    stop.cancel();
    running.await?
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: Option<&String>| text.map_or(Ok(5000), |text| text.parse::<usize>());
    if args.first().is_some_and(|arg| arg == "clients") {
        return clients(&args[1], number(args.get(2))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(number(args.first())?))
}
