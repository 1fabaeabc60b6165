//! One role a process, on managed engines: each a plain function from top to bottom.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use soundoff_common::catalog::{Spec, Work};
use soundoff_common::deliver::InternalKey;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::shutdown;
use soundoff_edge::{EdgeConfig, Pages as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{
    EdgeRole, EngineArgs, NodeArgs, RouterRole, Stage, TimelineRole, UsersRole, WorkersRole,
};
use crate::engines::Managed;
use crate::health::{self, Needs};
use crate::node::Node;
use crate::ops::Ops;
use crate::ops::page::{OpsPage, Part, Place};
use crate::pages::{Dev, NoPages, Site};
use crate::pool::Bench;
use crate::{acceptor, engines, serve};

/// How far the clocks of a deployment's machines may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(1);
/// What ending may take beyond the time that is configured for it.
const GRACE: Duration = Duration::from_secs(10);

/// A deployment's engines, and the parts on them.
pub(crate) async fn open(args: &EngineArgs) -> anyhow::Result<(Managed, Node)> {
    let managed = Managed::connect(args).await?;
    let engines = managed.engines().await?;
    let key = InternalKey::new(&engines.secret.key("internal deliveries"))?;
    Ok((managed, Node::new(engines, key)))
}

/// The operators' page of a process that does these parts, and pulls these queues.
fn ops_page(
    node: &Node,
    parts: &'static [Part],
    names: Vec<QueueName>,
    stop: &CancellationToken,
) -> Arc<OpsPage> {
    let ops = Arc::new(Ops { queues: node.engines.queues.clone(), names, live: None });
    OpsPage::start(Place::Deployment, parts, ops, &node.engines, stop)
}

/// Waits to be asked to stop, then for `drain`, but not for ever.
async fn until_stopped(
    args: &NodeArgs,
    stop: &CancellationToken,
    drain: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let signal = shutdown::asked().await?;
    eprintln!("{signal}: draining; at most {} ms", args.drain().as_millis());
    stop.cancel();
    let drained = tokio::time::timeout(args.drain() + GRACE, drain).await;
    drained.unwrap_or_else(|_| Err(anyhow::anyhow!("the drain took too long; nothing accepted is lost")))
}

/// How many batches an edge hands to SQS before it gathers by itself: that queue gathers better, for it knows when it sends next.
const SENDS_IN_FLIGHT: usize = 64;

/// `soundoff edge`.
pub(crate) async fn edge(role: EdgeRole) -> anyhow::Result<()> {
    let config = EdgeConfig { sends_in_flight: SENDS_IN_FLIGHT, ..role.edge.config(role.node.drain()) };
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
    let (_, node) = open(&role.node.engines).await?;
    let ring = node.verifying().await?;
    ring.first_key().await;
    let (stop, stop_edge) = (CancellationToken::new(), CancellationToken::new());
    let (sockets, taken) = mpsc::channel(acceptor::SOCKETS_WAITING);
    let ops = ops_page(&node, &[Part::Edge], Vec::new(), &stop);
    let deps = node.edge_deps(&ring, Arc::new(NoPages), Some(ops));
    let running = tokio::spawn(soundoff_edge::run(
        taken,
        internal,
        advertise.to_string(),
        config,
        deps,
        stop_edge.clone(),
    ));
    tokio::spawn(ring.keep_up(stop.clone()));
    println!("edge: websocket ws://{}/v1/ws, internal {advertise}", public.local_addr()?);
    let accepting = tokio::spawn(acceptor::deal(public, vec![sockets], stop.clone()));
    until_stopped(&role.node, &stop, async {
        accepting.await??;
        stop_edge.cancel();
        running.await?
    })
    .await
}

/// Runs consumers until the process is asked to stop, then finishes what is in progress. What runs beside them stops with `stop`.
async fn consume(
    role: &str,
    parts: &'static [Part],
    args: &NodeArgs,
    node: &Node,
    benches: Vec<Bench>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let internal = acceptor::listen(args.internal_listen, "--internal-listen")?;
    let first = benches.first().map_or_else(QueueName::main, |bench| bench.queue.clone());
    let names: Vec<_> = benches.iter().map(|bench| bench.queue.clone()).collect();
    let pulls: Vec<_> = names.iter().map(QueueName::as_str).collect();
    println!("{role}: internal {}, pulls {}", internal.local_addr()?, pulls.join(" "));
    let ops = ops_page(node, parts, names, &stop);
    let pool = node.pool(benches);
    pool.start().await;
    let drain = async {
        pool.stop().await;
        Ok(())
    };
    beside_health(args, (internal, ops), node, Needs::Queue(first), stop, drain).await
}

/// Serves a role's internal port until it has drained.
async fn beside_health(
    args: &NodeArgs,
    (internal, ops): (TcpListener, Arc<OpsPage>),
    node: &Node,
    needs: Needs,
    stop: CancellationToken,
    drain: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = CancellationToken::new();
    tokio::spawn(health::run(internal, node.engines.clone(), needs, ops, stop.clone(), ended.clone()));
    let stopped = until_stopped(args, &stop, drain).await;
    ended.cancel();
    stopped
}

/// `soundoff router`.
pub(crate) async fn router(role: RouterRole) -> anyhow::Result<()> {
    let (managed, node) = open(&role.node.engines).await?;
    let archive = managed.archive().await?;
    let benches = vec![node.router(&role.consumer, archive.clone())];
    consume("router", &[Part::Queues], &role.node, &node, benches, CancellationToken::new()).await?;
    archive.flush().await.map_err(anyhow::Error::from)
}

/// `soundoff workers`.
pub(crate) async fn workers(role: WorkersRole) -> anyhow::Result<()> {
    let specs = crate::catalog::catalog();
    let ours: Vec<_> =
        specs.specs().iter().filter(|spec| is_workers(spec)).map(|spec| spec.message_type).collect();
    for name in &role.only {
        let known = ours.contains(&name.as_str());
        anyhow::ensure!(known, "workers do nothing with {name}; they work on {}", ours.join(", "));
    }
    let (managed, node) = open(&role.node.engines).await?;
    let ring = node.verifying().await?;
    let media = node.media(&role.media, managed.blobs().await?, &ring);
    let only = |spec: &Spec| role.only.is_empty() || role.only.iter().any(|name| name == spec.message_type);
    let wanted = |spec: &Spec| is_workers(spec) && only(spec);
    let job = |spec: &Spec, base| {
        media.job(spec.message_type, base).expect("of the jobs only the media's are the workers'")
    };
    let benches = node.consumers(&role.consumer, wanted, job);
    consume("workers", &[Part::Queues], &role.node, &node, benches, CancellationToken::new()).await
}

/// `soundoff timeline`.
pub(crate) async fn timeline(role: TimelineRole, stages: &[Stage]) -> anyhow::Result<()> {
    let (_, node) = open(&role.node.engines).await?;
    let timelines = node.timelines(role.timeline.config(CLOCK_SKEW))?;
    let wanted = |spec: &Spec| stages.iter().any(|stage| stage.queues().contains(&spec.queue.as_str()));
    let benches = node.consumers(&role.consumer, wanted, |spec, base| timelines.job(&spec.queue, base));
    let stop = CancellationToken::new();
    if stages.contains(&Stage::Schedule) {
        tokio::spawn(timelines.run_schedule(stop.clone()));
    }
    let names: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
    let name = format!("timeline {}", names.join(" "));
    consume(&name, &[Part::Queues, Part::Timelines], &role.node, &node, benches, stop).await
}

/// `soundoff users`.
pub(crate) async fn users(role: UsersRole) -> anyhow::Result<()> {
    let loopback = role.listen.ip().is_loopback();
    anyhow::ensure!(
        loopback || !role.dev,
        "--dev gives tokens to whoever asks, so it goes with loopback only; {} is not",
        role.listen
    );
    let public = acceptor::listen(role.listen, "--listen")?;
    let internal = acceptor::listen(role.node.internal_listen, "--internal-listen")?;
    let couriers = role.users.couriers()?;
    let carried = role.dev || couriers.carried;
    anyhow::ensure!(
        carried,
        "nobody would carry codes to people: set --smtp-url and --texts-url, or --dev to have them in /dev/outbox"
    );
    let (managed, node) = open(&role.node.engines).await?;
    let ring = node.ring().await?;
    let media = node.media(&role.media, managed.blobs().await?, &ring);
    let (users, tokens) = node.users(&role.users, &couriers, role.dev, &ring)?;
    let dev = role.dev.then_some(Dev { tokens, outbox: couriers.outbox });
    println!("users: http://{}/v1/auth, internal {}", public.local_addr()?, internal.local_addr()?);
    let stop = CancellationToken::new();
    tokio::spawn(ring.keep_fresh(stop.clone()));
    tokio::spawn(media.clone().run_collector(stop.clone()));
    let ops = ops_page(&node, &[Part::Users], Vec::new(), &stop);
    let site = Arc::new(Site::new(users, media, dev, node.upload_place().await?.as_str()));
    let answer = move |request| {
        let site = site.clone();
        async move { site.answer(request).await }
    };
    let serving = tokio::spawn(serve::serve(public, role.proxies, stop.clone(), answer));
    let drain = async { serving.await.map_err(anyhow::Error::from) };
    beside_health(&role.node, (internal, ops), &node, Needs::Tables, stop, drain).await
}

/// What the workers' tier does: everything but the timelines' jobs.
fn is_workers(spec: &Spec) -> bool {
    matches!(spec.work, Work::Handler(_)) || is_media_job(spec)
}

fn is_media_job(spec: &Spec) -> bool {
    soundoff_media::JOBS.contains(&spec.message_type)
}

/// `soundoff queue-list`: every queue, the tier that pulls it, its type, and whether that is archived.
pub(crate) fn queue_list() -> String {
    let catalog = crate::catalog::catalog();
    let tier = |spec: &Spec| match is_workers(spec) {
        true if is_media_job(spec) => "media",
        true => "workers",
        false => "timeline",
    };
    let row = |queue: &QueueName, row: serde_json::Value| format!("  \"{queue}\": {row}");
    let main = row(&QueueName::main(), json!({ "tier": "router", "type": "", "archived": false }));
    let of = |spec: &Spec| {
        let rest = json!({ "tier": tier(spec), "type": spec.message_type, "archived": spec.archived });
        row(&spec.queue, rest)
    };
    let rows: Vec<_> = std::iter::once(main).chain(catalog.specs().iter().map(of)).collect();
    format!("{{\n{}\n}}\n", rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_terraform_reads_is_the_catalogs() {
        let committed = include_str!("../../infra/terraform/queues.json");
        assert!(committed == queue_list(), "run: soundoff queue-list > infra/terraform/queues.json");
    }

    #[test]
    fn every_timeline_queue_belongs_to_one_stage() {
        let catalog = crate::catalog::catalog();
        let jobs = catalog.specs().iter().filter(|spec| !is_workers(spec)).map(|spec| spec.queue.as_str());
        let mut jobs: Vec<_> = jobs.collect();
        let mut staged: Vec<_> = Stage::ALL.iter().flat_map(|stage| stage.queues()).copied().collect();
        jobs.sort_unstable();
        staged.sort_unstable();
        assert_eq!(jobs, staged);
    }
}
