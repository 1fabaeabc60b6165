//! `loadtest storm`: everybody comes back at once.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::beating::{Beating, Phase};
use crate::dialect::User;
use crate::opening::{Until, open, open_until};
use crate::peers::servers;
use crate::report::{JsonArgs, Latencies, per_second};
use crate::target::{Target, TargetArgs, ensure_room};
use crate::window::Spent;
use crate::window::Window;
use crate::wire::Swarm;

/// How long a server has to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the active sockets are watched before the storm.
const CALM: Duration = Duration::from_secs(2);

const SHARES: [f64; 3] = [0.5, 0.99, 1.0];

/// Measure a reconnect storm.
///
/// All sockets connect and are cut. Then all reconnect. Each counts as served when it has been greeted and has the
/// answer to a ping (or, with
/// `--until upgraded`, when the upgrade with its token is answered: most peers do no more than that). Meanwhile some
/// other sockets send heartbeats at a fixed rate, timed from when each was due. The server's time is reported twice:
/// until the last socket was served, and until the server rests, which includes all that the new sockets cause (Sound
/// Off sends each its timeline).
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = STORM_EXAMPLES)]
pub(crate) struct StormArgs {
    /// Sockets that reconnect, each of another user.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    connections: u32,
    /// Reconnect with tokens that the server has never seen, instead of those it has just seen. Sound Off remembers the
    /// latter.
    #[arg(long)]
    fresh: bool,
    /// When a socket counts as served.
    #[arg(long, value_enum, default_value = "answered", value_name = "WHEN")]
    until: Until,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// The load beside the storm.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Load {
    /// Handshakes under way at once. If there are more than a server's backlog, some are lost and the kernel repeats
    /// them after a second.
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) at_once: u32,
    /// Sockets that are open before the storm and stay open.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) active: u32,
    /// Heartbeats per second of those sockets together.
    #[arg(long, default_value_t = 500, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) rate: u32,
}

const STORM_EXAMPLES: &str = "\
Examples:
  With tokens that were seen before, and with new ones:
    loadtest storm --connections 10000
    loadtest storm --connections 10000 --fresh

  The handshake alone, which is what peers can be compared by:
    loadtest storm --connections 10000 --until upgraded

Exit code: 0 when every socket was served, 1 when not.";

/// A storm.
pub(crate) struct Storm {
    /// From the first connection to the last socket's first answer.
    pub(crate) served: Spent,
    /// The same until the server rested. Its wall time is not used.
    pub(crate) rested: Spent,
    /// From the storm's beginning to each socket's first answer.
    pub(crate) each: Latencies,
    /// The active sockets, before the storm and during it.
    pub(crate) before: Phase,
    pub(crate) meanwhile: Phase,
}

/// Connects `users`, cuts them, and connects `again`. The last `active` of `users` stay.
///
/// # Errors
/// A socket is not served, or the server ends.
pub(crate) fn measure(
    target: &Target,
    (users, again): (&[User], &[User]),
    (load, until): (Load, Until),
    stop: &watch::Receiver<bool>,
) -> Result<Storm> {
    let active = users.len() - load.active as usize;
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, &users[..active], load.at_once as usize, stop)?;
    swarm.cut(0);
    let beating = Beating::start(target, &users[active..], load.rate, stop)?;
    target.settle(Duration::from_secs(8))?;
    beating.calm();
    std::thread::sleep(CALM);
    let (begun, served, rested) = (Instant::now(), Window::begin(target)?, Window::begin(target)?);
    beating.storm();
    let opening = open_until(until, &mut swarm, target, &again[..active], load.at_once as usize, stop)?;
    let served = served.end(target, active as u64)?;
    let (before, meanwhile) = beating.end(begun.elapsed())?;
    target.settle(PATIENCE)?;
    let rested = rested.end(target, active as u64)?;
    Ok(Storm { served, rested, each: opening.served, before, meanwhile })
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: StormArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let count = (args.connections + args.load.active) as usize;
    ensure_room(count)?;
    let target = servers::target(&args.target).await?;
    let users = target.users("storm", count).await?;
    let again = if args.fresh { target.users("storm", count).await? } else { users.clone() };
    let storm = measure(&target, (&users, &again), (args.load, args.until), &stop)?;
    let tokens = if args.fresh { "tokens never seen" } else { "tokens seen before" };
    tell!("{}: {} sockets reconnect, {tokens}", target.name, args.connections);
    tell!(
        "handshakes    {:.0}/s, all served after {:.2} s",
        storm.served.rate(),
        storm.served.time.as_secs_f64()
    );
    tell!(
        "server        {:.1} µs a handshake until all are served, {:.1} µs until it rests",
        storm.served.each_us(),
        storm.rested.each_us()
    );
    tell!("served after  {}", storm.each.line(&SHARES));
    for (name, phase) in [("before", &storm.before), ("meanwhile", &storm.meanwhile)] {
        let rate = per_second(phase.latency.count(), phase.time);
        tell!("{name:<13} {rate:.0} heartbeats/s of {}, {}", args.load.rate, phase.latency.line(&SHARES));
    }
    args.json.write(|| {
        let phase = |phase: &Phase| json!({ "per_second": per_second(phase.latency.count(), phase.time), "latency_us": phase.latency.json() });
        json!({
            "server": target.name, "connections": args.connections, "fresh_tokens": args.fresh,
            "until": format!("{:?}", args.until).to_lowercase(),
            "served": storm.served.json(), "rested": storm.rested.json(), "served_after_us": storm.each.json(),
            "before": phase(&storm.before), "meanwhile": phase(&storm.meanwhile),
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
