//! `loadtest idle`: what a socket costs in memory while it says nothing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::dialect::User;
use crate::opening::{AT_ONCE, open};
use crate::peers::servers;
use crate::process::kernel_memory;
use crate::report::JsonArgs;
use crate::target::{Target, TargetArgs, ensure_room};
use crate::wire::Swarm;

/// Sockets before the first look: what a server needs only once is not the cost of a socket.
const WARM_UP: usize = 100;

/// How long a server has to come to rest.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measure the memory of an idle socket.
///
/// Opens a socket for each user, authenticated, greeted and pinged once so that its buffers were touched. It waits
/// until the server rests, and divides the growth of the server's resident memory since the first 100 sockets. Users
/// are created before that. The kernel's memory is that of both ends of each connection and of the whole machine:
/// /proc/meminfo's Slab and the TCP buffers of /proc/net/sockstat.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = IDLE_EXAMPLES)]
pub(crate) struct IdleArgs {
    /// Sockets, each of another user. `ulimit -n` limits how many files a process may open.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    connections: u32,
    /// Sockets of each user. With more than one, half of them are open before the first look. So the cost of a user is
    /// left out, memory that was left from greeting the users is used up, and the cost of a further socket remains.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    per_user: u32,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: JsonArgs,
}

const IDLE_EXAMPLES: &str = "\
Examples:
  Sound Off, as built beside this program:
    loadtest idle --connections 19000

  Without what a user costs, only what a further socket does:
    loadtest idle --connections 10000 --per-user 10

  A server that runs already:
    loadtest idle --connections 5000 --url ws://127.0.0.1:8080 --pid $(pgrep -f 'soundoff up')

  A peer, after `loadtest peers` has installed it:
    loadtest idle --connections 19000 --server bun

Exit code: 0 when it was measured, 1 when not.";

/// What idle sockets cost, in bytes for each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Sockets between the two looks.
    pub(crate) added: usize,
    /// Resident memory of the server's processes.
    pub(crate) resident: f64,
    /// Resident memory in total, before and after.
    pub(crate) looks: [u64; 2],
    /// Memory of the kernel, for both ends.
    pub(crate) kernel: f64,
    /// Whether the server was at rest at both looks.
    pub(crate) at_rest: bool,
}

/// Opens a socket for each of `warm` and looks at the memory, and does the same with `added`.
///
/// # Errors
/// They cannot be opened, or the server ends.
pub(crate) fn measure(
    target: &Target,
    (warm, added): (&[User], &[User]),
    stop: &watch::Receiver<bool>,
) -> Result<Idle> {
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, warm, AT_ONCE, stop)?;
    target.settle(PATIENCE)?;
    let before = (target.usage()?.resident, kernel_memory()?);
    open(&mut swarm, target, added, AT_ONCE, stop)?;
    let at_rest = target.settle(PATIENCE)?;
    let after = (target.usage()?.resident, kernel_memory()?);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / added.len() as f64;
    Ok(Idle {
        added: added.len(),
        resident: each(before.0, after.0),
        looks: [before.0, after.0],
        kernel: each(before.1, after.1),
        at_rest,
    })
}

/// The users whose sockets come before the first look, and those whose sockets come after it: `connections` in total,
/// `per_user` of each user.
///
/// # Errors
/// The users cannot be made.
pub(crate) async fn users(target: &Target, count: usize, each: usize) -> Result<(Vec<User>, Vec<User>)> {
    let mut users = target.users("idle", count / each).await?;
    if each == 1 {
        let added = users.split_off(WARM_UP.min(count / 2));
        return Ok((users, added));
    }
    let times = |n: usize| users.iter().cycle().take(users.len() * n).cloned().collect();
    Ok((times(each / 2), times(each - each / 2)))
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: IdleArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let count = args.connections as usize;
    ensure_room(count)?;
    let target = servers::target(&args.target).await?;
    let (warm, added) = users(&target, count, args.per_user as usize).await?;
    let idle = measure(&target, (&warm, &added), &stop)?;
    tell!(
        "{}: {} idle sockets after the first {}, {} a user",
        target.name,
        idle.added,
        warm.len(),
        args.per_user
    );
    let [before, after] = idle.looks.map(|bytes| bytes as f64 / 1e6);
    tell!(
        "resident      {:.2} KB a socket ({before:.1} MB before, {after:.1} MB after)",
        idle.resident / 1000.0
    );
    tell!(
        "kernel        {:.2} KB a connection, both ends (Slab and TCP buffers of the machine)",
        idle.kernel / 1000.0
    );
    if !idle.at_rest {
        tell!("the server was not at rest: the figures may include memory that is about to be freed");
    }
    args.json.write(|| {
        json!({
            "server": target.name, "sockets": idle.added, "per_user": args.per_user,
            "resident_bytes": idle.resident, "resident_before_and_after": idle.looks,
            "kernel_bytes": idle.kernel, "at_rest": idle.at_rest,
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
