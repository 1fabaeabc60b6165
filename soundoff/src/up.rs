//! `soundoff up`: the whole pipeline in one process, on embedded adapters. One plain function builds it from top to bottom.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use soundoff_common::catalog::{Catalog, Work};
use soundoff_common::consumer::Job;
use soundoff_common::deliver::InternalKey;
use soundoff_common::handler::Context;
use soundoff_common::hex::hex;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::protocol::now_ms;
use soundoff_common::replies::Replies;
use soundoff_common::secret::Secret;
use soundoff_common::shutdown;
use soundoff_common::telemetry::Metrics;
use soundoff_common::uploads::UploadKey;
use soundoff_common::worker::{Outward, Worker};
use soundoff_edge::EdgeDeps;
use soundoff_embedded::archive::{ArchiveOptions, FileArchive};
use soundoff_embedded::blobs::FileBlobs;
use soundoff_embedded::cache::LocalCache;
use soundoff_embedded::queues::{EmbeddedQueues, Options as QueueOptions};
use soundoff_embedded::sessions::LocalSessions;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use soundoff_media::{Media, MediaConfig, MediaDeps};
use soundoff_router::Router;
use soundoff_timeline::{TimelineDeps, Timelines};
use soundoff_users::{DevTokens, Issuer, Ring, Users, UsersDeps, Verifier};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acceptor;
use crate::chaos::Chaos;
use crate::config::{Couriers, UpConfig};
use crate::datadir::{self, DataDir, OpsAddress};
use crate::ops::{self, Live, Ops};
use crate::pages::UpPages;
use crate::pool::{Bench, Pool};

/// How many accepted sockets wait for an edge that is slow to take them.
const SOCKETS_WAITING: usize = 128;
/// What a drain may take beyond the time that clients have to leave.
const DRAIN_GRACE: Duration = Duration::from_secs(30);
/// How often expired table items and registrations are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The most expired items removed in one transaction.
const SWEEP_ITEMS: usize = 1000;

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
    cache: Arc<LocalCache>,
    archive: Arc<FileArchive>,
    blobs: Arc<FileBlobs>,
    metrics: Metrics,
    secret: Secret,
    uploads: UploadKey,
}

