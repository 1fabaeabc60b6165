//! The roles of a deployment, one for each process, on managed engines: each is a plain function from top to bottom.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::web::pages::Pages as _;
use soundoff_common::{announce, note};
use soundoff_edge::{Clock, EdgeConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{EdgeRole, NodeArgs, RouterRole, TimelineRole, UsersRole, WorkersRole};
use crate::engines::Plan;
use crate::features::{self, Settings};
use crate::health::{self, Health, Needs};
use crate::node::Node;
use crate::ops::Ops;
use crate::ops::page::{OpsPage, Part, Place};
use crate::pages::{Dev, NoPages, Site};
use crate::pool::{Bench, Pool};
use crate::shutdown::Asked;
use crate::{acceptor, engines, serve};

/// How far the clocks of a deployment's machines may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(1);
/// How long a drain may take beyond the time that is configured for it.
const GRACE: Duration = Duration::from_secs(10);

/// The operators' page of a process that does these `parts` and pulls the queues `names`.
fn ops_page(
    node: &Node,
    parts: &'static [Part],
    names: Vec<QueueName>,
    stop: &CancellationToken,
) -> anyhow::Result<Arc<OpsPage>> {
    let ops = Arc::new(Ops::new(node, names, None));
    OpsPage::start(Place::Deployment, parts, ops, node, stop)
}

/// Waits until the process is asked to stop, then for `drain`, but not forever.
async fn until_stopped(
    asked: Asked,
    args: &NodeArgs,
    stop: &CancellationToken,
    drain: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let signal = asked.came().await;
    note!("{signal}: draining; at most {} ms", args.drain().as_millis());
    stop.cancel();
    let drained = tokio::time::timeout(args.drain() + GRACE, drain).await;
    drained.unwrap_or_else(|_| Err(anyhow::anyhow!("the drain took too long; nothing accepted is lost")))
}

/// How many batches an edge hands to SQS at once. More than elsewhere: the adapter of SQS gathers better, as it knows
/// when it sends next.
const SENDS_IN_FLIGHT: usize = 64;

/// `soundoff edge`.
pub(crate) async fn edge(role: EdgeRole) -> anyhow::Result<()> {
    let config = EdgeConfig { sends_in_flight: SENDS_IN_FLIGHT, ..role.edge.config(1, role.node.drain()) };
    config.validate().context("the edge cannot be run like this")?;
    let public = acceptor::listen(role.listen, "--listen")?;
    let internal = acceptor::listen(role.node.internal_listen, "--internal-listen")?;
    let advertise = match (role.advertise, internal.local_addr()?) {
        (Some(address), _) => address,
        (None, address) if !address.ip().is_unspecified() => address,
        (None, address) => {
            let ip = engines::private_ip().await.context("no --advertise, and no address to be found")?;
            SocketAddr::new(ip, address.port())
        }
    };
    let (stop, stop_edge) = (CancellationToken::new(), CancellationToken::new());
    let node = Node::managed(&role.node.engines, &[Tier::Edge]).await?.limited(&role.limits)?;
    let node = node.gated(&role.country, &stop).await?.taking(&role.foreign, &stop)?;
    let ring = node.ring()?.clone();
    ring.first_key().await;
    let (sockets, taken) = mpsc::channel(acceptor::SOCKETS_WAITING);
    let ops = ops_page(&node, &[Part::Edge], Vec::new(), &stop)?;
    let tables = node.world(Tier::Edge).tables;
    let clock = Clock::among_others(tables, node.engines.metrics.clone()).await?;
    let deps = node.edge_deps(clock.clone(), Arc::new(NoPages), Some(ops))?;
    let running = tokio::spawn(soundoff_edge::run(
        taken,
        internal,
        advertise.to_string(),
        config,
        deps,
        stop_edge.clone(),
    ));
    tokio::spawn(ring.keep_up(stop.clone()));
    let kept = CancellationToken::new();
    let keeping = tokio::spawn(clock.keep(kept.clone()));
    announce!("edge: websocket ws://{}/v1/ws, internal {advertise}", public.local_addr()?);
    let asked = Asked::hear()?;
    let accepting = tokio::spawn(acceptor::deal(public, vec![sockets], stop.clone()));
    until_stopped(asked, &role.node, &stop, async {
        accepting.await??;
        stop_edge.cancel();
        let ended = running.await?;
        kept.cancel();
        keeping.await?;
        ended
    })
    .await
}

/// Runs the consumers and loops of the node's tiers until the process is asked to stop, then finishes what is in
/// progress.
async fn consume(
    role: &str,
    parts: &'static [Part],
    args: &NodeArgs,
    node: &Node,
    features: &[Feature],
    benches: Vec<Bench>,
) -> anyhow::Result<()> {
    let internal = acceptor::listen(args.internal_listen, "--internal-listen")?;
    let first = benches.first().map_or_else(QueueName::main, |bench| bench.queue.clone());
    let names: Vec<_> = benches.iter().map(|bench| bench.queue.clone()).collect();
    let pulls: Vec<_> = names.iter().map(QueueName::as_str).collect();
    announce!("{role}: internal {}, pulls {}", internal.local_addr()?, pulls.join(" "));
    let stop = CancellationToken::new();
    let ops = ops_page(node, parts, names, &stop)?;
    let pool = Pool::new(&node.engines, benches);
    let asked = Asked::hear()?;
    pool.start().await;
    node.begin_loops(features, &stop)?;
    let drain = async {
        pool.stop().await;
        Ok(())
    };
    let health = Health::new(&node.engines, Needs::Queue(first), ops, stop.clone());
    beside_health((args, asked), (internal, health), stop, drain).await
}

/// Serves a role's internal port until it has drained.
async fn beside_health(
    (args, asked): (&NodeArgs, Asked),
    (internal, health): (TcpListener, Health),
    stop: CancellationToken,
    drain: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = CancellationToken::new();
    tokio::spawn(health::run(internal, health, ended.clone()));
    let stopped = until_stopped(asked, args, &stop, drain).await;
    ended.cancel();
    stopped
}

/// `soundoff router`.
pub(crate) async fn router(role: RouterRole) -> anyhow::Result<()> {
    let node = Node::managed(&role.node.engines, &[Tier::Router]).await?;
    let features = features::features(Settings::default());
    let benches = node.benches(&features, &role.consumer.pulling(), |_| true)?;
    consume("router", &[Part::Queues], &role.node, &node, &features, benches).await?;
    match &node.engines.archive {
        Some(archive) => archive.flush().await.map_err(anyhow::Error::from),
        None => Ok(()),
    }
}

/// `soundoff workers`.
pub(crate) async fn workers(role: WorkersRole) -> anyhow::Result<()> {
    let catalog = features::catalog();
    let ours = catalog.specs().iter().filter(|spec| spec.tier == Tier::Workers);
    let ours: Vec<_> = ours.map(|spec| spec.message_type).collect();
    for name in &role.only {
        let known = ours.contains(&name.as_str());
        anyhow::ensure!(known, "workers do nothing with {name}; they work on {}", ours.join(", "));
    }
    let node = Node::managed(&role.node.engines, &[Tier::Workers]).await?.limited(&role.limits)?;
    let node = node.purging(role.media.purges());
    let features = features::features(Settings { media: role.media.config(), ..Settings::default() });
    let wanted = |name: &str| role.only.is_empty() || role.only.iter().any(|only| only == name);
    let benches = node.benches(&features, &role.consumer.pulling(), wanted)?;
    consume("workers", &[Part::Queues], &role.node, &node, &features, benches).await
}

/// The tiers of `soundoff timeline`.
pub(crate) const TIMELINE: [Tier; 4] = [Tier::Schedule, Tier::Compute, Tier::Personalize, Tier::Fetch];

/// `soundoff timeline`, all of its stages or one.
pub(crate) async fn timeline(role: TimelineRole, tiers: &[Tier]) -> anyhow::Result<()> {
    let node = Node::managed(&role.node.engines, tiers).await?;
    let timeline = role.timeline.config(CLOCK_SKEW)?;
    let features = features::features(Settings { timeline, ..Settings::default() });
    let benches = node.benches(&features, &role.consumer.pulling(), |_| true)?;
    let names: Vec<_> = tiers.iter().map(|tier| tier.name()).collect();
    let name = format!("timeline {}", names.join(" "));
    consume(&name, &[Part::Queues, Part::Timelines], &role.node, &node, &features, benches).await
}

/// `soundoff users`.
pub(crate) async fn users(role: UsersRole) -> anyhow::Result<()> {
    let loopback = role.listen.ip().is_loopback();
    anyhow::ensure!(
        loopback || !role.dev,
        "--dev gives tokens to anybody who asks, so it goes with loopback only; {} is not",
        role.listen
    );
    // Checked first: without these engines nothing else helps.
    Plan::managed(&role.node.engines)?;
    let public = acceptor::listen(role.listen, "--listen")?;
    let internal = acceptor::listen(role.node.internal_listen, "--internal-listen")?;
    let couriers = role.users.couriers()?;
    let carried = role.dev || couriers.carried;
    anyhow::ensure!(
        carried,
        "nobody would carry codes to people: set --smtp-url and --texts-url, or --dev to have them in /dev/outbox"
    );
    let stop = CancellationToken::new();
    let node = Node::managed(&role.node.engines, &[Tier::Users]).await?.gated(&role.country, &stop).await?;
    let node = node.taking(&role.foreign, &stop)?;
    let ring = node.ring()?;
    let config = role.users.config(role.address.door(&role.proxies).origins, None)?;
    let users = Some(couriers.settings(config, ring, node.foreign.clone(), role.dev)?);
    let features = features::features(Settings { media: role.media.config(), users, ..Settings::default() });
    let dev = role.dev.then(|| Dev::new(&node, ring, couriers.outbox));
    announce!("users: http://{}/v1/auth, internal {}", public.local_addr()?, internal.local_addr()?);
    node.begin_loops(&features, &stop)?;
    let ops = ops_page(&node, &[Part::Users], Vec::new(), &stop)?;
    let pages = node.pages(&features, Tier::Users)?;
    let site = Arc::new(Site::new(
        pages,
        dev,
        &node,
        node.upload_place().await?.as_str(),
        role.address.door(&role.proxies),
    ));
    let answer = move |request| {
        let site = site.clone();
        async move { site.answer(request).await }
    };
    let asked = Asked::hear()?;
    let serving = tokio::spawn(serve::serve(public, role.proxies.proxies, stop.clone(), answer));
    let drain = async { serving.await.map_err(anyhow::Error::from) };
    let health = Health::new(&node.engines, Needs::Tables, ops, stop.clone());
    beside_health((&role.node, asked), (internal, health), stop, drain).await
}
