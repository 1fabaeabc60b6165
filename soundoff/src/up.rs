//! `soundoff up`: the whole pipeline in one process, on embedded adapters. One plain function builds it from top to bottom.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use soundoff_common::catalog::Spec;
use soundoff_common::deliver::InternalKey;
use soundoff_common::hex::hex;
use soundoff_common::ports::archive::Archive as _;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::now_ms;
use soundoff_common::shutdown;
use soundoff_common::telemetry::Metrics;
use soundoff_edge::EdgeDeps;
use soundoff_embedded::archive::{ArchiveOptions, FileArchive};
use soundoff_embedded::blobs::FileBlobs;
use soundoff_embedded::cache::LocalCache;
use soundoff_embedded::queues::{EmbeddedQueues, Options as QueueOptions};
use soundoff_embedded::sessions::LocalSessions;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use soundoff_timeline::Timelines;
use soundoff_users::Ring;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acceptor;
use crate::config::UpConfig;
use crate::datadir::{self, DataDir, OpsAddress};
use crate::node::{Engines, Node, upload_key};
use crate::ops::page::{OpsPage, Part, Place};
use crate::ops::{self, Live, Ops};
use crate::pages::{Dev, Site};
use crate::pool::Pool;

/// What a drain may take beyond the time that clients have to leave.
const DRAIN_GRACE: Duration = Duration::from_secs(30);
/// How often expired table items and registrations are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The most expired items removed in one transaction.
const SWEEP_ITEMS: usize = 1000;

/// All of it.
const PARTS: &[Part] = &[Part::Edge, Part::Queues, Part::Timelines, Part::Users];

/// Opens the queues of a data directory.
pub(crate) fn open_queues(
    data: &Path,
    names: &[QueueName],
    live_bytes: Option<u64>,
) -> anyhow::Result<Arc<EmbeddedQueues>> {
    let mut options = QueueOptions::default();
    options.live_bytes = live_bytes.unwrap_or(options.live_bytes);
    EmbeddedQueues::open(&data.join("queues"), names, options)
}

/// The stores of one data directory.
struct Stores {
    queues: Arc<EmbeddedQueues>,
    tables: Arc<EmbeddedTables>,
    sessions: Arc<LocalSessions>,
    archive: Arc<FileArchive>,
    blobs: Arc<FileBlobs>,
    engines: Engines,
}

impl Stores {
    fn open(data: &DataDir, config: &UpConfig) -> anyhow::Result<Self> {
        let secret = match &config.secret_file {
            Some(path) => datadir::secret(path, false)?,
            // Never made anew beside tables: what they hold was sealed with the one that is missing.
            None => {
                let fresh = !data.path().join("tables.redb").exists();
                let secret = datadir::secret(&data.path().join("secret.key"), fresh);
                secret.context(
                    "the data was made under a secret: bring its file back, or begin with another --data",
                )?
            }
        };
        let names = crate::catalog::catalog().queue_names();
        let queues = open_queues(data.path(), &names, Some(config.queue_bytes))?;
        let tables = EmbeddedTables::open(data.path(), &TableOptions::default())?;
        let sessions = Arc::new(LocalSessions::new());
        let archive = Arc::new(FileArchive::open(data.path(), ArchiveOptions::default())?);
        let engines = Engines {
            queues: queues.clone(),
            tables: tables.clone(),
            sessions: sessions.clone(),
            cache: Arc::new(LocalCache::new(config.cache_bytes)),
            uploads: Arc::new(upload_key(&secret)),
            metrics: Metrics::new(),
            secret,
        };
        let blobs = Arc::new(FileBlobs::open(data.path())?);
        Ok(Self { queues, tables, sessions, archive, blobs, engines })
    }
}

