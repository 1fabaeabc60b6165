//! The router and a worker.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::value::RawValue;
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::deliver::SignedAddress;
use soundoff_common::pipeline::envelope::{Envelope, Origin};
use soundoff_common::pipeline::feature::{self, Work};
use soundoff_common::pipeline::handler::Context;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::worker::{Outward, Worker};
use soundoff_common::ports::queues::{Message, Receipt};
use soundoff_common::ports::sessions::Registration;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::pictures::PictureKey;
use soundoff_common::web::uploads::UploadKey;
use soundoff_router::Router;
use ulid::Ulid;

use crate::load::{IN_FLIGHT, key};
use crate::peer::Peer;
use crate::ports::{Memory, NoArchive, user};

/// What the jobs share.
pub(crate) struct Jobs {
    memory: Arc<Memory>,
    catalog: Arc<Catalog>,
    metrics: Metrics,
    outward: Outward,
}

impl Jobs {
    pub(crate) fn new(memory: Arc<Memory>, metrics: &Metrics) -> anyhow::Result<Self> {
        let catalog = Arc::new(feature::catalog(&[soundoff_workers::feature()]));
        let replies = Replies::start(memory.clone(), key()?, Weather::new(metrics.clone()));
        let outward = Outward { queues: memory.clone(), replies, catalog: catalog.clone() };
        Ok(Self { memory, catalog, metrics: metrics.clone(), outward })
    }

    pub(crate) fn router(&self) -> Router {
        let (queues, tables) = (self.memory.clone(), self.memory.clone());
        Router::new(self.catalog.clone(), queues, Arc::new(NoArchive), tables, self.outward.clone())
    }

    pub(crate) fn worker(&self, message_type: &str) -> anyhow::Result<Worker> {
        let rows = soundoff_workers::feature().rows;
        let row = rows.into_iter().find(|row| row.spec.message_type == message_type);
        let Work::Handler(run) = row.context("no such type")?.work else {
            anyhow::bail!("{message_type} has no handler");
        };
        let cx = Context {
            tables: self.memory.clone(),
            sessions: self.memory.clone(),
            uploads: Arc::new(UploadKey::new(&[0; 32])),
            pictures: PictureKey::new(&[0; 32]),
            purges: false,
            metrics: self.metrics.clone(),
            turns: Arc::default(),
            daily: Arc::default(),
        };
        Ok(Worker::new(run, cx, self.outward.clone()))
    }
}

/// A message as the edge at an address makes it.
fn message(n: u32, message_type: &str, body: &str, edge: &SignedAddress) -> anyhow::Result<Message> {
    let envelope = Envelope {
        mid: Ulid::from_parts(1_790_000_000_000, n.into()),
        id: format!("m{n:09}"),
        message_type: message_type.to_owned(),
        from: user(0),
        origin: Some(Origin { boot: "edge".into(), connection: 0, edge: Some(edge.clone()) }),
        at: 1_790_000_000_000,
        body: RawValue::from_string(body.to_owned())?,
    };
    let receipt = Receipt(bytes::Bytes::new());
    Ok(Message { receipt, body: envelope.bytes(), attempt: 1, sent_at: 1_790_000_000_000 })
}

/// Runs one batch again and again.
async fn repeat(job: &dyn Job, batch: &[Message], rounds: usize) -> anyhow::Result<()> {
    for _ in 0..rounds {
        let verdicts = job.run(batch).await;
        anyhow::ensure!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    }
    Ok(())
}

/// Routes batches of messages of four types. Queues and archive forget them.
pub(crate) async fn route(rounds: usize) -> anyhow::Result<()> {
    let jobs = Jobs::new(Arc::new(Memory::forgetting()), &Metrics::new())?;
    let text = "It rained all morning, and then the sun came out over the harbour.";
    let post = format!(r#"{{"text":"{text}"}}"#);
    let dm = format!(r#"{{"to":"user0001","text":"{text}"}}"#);
    let kinds = [
        ("post.create", post.as_str()),
        ("like.add", r#"{"post":"01K0000000000000000000000"}"#),
        ("dm.send", dm.as_str()),
        ("typing", r#"{"to":"user0001"}"#),
    ];
    let edge = key()?.sign_address("edge", "10.0.0.1:9090");
    let batch = (0..64).zip(kinds.iter().cycle()).map(|(n, (kind, body))| message(n, kind, body, &edge));
    let batch = batch.collect::<Result<Vec<_>, _>>()?;
    repeat(&jobs.router(), &batch, rounds).await
}

/// Handles batches of `typing`. Their replies and events go to one edge, which the other side plays.
pub(crate) async fn work(rounds: usize) -> anyhow::Result<()> {
    let mut sink = Peer::start(&["sink"])?;
    let edge = sink.line()?;
    let memory = Arc::new(Memory::forgetting());
    for (n, connection) in [(0, 0), (1, 1)] {
        let edge = edge.as_str().into();
        memory.register(user(n), Registration { edge, boot: "edge".into(), connection, device: None });
    }
    let metrics = Metrics::new();
    let worker = Jobs::new(memory, &metrics)?.worker("typing")?;
    let signed = key()?.sign_address("edge", &edge);
    let batch = (0..IN_FLIGHT as u32).map(|n| message(n, "typing", r#"{"to":"user0001"}"#, &signed));
    let batch = batch.collect::<Result<Vec<_>, _>>()?;
    repeat(&worker, &batch, rounds).await?;
    anyhow::ensure!(metrics.reply_posts_failed.get() == 0, "not everything was delivered");
    let delivered = metrics.reply_deliveries.get();
    anyhow::ensure!(delivered == 2 * (rounds * IN_FLIGHT) as u64, "{delivered} deliveries");
    // It ends with its input, whatever it still holds open.
    sink.end()
}
