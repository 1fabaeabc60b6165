//! The operators' commands. They ask the running process, or open the store themselves when no process runs.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use soundoff_common::model::gate::{First, Gate, Mode};
use soundoff_common::pipeline::audit::Trail;
use soundoff_common::pipeline::deliver::{InternalKey, SIGNED_HEADER, Signer};
use soundoff_common::ports::queues::DeadLetter;
use soundoff_common::protocol::{now_ms, rfc3339};
use soundoff_common::telemetry::Metrics;
use soundoff_common::{note, tell};

use soundoff_embedded::disk::Disk;
use soundoff_timeline::TimelineConfig;

use super::actor::os_user;
use super::server::Asked;
use super::{Ask, Live, Ops, Order, QueueRow, server};
use crate::config::{At, DlqCommand, GateCommand, UsersCommand, WorkersCommand};
use crate::datadir::{self, DataDir, OpsAddress};
use crate::engines::open_log;
use crate::node::Node;

/// How many of the oldest dead letters `dlq show` looks through.
const MOST_SHOWN: usize = 10_000;

pub(super) async fn ask(at: &At, ask: Ask) -> anyhow::Result<Value> {
    if at.aws {
        return on_aws(at, ask).await;
    }
    let data = at.data.as_path();
    if let Some(ops) = datadir::announced(data)? {
        let asked = Asked::By { by: os_user(), ask: ask.clone() };
        match remote(&ops, &asked).await {
            Ok(answer) => return answer,
            // A killed process leaves its address behind. The lock decides whether a process still runs.
            Err(unreachable) => tracing::debug!("no process answers for the data directory: {unreachable:#}"),
        }
    }
    let held = DataDir::hold_used(data)?;
    let names = crate::features::catalog().queue_names();
    let queues = open_log(held.path(), &names, None, &Disk::open(held.path())?)?;
    let trail = Trail::start(queues.clone(), Metrics::new());
    let ops = Ops { queues: queues.clone(), names, tables: None, live: None, trail };
    let answer = ops.answer(ask, &os_user()).await;
    queues.close();
    answer
}

/// Does it on a deployment's engines.
async fn on_aws(at: &At, ask: Ask) -> anyhow::Result<Value> {
    let node = Node::operated(&at.engines).await?;
    let live = Live::of(&node, None, TimelineConfig::default())?;
    let names = node.catalog.queue_names();
    Ops::new(&node, names, Some(live)).answer(ask, &os_user()).await
}

/// Asks the running process. The outer error means that it cannot be reached.
async fn remote(ops: &OpsAddress, ask: &Asked) -> anyhow::Result<anyhow::Result<Value>> {
    let signer = Signer::new(InternalKey::new(ops.key.as_bytes())?, ops.address.to_string().into());
    let body = serde_json::to_vec(ask)?;
    let signed = signer.sign("POST", server::PATH, &body, now_ms());
    let request = Request::post(format!("http://{}{}", ops.address, server::PATH))
        .header(SIGNED_HEADER, signed)
        .body(Full::new(Bytes::from(body)))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request).await?;
    let good = response.status().is_success();
    let text = response.into_body().collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&text)?;
    if good {
        return Ok(Ok(answer));
    }
    Ok(Err(anyhow::anyhow!("{}", answer["detail"].as_str().unwrap_or("refused without a reason"))))
}

/// `soundoff queues`.
pub(crate) async fn queues(at: &At, json: bool) -> anyhow::Result<()> {
    let answer = ask(at, Ask::Queues).await?;
    if json {
        tell!("{answer}");
        return Ok(());
    }
    let rows: Vec<QueueRow> = serde_json::from_value(answer).context("an answer of another version")?;
    tell!("{:<22}{:>10}{:>11}{:>14}{:>7}", "queue", "visible", "in flight", "oldest age", "dead");
    for QueueRow { queue, depth } in rows {
        #[expect(clippy::cast_precision_loss, reason = "ages are shown to a tenth of a second")]
        let age = depth.oldest_age_ms as f64 / 1000.0;
        tell!(
            "{:<22}{:>10}{:>11}{:>12.1} s{:>7}",
            queue.as_str(),
            depth.visible,
            depth.in_flight,
            age,
            depth.dead
        );
    }
    Ok(())
}