impl Stores {
    fn open(data: &DataDir, names: &[QueueName], config: &UpConfig) -> anyhow::Result<Self> {
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
        Ok(Self {
            uploads: UploadKey::new(&secret.key("media uploads")),
            secret,
            queues: open_queues(data.path(), names, Some(config.queue_bytes))?,
            tables: EmbeddedTables::open(data.path(), &TableOptions::default())?,
            sessions: Arc::new(LocalSessions::new()),
            cache: Arc::new(LocalCache::new(config.cache_bytes)),
            archive: Arc::new(FileArchive::open(data.path(), ArchiveOptions::default())?),
            blobs: Arc::new(FileBlobs::open(data.path())?),
            metrics: Metrics::new(),
        })
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
    config.edge().validate().context("the edge cannot be run like this")?;
    let public = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", config.listen)
    })?;
    let data = DataDir::hold(&config.at.data)?;
    let catalog = Arc::new(crate::catalog::catalog());
    let names = catalog.queue_names();
    let stores = Stores::open(&data, &names, &config)?;
    let ops_secret = hex(&rand::rng().random::<[u8; 32]>());
    let key = InternalKey::new(ops_secret.as_bytes())?;
    let replies = Replies::start(stores.sessions.clone(), key.clone(), stores.metrics.clone());
    let outward =
        Outward { queues: stores.queues.clone(), replies: replies.clone(), catalog: catalog.clone() };
    let timelines = timelines(&config, &stores, &outward)?;
    let ring = Ring::open(stores.tables.clone(), &stores.secret).await?;
    let media = media(&config, &stores, &outward, &ring);
    let pages = pages(&config, &stores, &ring, &replies, &media)?;

    let pool = Arc::new(pool(&config, &catalog, &stores, &outward, (&timelines, &media)));
    pool.start().await;
    let stop = CancellationToken::new();
    let edges = Edges::start(&config, edge_deps(&catalog, &stores, &key, &ring, pages)).await?;
    let (keys, stopping) = (ring.clone(), stop.clone());
    tokio::spawn(async move { keys.keep_fresh(stopping).await });
    let (collector, stopping) = (media.clone(), stop.clone());
    tokio::spawn(async move { collector.run_collector(stopping).await });
    let (schedule, stopping) = (timelines.clone(), stop.clone());
    tokio::spawn(async move { schedule.run_schedule(stopping).await });
    let address = public.local_addr()?;
    let accepting = tokio::spawn(acceptor::deal(public, edges.sockets.clone(), stop.clone()));
    let sweeping = tokio::spawn(sweep(stores.tables.clone(), stores.sessions.clone()));

    let live =
        Live { tables: stores.tables.clone(), replies: replies.clone(), pool: pool.clone(), timelines, ring };
    let answering = Ops { queues: stores.queues.clone(), names, live: Some(live) };
    let ops = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for operators")?;
    data.announce(&OpsAddress { address: ops.local_addr()?, key: ops_secret })?;
    tokio::spawn(ops::server::serve(ops, key, Arc::new(answering), stop.clone()));

    greet(address, &config, &edges.internal);
    let signal = shutdown::asked().await?;
    eprintln!("{signal}: draining; clients have {} ms to leave", config.drain_ms);
    let drained = tokio::time::timeout(Duration::from_millis(config.drain_ms) + DRAIN_GRACE, async {
        stop.cancel();
        accepting.await?;
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

/// The timelines' part of this process.
fn timelines(config: &UpConfig, stores: &Stores, outward: &Outward) -> anyhow::Result<Arc<Timelines>> {
    let deps = TimelineDeps {
        tables: stores.tables.clone(),
        cache: stores.cache.clone(),
        queues: stores.queues.clone(),
        outward: outward.clone(),
        metrics: stores.metrics.clone(),
    };
    Timelines::new(config.timeline.config(), deps).map_err(anyhow::Error::msg)
}

/// The media's part of this process.
fn media(config: &UpConfig, stores: &Stores, outward: &Outward, ring: &Arc<Ring>) -> Arc<Media> {
    let kept = Duration::from_secs(config.media_kept_s);
    let deps = MediaDeps {
        tables: stores.tables.clone(),
        blobs: stores.blobs.clone(),
        outward: outward.clone(),
        verifier: Arc::new(Verifier::new(ring.clone())),
        uploads: stores.uploads.clone(),
        metrics: stores.metrics.clone(),
    };
    Media::new(MediaConfig { kept, ..MediaConfig::default() }, deps)
}

/// The consumers of the router, of every handler and of every job.
fn pool(
    config: &UpConfig,
    catalog: &Arc<Catalog>,
    stores: &Stores,
    outward: &Outward,
    (timelines, media): (&Arc<Timelines>, &Arc<Media>),
) -> Pool {
    let queues: Arc<dyn Queues> = stores.queues.clone();
    let cx = Context {
        tables: stores.tables.clone(),
        sessions: stores.sessions.clone(),
        metrics: stores.metrics.clone(),
        inbox_heads: Arc::default(),
        uploads: Arc::new(stores.uploads.clone()),
    };
    let router = Router::new(catalog.clone(), queues.clone(), stores.archive.clone(), outward.clone());
    let mut benches =
        vec![Bench { queue: QueueName::main(), config: config.router(), job: Arc::new(router) }];
    for spec in catalog.specs() {
        let (mut job, config_of_it): (Arc<dyn Job>, _) = match spec.work {
            Work::Handler(run) => (Arc::new(Worker::new(run, cx.clone(), outward.clone())), config.worker()),
            Work::Job if spec.message_type == soundoff_media::CHECK => media.job(config.worker()),
            Work::Job => timelines.job(&spec.queue, config.worker()),
        };
        if let Some(rule) = config.chaos.iter().find(|rule| rule.message_type == spec.message_type) {
            job = Arc::new(Chaos::new(job, rule, config.chaos_seed));
        }
        benches.push(Bench { queue: spec.queue.clone(), config: config_of_it, job });
    }
    Pool::new(queues, stores.metrics.clone(), benches)
}

/// What the public port answers beside the websocket.
fn pages(
    config: &UpConfig,
    stores: &Stores,
    ring: &Arc<Ring>,
    replies: &Replies,
    media: &Arc<Media>,
) -> anyhow::Result<UpPages> {
    let Couriers { mail, texts, outbox } = config.users.couriers()?;
    let deps = UsersDeps {
        tables: stores.tables.clone(),
        replies: replies.clone(),
        ring: ring.clone(),
        secret: stores.secret.clone(),
        mail,
        texts,
        metrics: stores.metrics.clone(),
    };
    let users = Users::new(config.users.config()?, deps);
    let tokens = DevTokens::new(stores.tables.clone(), Issuer::new(ring.clone()));
    Ok(UpPages { users, media: media.clone(), tokens, outbox })
}

fn edge_deps(
    catalog: &Arc<Catalog>,
    stores: &Stores,
    key: &InternalKey,
    ring: &Arc<Ring>,
    pages: UpPages,
) -> EdgeDeps {
    EdgeDeps {
        queues: stores.queues.clone(),
        sessions: stores.sessions.clone(),
        tables: stores.tables.clone(),
        catalog: catalog.clone(),
        verifier: Arc::new(Verifier::new(ring.clone())),
        key: key.clone(),
        metrics: stores.metrics.clone(),
        pages: Arc::new(pages),
    }
}

/// The running edges.
struct Edges {
    sockets: Vec<mpsc::Sender<tokio::net::TcpStream>>,
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
            let (to_edge, from_acceptor) = mpsc::channel(SOCKETS_WAITING);
            let edge = soundoff_edge::run(
                from_acceptor,
                listener,
                address.to_string(),
                config.edge(),
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
    println!("  data       {}", config.at.data.display());
    println!("  metrics    {}", internal.join("  "));
    println!();
    println!("Try it: open the page above, or");
    println!(r#"  T=$(curl -s http://{address}/dev/tokens -d '{{"handles":["alice"]}}' | cut -d'"' -f6)"#);
    println!(r#"  websocat -H "Authorization: Bearer $T" ws://{address}/v1/ws"#);
    println!(r#"  {{"op":"hello"}}"#);
    println!(r#"  {{"op":"send","id":"1","type":"post.create","body":{{"text":"hello, world"}}}}"#);
    println!();
    println!("Ctrl-C stops it; nothing that was accepted is lost.");
}
