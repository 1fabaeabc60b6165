//! The internal port of all roles except edges: /healthz, /readyz, /metrics, /ops; and the command `health`, which asks
//! for /healthz.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use soundoff_common::guard::Weather;
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::ports::tables::{Key, Table, Tables};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::base::BasePath;
use soundoff_common::web::http::{
    Answer, asks_for_own, method_not_allowed, metrics, readiness, refuse, text, whole,
};
use soundoff_common::web::packing::Packing;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engines::Engines;
use crate::ops::page::OpsPage;
use crate::serve;

/// How long a look at an engine may take before it counts as failed.
const PROBE: Duration = Duration::from_secs(1);

/// What a role cannot do without.
#[derive(Clone)]
pub(crate) enum Needs {
    Queue(QueueName),
    Tables,
}

/// What the internal port answers from.
pub(crate) struct Health {
    queues: Arc<dyn Queues>,
    tables: Arc<dyn Tables>,
    metrics: Metrics,
    weather: Weather,
    ops: Arc<OpsPage>,
    needs: Needs,
    draining: CancellationToken,
}

/// Serves until `ended`.
pub(crate) async fn run(listener: TcpListener, health: Health, ended: CancellationToken) {
    let health = Arc::new(health);
    let answer = move |request: Request<Incoming>| {
        let health = health.clone();
        async move { health.answer(request).await }
    };
    serve::serve(listener, 0, ended, answer).await;
}

impl Health {
    /// The health of a process on these engines. From `draining` on it is not ready.
    pub(crate) fn new(
        engines: &Engines,
        needs: Needs,
        ops: Arc<OpsPage>,
        draining: CancellationToken,
    ) -> Self {
        let (queues, tables) = (engines.queues.clone(), engines.tables.clone());
        let (metrics, weather) = (engines.metrics.clone(), engines.weather.clone());
        Self { queues, tables, metrics, weather, ops, needs, draining }
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        BasePath::default().plain(&mut request);
        let packing = Packing::of(&request);
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => whole(text(StatusCode::OK, "ok\n")),
            (&Method::GET, "/readyz") => whole(readiness(&self.wrong(asks_for_own(request.uri())).await)),
            (&Method::GET, "/metrics") => whole(metrics(&self.metrics, request.headers())),
            (_, "/healthz" | "/readyz" | "/metrics") => method_not_allowed("GET"),
            (_, path) if OpsPage::serves(path) => self.ops.answer(request).await,
            _ => refuse(StatusCode::NOT_FOUND, "not_found", "nothing is here"),
        };
        packing.pack(answer).await
    }

    /// What is wrong with the process itself, its `own`, or also with what it depends on.
    async fn wrong(&self, own: bool) -> Vec<String> {
        if self.draining.is_cancelled() {
            return vec!["draining".to_owned()];
        }
        if own {
            return Vec::new();
        }
        let looked = tokio::time::timeout(PROBE, async {
            match &self.needs {
                Needs::Queue(queue) => self.queues.depth(queue).await.is_ok(),
                Needs::Tables => self.tables.get(Table::Users, Key::new("readyz", "probe")).await.is_ok(),
            }
        });
        let mut wrong: Vec<String> = match (looked.await, &self.needs) {
            (Ok(true), _) => Vec::new(),
            (_, Needs::Queue(_)) => vec!["the queue fails".to_owned()],
            (_, Needs::Tables) => vec!["the tables fail".to_owned()],
        };
        wrong.extend(self.weather.wrong());
        wrong
    }
}

/// `soundoff health`: asks whether the process in this container is alive.
pub(crate) async fn ask(internal: SocketAddr) -> anyhow::Result<()> {
    let uri = format!("http://127.0.0.1:{}/healthz", internal.port()).parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answered = tokio::time::timeout(PROBE * 3, client.get(uri)).await.context("no answer")??;
    anyhow::ensure!(answered.status().is_success(), "unhealthy: {}", answered.status());
    Ok(())
}
