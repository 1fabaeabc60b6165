//! `soundoff up`: the whole pipeline in one process, on embedded engines. One plain function builds it from top to
//! bottom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use soundoff_common::guard::Weather;
use soundoff_common::hex::hex;
use soundoff_common::pipeline::deliver::{InternalKey, Judge};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::web::pairing::Pairing;
use soundoff_common::web::secret::Secret;
use soundoff_common::{announce, note};
use soundoff_edge::{Clock, EdgeDeps};
use soundoff_embedded::disk::Disk;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::UpConfig;
use crate::datadir::{self, DataDir, OpsAddress};
use crate::engines::Plan;
use crate::features::{self, Settings};
use crate::node::{Mounted, Node};
use crate::ops::page::{OpsPage, Part, Place};
use crate::ops::{self, Live, Ops};
use crate::pages::{Dev, Site};
use crate::pool::Pool;
use crate::shutdown::{self, Asked};
use crate::{acceptor, lan};

/// How long a drain may take beyond the time that clients have to leave.
const DRAIN_GRACE: Duration = Duration::from_secs(30);
/// This process does everything.
const PARTS: &[Part] = &[Part::Edge, Part::Queues, Part::Timelines, Part::Users];

/// The secret that the data was made under.
fn secret(data: &DataDir, config: &UpConfig) -> anyhow::Result<Secret> {
    let path = config.secret_file.clone().unwrap_or_else(|| data.path().join(datadir::SECRET_FILE));
    // A missing secret is not replaced when there are tables: what they hold was sealed with it.
    let fresh = config.secret_file.is_none() && !data.path().join(datadir::TABLES_FILE).exists();
    let mut secret = datadir::secret(&path, fresh);
    if config.secret_file.is_none() {
        secret = secret
            .context("the data was made under a secret: bring its file back, or begin with another --data");
    }
    let secret = secret?;
    anyhow::ensure!(
        secret.is_root(),
        "{} holds the keys of one role, and `up` does everything: it needs the root",
        path.display()
    );
    Ok(secret)
}

/// Has `/readyz` say what is wrong with the disk.
fn name_when_full(disk: Disk, weather: &Weather) {
    weather.look_at(move || Some(format!("disk: {}", disk.check().err()?)));
}

/// Runs until Ctrl-C or SIGTERM, then drains.
pub(crate) async fn run(config: Box<UpConfig>) -> anyhow::Result<()> {
    let config = *config;
    let listen = config.listen()?;
    config.check()?;
    config.edge_config().validate().context("the edge cannot be run like this")?;
    let public = acceptor::listen(listen, "--listen")?;
    let data = DataDir::hold(&config.data)?;
    let ops_secret = hex(&rand::rng().random::<[u8; 32]>());
    let key = InternalKey::new(ops_secret.as_bytes())?;
    let disk = Disk::open(data.path())?;
    shutdown::when_broken(disk.clone());
    let plan = Plan::embedded(data.path(), &disk, &config);
    let stop = CancellationToken::new();
    let node = Node::open(&plan, secret(&data, &config)?, key, &Tier::ALL).await?;
    let node = node.limited(&config.limits)?.gated(&config.country, &stop).await?;
    let mut node = node.taking(&config.foreign, &stop)?.purging(config.media.purges());
    name_when_full(disk.clone(), &node.engines.weather);
    let ring = node.ring()?.clone();
    let couriers = config.users.couriers()?;
    // One process, one clock.
    let timeline = config.timeline.config(Duration::ZERO)?;
    let features = features::features(Settings {
        timeline: timeline.clone(),
        media: config.media.config(),
        users: Some(couriers.settings(config.users_config()?, &ring, node.foreign.clone(), true)?),
    });
    let pool =
        Arc::new(Pool::new(&node.engines, node.benches(&features, &config.consumer.pulling(), |_| true)?));
    pool.start().await;
    let live = Live::of(&node, Some(pool.clone()), timeline)?;
    let names = node.catalog.queue_names();
    let ops = Arc::new(Ops::new(&node, names, Some(live)));
    let pairing = config.lan.then(|| Pairing::of(&node.engines.secret).map(Arc::new)).transpose()?;
    let dev = Dev::new(&node, &ring, couriers.outbox).paired(pairing.clone());
    let mut mounted = node.pages(&features, Tier::Users)?;
    let operators = OpsPage::start(Place::Up, PARTS, ops.clone(), &node, &stop)?;
    mounted.push(Mounted { paths: &["/ops"], pages: operators });
    let pages = Site::new(mounted, Some(dev), &node, node.upload_place().await?.as_str(), config.door());
    let clock = Clock::alone(node.world.tables.clone(), node.engines.metrics.clone()).await?;
    let edges = Edges::start(&config, node.edge_deps(clock.clone(), Arc::new(pages), None)?).await?;
    node.begin_loops(&features, &stop)?;
    let kept_up = CancellationToken::new();
    node.begin_upkeep(&kept_up);
    tokio::spawn(clock.keep(kept_up.clone()));
    let address = public.local_addr()?;
    let asked = Asked::hear()?;
    let accepting = tokio::spawn(acceptor::deal(public, edges.sockets.clone(), stop.clone()));

    take_commands(&data, ops_secret, node.key.clone(), ops, stop.clone()).await?;

    greet(address, &config, pairing.as_deref(), &edges.internal);
    let signal = asked.came().await;
    note!("{signal}: draining; clients have {} ms to leave", config.drain().as_millis());
    // A drain would wait for what waits for room.
    disk.hurry();
    let drained = tokio::time::timeout(config.drain() + DRAIN_GRACE, async {
        stop.cancel();
        accepting.await??;
        edges.stop().await?;
        pool.stop().await;
        match &node.engines.archive {
            Some(archive) => archive.flush().await.map_err(anyhow::Error::from),
            None => Ok(()),
        }
    });
    let drained = drained
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the drain took too long; nothing accepted is lost")));
    kept_up.cancel();
    node.close().await?;
    drained
}

/// Begins to take operators' commands, and says in the data directory where.
async fn take_commands(
    data: &DataDir,
    secret: String,
    key: InternalKey,
    ops: Arc<Ops>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for operators")?;
    let address = listener.local_addr()?;
    data.announce(&OpsAddress { address, key: secret })?;
    let judge = Judge::new(key, address.to_string().into());
    tokio::spawn(ops::server::serve(listener, judge, ops, stop));
    Ok(())
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
                config.edge_config(),
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

fn greet(listening: SocketAddr, config: &UpConfig, lan: Option<&Pairing>, internal: &[SocketAddr]) {
    // All addresses are none that can be opened.
    let ip = match listening.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listening.port());
    let internal: Vec<_> = internal.iter().map(|address| format!("http://{address}/metrics")).collect();
    announce!("Sound Off is up.");
    announce!("  open       http://{address}/");
    announce!("  console    http://{address}/console  (frames by hand: press Connect, then Send)");
    announce!("  operators  http://{address}/ops");
    announce!("  websocket  ws://{address}/v1/ws");
    if let Some(pairing) = lan {
        lan::greet(listening, pairing);
    }
    announce!("  data       {}", config.data.display());
    announce!("  metrics    {}", internal.join("  "));
    announce!();
    announce!("Ctrl-C stops it; nothing that was accepted is lost.");
}
