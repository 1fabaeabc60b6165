//! `loadtest ingest`: the cost of a message that the edge itself answers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::dialect::{Dialect, Heard, User};
use crate::opening::{AT_ONCE, open};
use crate::peers::servers;
use crate::report::JsonArgs;
use crate::target::{Target, TargetArgs, ensure_room};
use crate::window::{Spent, Window};
use crate::wire::{Swarm, Talk};

/// Measure messages that are answered at the edge, such as heartbeats.
///
/// Every socket keeps --in-flight messages in flight: each answer is followed by the next message. Answers are counted
/// and checked; a wrong answer, or more answers than messages, fails the run. For Sound Off and the peers in JavaScript
/// the message is `{\"op\":\"ping\"}` with a field that is ignored, and the answer `{\"op\":\"pong\"}`; a server with
/// rate limits must have them lifted.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = INGEST_EXAMPLES)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Load {
    /// Sockets, each of another user.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=18_000))]
    pub(crate) sockets: u32,
    /// Messages in flight on each.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) in_flight: u32,
    /// Bytes of a message, at least 22; with fewer, no field is added.
    #[arg(long, default_value_t = 200, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=30_000))]
    pub(crate) bytes: u32,
    /// Seconds, after two seconds that do not count.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) duration: u32,
}

const INGEST_EXAMPLES: &str = "\
Examples:
  loadtest ingest
  loadtest ingest --server bun --in-flight 1

Exit code: 0 when every message had its answer, 1 when not.";

/// Counts answers, and sends the next message for each.
struct Asking {
    dialect: Dialect,
    ping: Vec<u8>,
    open: Vec<u32>,
    answered: u64,
    ending: bool,
}

impl Talk for Asking {
    fn heard(&mut self, at: usize, kind: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let answers = match self.dialect.sort(kind, payload)? {
            Heard::Pong(answers) => answers,
            Heard::Other => return Ok(()),
            Heard::Welcome => bail!("a second welcome"),
        };
        let open = self.open[at].checked_sub(answers).context("an answer to no question")?;
        self.answered += u64::from(answers);
        if self.ending {
            self.open[at] = open;
        } else {
            (0..answers).for_each(|_| out.extend_from_slice(&self.ping));
        }
        Ok(())
    }
}

/// Sends and counts.
///
/// # Errors
/// A socket breaks, an answer is wrong or missing, or the server ends.
pub(crate) fn measure(
    target: &Target,
    users: &[User],
    load: Load,
    stop: &watch::Receiver<bool>,
) -> Result<Spent> {
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, users, AT_ONCE, stop)?;
    target.settle(Duration::from_secs(10))?;
    let mut ping = Vec::new();
    target.dialect.ping(load.bytes as usize, &mut ping);
    let open = vec![load.in_flight; users.len()];
    let mut asking = Asking { dialect: target.dialect, ping, open, answered: 0, ending: false };
    let first = asking.ping.repeat(load.in_flight as usize);
    for at in 0..users.len() {
        swarm.send(at, &first)?;
    }
    let spent = Window::of(target, &mut swarm, &mut asking, load.duration, stop, |asking| asking.answered)?;
    asking.ending = true;
    let drained = |asking: &Asking| asking.open.iter().all(|open| *open == 0);
    crate::window::drain(&mut swarm, &mut asking, drained)?;
    Ok(spent)
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: IngestArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    ensure_room(args.load.sockets as usize)?;
    let target = servers::target(&args.target).await?;
    let users = target.users("ingest", args.load.sockets as usize).await?;
    let spent = measure(&target, &users, args.load, &stop)?;
    let Load { sockets, in_flight, bytes, .. } = args.load;
    tell!("{}: {sockets} sockets, {in_flight} in flight on each, {bytes} bytes", target.name);
    tell!("{}", spent.line("messages"));
    args.json.write(|| {
        json!({
            "server": target.name, "sockets": sockets, "in_flight": in_flight, "bytes": bytes, "spent": spent.json(),
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