/// Runs until Ctrl-C or SIGTERM, then drains.
pub(crate) async fn run(config: Box<UpConfig>) -> anyhow::Result<()> {
    let config = *config;
    anyhow::ensure!(
        config.listen.ip().is_loopback(),
        "`up` gives tokens to whoever asks, so it listens on loopback only; {} is not",
        config.listen
    );
    config.edge.config(config.drain()).validate().context("the edge cannot be run like this")?;
    let public = acceptor::listen(config.listen, "--listen")?;
    let data = DataDir::hold(&config.data)?;
    let stores = Stores::open(&data, &config)?;
    let ops_secret = hex(&rand::rng().random::<[u8; 32]>());
    let node = Node::new(stores.engines.clone(), InternalKey::new(ops_secret.as_bytes())?);
    // One process, one clock.
    let timelines = node.timelines(config.timeline.config(Duration::ZERO))?;
    let ring = node.ring().await?;
    let media = node.media(&config.media, stores.blobs.clone(), &ring);
    let couriers = config.users.couriers()?;
    let mut benches = vec![node.router(&config.consumer, stores.archive.clone())];
    let job = |spec: &Spec, base| {
        media.job(spec.message_type, base).unwrap_or_else(|| timelines.job(&spec.queue, base))
    };
    benches.extend(node.consumers(&config.consumer, |_| true, job));
    let pool = Arc::new(node.pool(benches));
    pool.start().await;
    let stop = CancellationToken::new();
    let ops = operators(&node, &pool, &timelines, &ring);
    let (users, tokens) = node.users(&config.users, &couriers, true, &ring)?;
    let dev = Some(Dev { tokens, outbox: couriers.outbox });
    let pages = Site::new(users, media.clone(), dev, node.upload_place().await?.as_str());
    let pages = pages.with_ops(OpsPage::start(Place::Up, PARTS, ops.clone(), &node.engines, &stop));
    let edges = Edges::start(&config, node.edge_deps(&ring, Arc::new(pages), None)).await?;
    // What goes on by itself: keys are renewed, media collected, timelines looked through.
    tokio::spawn(ring.keep_fresh(stop.clone()));
    tokio::spawn(media.run_collector(stop.clone()));
    tokio::spawn(timelines.run_schedule(stop.clone()));
    let address = public.local_addr()?;
    let accepting = tokio::spawn(acceptor::deal(public, edges.sockets.clone(), stop.clone()));
    let sweeping = tokio::spawn(sweep(stores.tables.clone(), stores.sessions.clone()));

    let commands = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for operators")?;
    data.announce(&OpsAddress { address: commands.local_addr()?, key: ops_secret })?;
    tokio::spawn(ops::server::serve(commands, node.key.clone(), ops, stop.clone()));

    greet(address, &config, &edges.internal);
    let signal = shutdown::asked().await?;
    eprintln!("{signal}: draining; clients have {} ms to leave", config.drain().as_millis());
    let drained = tokio::time::timeout(config.drain() + DRAIN_GRACE, async {
        stop.cancel();
        accepting.await??;
        edges.stop().await?;
        pool.stop().await;
        stores.archive.flush().await.map_err(anyhow::Error::from)
    });
    let drained = drained
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the drain took too long; nothing accepted is lost")));
    sweeping.abort();
    let queues = stores.queues.clone();
    tokio::task::spawn_blocking(move || queues.close()).await?;
    drained
}

/// What answers operators, by command and on their page.
fn operators(node: &Node, pool: &Arc<Pool>, timelines: &Arc<Timelines>, ring: &Arc<Ring>) -> Arc<Ops> {
    let live = Live {
        tables: node.engines.tables.clone(),
        replies: node.replies.clone(),
        pool: Some(pool.clone()),
        timelines: timelines.clone(),
        ring: ring.clone(),
    };
    let names = node.catalog.queue_names();
    Arc::new(Ops { queues: node.engines.queues.clone(), names, live: Some(live) })
}

/// The running edges.
struct Edges {
    sockets: Vec<mpsc::Sender<std::net::TcpStream>>,
    internal: Vec<SocketAddr>,
    running: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Edges {
    async fn start(config: &UpConfig, deps: EdgeDeps) -> anyhow::Result<Self> {
        let (mut sockets, mut internal, mut running) = (Vec::new(), Vec::new(), JoinSet::new());
        let stop = CancellationToken::new();
        for _ in 0..config.edges {
            let listener =
                TcpListener::bind("127.0.0.1:0").await.context("cannot bind an edge's internal port")?;
            let address = listener.local_addr()?;
            let (to_edge, from_acceptor) = mpsc::channel(acceptor::SOCKETS_WAITING);
            let edge = soundoff_edge::run(
                from_acceptor,
                listener,
                address.to_string(),
                config.edge.config(config.drain()),
                deps.clone(),
                stop.clone(),
            );
            running.spawn(edge);
            sockets.push(to_edge);
            internal.push(address);
        }
        Ok(Self { sockets, internal, running, stop })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.context("an edge broke")??;
        }
        Ok(())
    }
}

/// Removes what has expired, for as long as the process runs.
async fn sweep(tables: Arc<EmbeddedTables>, sessions: Arc<LocalSessions>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        for _ in 0..LocalSessions::SWEEPS_PER_ROUND {
            sessions.sweep();
        }
        // As many batches as there is work for: what expires must not come faster than it goes.
        loop {
            match tables.sweep(now_ms() / 1000, SWEEP_ITEMS).await {
                Ok(removed) if removed == SWEEP_ITEMS => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot sweep expired items");
                    break;
                }
            }
        }
    }
}

fn greet(address: SocketAddr, config: &UpConfig, internal: &[SocketAddr]) {
    let internal: Vec<_> = internal.iter().map(|address| format!("http://{address}/metrics")).collect();
    println!("Sound Off is up.");
    println!("  open       http://{address}/");
    println!("  websocket  ws://{address}/v1/ws");
    println!("  data       {}", config.data.display());
    println!("  metrics    {}", internal.join("  "));
    println!("  operators  http://{address}/ops");
    println!();
    println!("Try it: open the page above, or");
    println!(r#"  T=$(curl -s http://{address}/dev/tokens -d '{{"handles":["alice"]}}' | cut -d'"' -f6)"#);
    println!(r#"  websocat -H "Authorization: Bearer $T" ws://{address}/v1/ws"#);
    println!(r#"  {{"op":"hello"}}"#);
    println!(r#"  {{"op":"send","id":"1","type":"post.create","body":{{"text":"hello, world"}}}}"#);
    println!();
    println!("Ctrl-C stops it; nothing that was accepted is lost.");
}
