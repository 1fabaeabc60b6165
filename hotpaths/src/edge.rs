//! A real edge under load, and behind it, for the whole pipeline, a router and a worker.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::guard::Weather;
use soundoff_common::model::gate::Keeper;
use soundoff_common::pipeline::consumer::{ConsumerConfig, consume};
use soundoff_common::pipeline::feature;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::telemetry::Metrics;
use soundoff_edge::{Clock, EdgeConfig, EdgeDeps};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::jobs::Jobs;
use crate::load::{Load, key};
use crate::peer::Peer;
use crate::ports::Memory;

/// The configuration of an edge that does nothing by the clock and refuses nothing.
fn config() -> EdgeConfig {
    let never = Duration::from_secs(86_400);
    EdgeConfig {
        heartbeat: never,
        hello_timeout: never,
        session_ttl: never,
        ack_every: never,
        linger: never,
        messages_per_second: 1_000_000_000,
        tokens_cached: 512,
        ..EdgeConfig::default()
    }
}

/// Serves the other side until that has done its rounds.
pub(crate) async fn serve(name: &str, load: Load, rounds: usize) -> anyhow::Result<()> {
    let (public, internal) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let addresses = (public.local_addr()?.to_string(), internal.local_addr()?.to_string());
    let queueing = matches!(load, Load::Pipeline);
    let memory = Arc::new(if queueing { Memory::queueing() } else { Memory::forgetting() });
    let metrics = Metrics::new();
    let deps = EdgeDeps {
        queues: memory.clone(),
        sessions: memory.clone(),
        cache: memory.clone(),
        tables: memory.clone(),
        clock: Clock::alone(memory.clone(), metrics.clone()).await?,
        catalog: Arc::new(feature::catalog(&[soundoff_workers::feature()])),
        verifier: memory.clone(),
        replies: Replies::start(memory.clone(), key()?, Weather::new(metrics.clone())),
        key: key()?,
        metrics: metrics.clone(),
        weather: Weather::new(metrics.clone()),
        gate: Keeper::default(),
        pages: memory.clone(),
        internal_pages: None,
    };
    let (deal, sockets) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    parts.spawn(async move {
        while let Ok((stream, _)) = public.accept().await {
            let stream = stream.into_std().expect("a connection of ours");
            if deal.send(stream).await.is_err() {
                return;
            }
        }
    });
    if queueing {
        let (jobs, weather) = (Jobs::new(memory.clone(), &metrics)?, Weather::new(metrics));
        // As wide as the binary's.
        let routing = ConsumerConfig { slots: 4096, batch: 256, ..ConsumerConfig::default() };
        let router = Arc::new(jobs.router());
        let main = consume(memory.clone(), QueueName::main(), routing, router, weather.clone(), stop.clone());
        parts.spawn(main);
        let (queue, worker) = (QueueName::of_type("typing"), Arc::new(jobs.worker("typing")?));
        parts.spawn(consume(memory.clone(), queue, ConsumerConfig::default(), worker, weather, stop.clone()));
    }
    let mut running =
        tokio::spawn(soundoff_edge::run(sockets, internal, addresses.1.clone(), config(), deps, stop));
    let arguments = [name.to_owned(), rounds.to_string(), addresses.0, addresses.1];
    let played = tokio::task::spawn_blocking(move || play(&arguments, &memory));
    tokio::select! {
        played = played => played?,
        ended = &mut running => ended?.and(Err(anyhow::anyhow!("the edge ended"))),
    }
}

/// Starts the other side and waits until it is done. After it has opened its sockets it gets the edge's boot; then its
/// rounds begin.
fn play(arguments: &[String; 4], memory: &Memory) -> anyhow::Result<()> {
    let mut peer = Peer::start(&arguments.each_ref().map(String::as_str))?;
    let ready = peer.line()?;
    anyhow::ensure!(ready == "ready", "the other side is not ready: {ready}");
    peer.send(&memory.boot().unwrap_or_default())?;
    peer.end()
}