/// `soundoff dlq …`.
pub(crate) async fn dlq(command: DlqCommand) -> anyhow::Result<()> {
    match command {
        DlqCommand::List { queue, limit, at } => {
            let answer = ask(&at, Ask::DeadLetters { queue: queue.0, limit, opened: false }).await?;
            let letters: Vec<DeadLetter> = serde_json::from_value(answer)?;
            for letter in &letters {
                tell!("{}  {}  {}", letter.key, rfc3339(letter.buried_at), letter.reason);
            }
            note!("{} dead letter(s)", letters.len());
        }
        DlqCommand::Show { queue, key, at } => {
            let answer =
                ask(&at, Ask::DeadLetters { queue: queue.0, limit: MOST_SHOWN, opened: true }).await?;
            let letters: Vec<DeadLetter> = serde_json::from_value(answer)?;
            let letter = letters.iter().find(|letter| letter.key == key);
            let letter = letter.with_context(|| format!("no dead letter {key}; `dlq list` names them"))?;
            tell!("{}", serde_json::to_string_pretty(letter)?);
        }
        DlqCommand::Redrive { queue, limit, at } => {
            let moved = ask(&at, Ask::Redrive { queue: queue.0.clone(), limit }).await?;
            tell!("{moved} message(s) back on {}", queue.0);
        }
    }
    Ok(())
}

/// `soundoff users …`.
pub(crate) async fn users(command: UsersCommand) -> anyhow::Result<()> {
    match command {
        UsersCommand::Role { user, role, at } => {
            ask(&at, Ask::Role { user: user.clone(), role }).await?;
            tell!("{user} is {role}; their sockets come back with fresh tokens");
        }
        UsersCommand::RotateKeys { drop_old, at } => {
            let id = ask(&at, Ask::RotateKeys { drop_old }).await?;
            let id = id.as_str().unwrap_or_default();
            match drop_old {
                true => tell!("key {id} signs, and no other opens anything"),
                false => tell!("key {id} is announced, and signs in two minutes"),
            }
        }
        UsersCommand::Revoke { user, at } => {
            ask(&at, Ask::Revoke { user: user.clone() }).await?;
            tell!("every session of {user} is closed, and its tokens open nothing");
        }
    }
    Ok(())
}

/// `soundoff gate …`.
pub(crate) async fn gate(command: GateCommand) -> anyhow::Result<()> {
    let (order, at, json) = match command {
        GateCommand::Close { reason, lasts, at } => {
            let for_s = lasts.map(|time| time.as_secs());
            (Some(Order::Close { reason, for_s }), at, false)
        }
        GateCommand::Open { over, first, at } => {
            (Some(Order::Open { over_s: over.as_secs(), first }), at, false)
        }
        GateCommand::Status { json, at } => (None, at, json),
    };
    let answer = ask(&at, Ask::Gate(order)).await?;
    if json {
        tell!("{answer}");
        return Ok(());
    }
    let Gate { mode, since, reason, until, over_ms, first, .. } =
        serde_json::from_value(answer).context("an answer of another version")?;
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let ends = since + over_ms;
    match mode {
        Mode::Open => tell!("open to all"),
        Mode::Closed => {
            let until = until.map(|at| format!("; expected to end at {}", rfc3339(at))).unwrap_or_default();
            tell!("closed since {}{why}{until}", rfc3339(since));
        }
        Mode::Opening if now_ms() >= ends => tell!("open to all since {}", rfc3339(ends)),
        Mode::Opening => {
            let done = 100 * now_ms().saturating_sub(since) / over_ms.max(1);
            tell!("opening since {}, {done} % of the time, open to all at {}", rfc3339(since), rfc3339(ends));
            first.iter().for_each(|first| match first {
                First::Country(country) => tell!("  first: visitors from {country}"),
                First::App(app) => tell!("  first: visitors with the app {app}"),
            });
        }
    }
    Ok(())
}

/// `soundoff workers …`.
pub(crate) async fn workers(command: WorkersCommand) -> anyhow::Result<()> {
    let (at, request, done) = match command {
        WorkersCommand::Pause { at } => (at, Ask::PauseWorkers, "paused: messages are accepted and wait"),
        WorkersCommand::Resume { at } => (at, Ask::ResumeWorkers, "running"),
    };
    ask(&at, request).await?;
    tell!("workers {done}");
    Ok(())
}
