//! `loadtest idle`: what a socket costs in memory while it says nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::sync::watch;

use crate::dialect::{Dialect, User};
use crate::opening::{AT_ONCE, open};
use crate::process::kernel_memory;
use crate::report::write_json;
use crate::target::{Target, TargetArgs, ensure_room};
use crate::wire::Swarm;

/// How long a server has to come to rest.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measure the memory of an idle socket.
///
/// Opens half of the sockets, each authenticated, greeted and pinged once so that its buffers were touched, waits until the server rests,
/// opens the other half and divides what its resident memory has grown by. The second half are the same users' second devices where a
/// server keeps more of a user than a socket (Sound Off: account, inbox, timeline), so that none of that counts as a socket. The kernel's
/// memory is of both ends of each connection and of the whole machine: /proc/meminfo's Slab and the TCP buffers of /proc/net/sockstat.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = IDLE_EXAMPLES)]
pub(crate) struct IdleArgs {
    /// Sockets in all. A process may open so many files; see `ulimit -n`.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    connections: u32,
    #[command(flatten)]
    target: TargetArgs,
    /// Write the figures to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const IDLE_EXAMPLES: &str = "\
Examples:
  Sound Off, as built beside this program:
    loadtest idle --connections 19000

  A server that runs already:
    loadtest idle --connections 5000 --url ws://127.0.0.1:8080 --pid $(pgrep -f 'soundoff up')

  A peer, after `loadtest peers` has installed it:
    loadtest idle --connections 19000 --server bun

Exit code: 0 when it was measured, 1 when not.";

/// What idle sockets cost, in bytes each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Sockets between the two looks.
    pub(crate) added: usize,
    /// Of the server's processes.
    pub(crate) resident: f64,
    /// Of the kernel, for both ends.
    pub(crate) kernel: f64,
    /// The server was at rest when looked at.
    pub(crate) at_rest: bool,
}

/// Whose the first half of the sockets are, and whose the second.
///
/// # Errors
/// The server makes no users.
pub(crate) async fn halves(target: &Target, connections: usize) -> Result<(Vec<User>, Vec<User>)> {
    if target.dialect == Dialect::SoundOff {
        let users = target.users("idle", connections / 2).await?;
        return Ok((users.clone(), users));
    }
    let mut users = target.users("idle", connections).await?;
    let second = users.split_off(connections / 2);
    Ok((users, second))
}

/// Opens the sockets and looks.
///
/// # Errors
/// They cannot be opened, or the server ends.
pub(crate) fn measure(
    target: &Target,
    (first, second): &(Vec<User>, Vec<User>),
    stop: &watch::Receiver<bool>,
) -> Result<Idle> {
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, first, AT_ONCE, stop)?;
    target.settle(PATIENCE)?;
    let before = (target.usage()?.resident, kernel_memory()?);
    open(&mut swarm, target, second, AT_ONCE, stop)?;
    let at_rest = target.settle(PATIENCE)?;
    let after = (target.usage()?.resident, kernel_memory()?);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / second.len() as f64;
    Ok(Idle {
        added: second.len(),
        resident: each(before.0, after.0),
        kernel: each(before.1, after.1),
        at_rest,
    })
}

/// Runs it, prints the figures and says how the process is to end.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: IdleArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let count = args.connections as usize;
    ensure_room(count)?;
    let target = Target::from_args(&args.target).await?;
    let halves = halves(&target, count).await?;
    let idle = measure(&target, &halves, &stop)?;
    println!("{}: {} idle sockets after as many", target.name, idle.added);
    println!("resident      {:.2} KB a socket", idle.resident / 1000.0);
    println!(
        "kernel        {:.2} KB a connection, both ends (Slab and TCP buffers of the machine)",
        idle.kernel / 1000.0
    );
    if !idle.at_rest {
        println!("the server was not at rest: the figures may hold what is about to go");
    }
    if let Some(path) = &args.json {
        let figures = json!({
            "server": target.name, "sockets": idle.added, "resident_bytes": idle.resident,
            "kernel_bytes": idle.kernel, "at_rest": idle.at_rest,
        });
        write_json(path, &figures)?;
    }
    Ok(ExitCode::SUCCESS)
}
