//! `loadtest pipeline`: the whole way of a message, from a socket through both queues and a worker back to the socket.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::dialect::User;
use crate::opening::{AT_ONCE, open};
use crate::peers::servers;
use crate::report::JsonArgs;
use crate::sending::{self, Answers, Work};
use crate::target::{Target, TargetArgs, ensure_room};
use crate::window::Spent;
use crate::wire::Swarm;

const SHARES: [f64; 4] = [0.5, 0.99, 0.999, 1.0];

/// Measure the pipeline: socket, main_q, router, the type's queue, worker, POST, socket.
///
/// Without --rate it measures saturation: every socket keeps --in-flight messages in flight. With --rate it is an open
/// loop: messages become due at fixed times whether or not earlier ones were answered, and latency counts from then.
/// Every message must be accepted once and get one reply, the right one; every direct message must arrive. Anything
/// else fails the run.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = PIPELINE_EXAMPLES)]
pub(crate) struct PipelineArgs {
    /// What is sent: profile.get changes nothing, post.create and dm.send have all their effects.
    #[arg(long = "type", value_enum, default_value = "profile.get", value_name = "TYPE")]
    work: Work,
    #[command(flatten)]
    load: Load,
    /// Additional sockets that are authenticated and send nothing.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    idle: u32,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// How much is sent.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Load {
    /// Messages per second of all sockets together, instead of as many as possible.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) rate: Option<u32>,
    /// Sockets, each of another user.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=18_000))]
    pub(crate) sockets: u32,
    /// Messages in flight on each, without --rate.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) in_flight: u32,
    /// Seconds, after two seconds that do not count.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) duration: u32,
}

const PIPELINE_EXAMPLES: &str = "\
Examples:
  As many as go, and a thousand a second:
    loadtest pipeline
    loadtest pipeline --rate 1000 --duration 10

  With all the effects of a direct message:
    loadtest pipeline --type dm.send

  One socket in twenty says something every second, the others nothing:
    loadtest pipeline --rate 950 --sockets 950 --idle 18050 --duration 20

Exit code: 0 when every message was accepted and answered, 1 when not.";

/// A run.
pub(crate) struct Piped {
    /// Messages with their reply.
    pub(crate) spent: Spent,
    /// The answers, and when they came.
    pub(crate) answers: Answers,
}

/// Sends, and checks what comes back.
///
/// # Errors
/// An answer is missing, is wrong or comes twice, a socket breaks, or the server ends.
pub(crate) fn measure(
    target: &Target,
    users: &[User],
    work: Work,
    load: Load,
    stop: &watch::Receiver<bool>,
) -> Result<Piped> {
    let (spent, answers) = match load.rate {
        None => sending::saturate(target, users, work, (load.in_flight, load.duration), stop),
        Some(rate) => sending::pace(target, users, work, (rate, load.duration), stop),
    }
    .with_context(|| format!("{} with {}", target.name, work.name()))?;
    Ok(Piped { spent, answers })
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: PipelineArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let load = args.load;
    ensure_room((load.sockets + args.idle) as usize)?;
    let target = servers::target(&args.target).await?;
    let silent = target.users("idle", args.idle as usize).await?;
    let mut crowd = Swarm::new()?;
    open(&mut crowd, &target, &silent, AT_ONCE, &stop)?;
    let users = target.users("pipe", load.sockets as usize).await?;
    let Piped { spent, answers } = measure(&target, &users, args.work, load, &stop)?;
    let pace = load.rate.map_or(format!("{} in flight on each", load.in_flight), |rate| format!("{rate}/s"));
    tell!("{}: {} over {} sockets, {pace}", target.name, args.work.name(), load.sockets);
    tell!("{}", spent.line("messages"));
    let resident = target.usage()?.resident;
    let all = load.sockets + args.idle;
    tell!("memory        {:.0} MB resident with {all} sockets", resident as f64 / 1e6);
    tell!("accepted      {}", answers.accepted.line(&SHARES));
    tell!("replied       {}", answers.replied.line(&SHARES));
    if load.rate.is_some() {
        tell!("sent late by  {}", answers.lag.line(&SHARES));
    }
    if answers.pushes > 0 {
        tell!("pushes        {}, every direct message among them", answers.pushes);
    }
    args.json.write(|| {
        json!({
            "server": target.name, "type": args.work.name(), "rate": load.rate, "sockets": load.sockets,
            "idle": args.idle, "resident_bytes": resident, "in_flight": load.in_flight, "spent": spent.json(), "accepted_us": answers.accepted.json(),
            "replied_us": answers.replied.json(), "lag_us": answers.lag.json(), "pushes": answers.pushes,
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
