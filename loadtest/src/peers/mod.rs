//! `loadtest peers`: Sound Off and other servers, measured in turn by the same generator in the same run.

mod install;
pub(crate) mod peer;
mod plot;
pub(crate) mod servers;
mod table;
mod trials;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use soundoff_common::note;
use tokio::sync::watch;

use crate::opening::Stopped;
use crate::report::{JsonArgs, Progress, output};
use crate::target::{PlaceArgs, TargetArgs, ensure_room};
use install::Installed;
use peer::Peer;
use table::Table;
use trials::{Size, Trial, trials};

/// Measure Sound Off and its peers in turn and print the ratios.
///
/// Peers are unpacked from Debian's and npm's packages into --dir; nothing in the system changes and no service is set
/// up. Every server is started for each measurement, on loopback, and is stopped after it. Each round goes through all
/// servers, so that other work of the machine disturbs all of them in the same way; the table shows the median and the
/// span of the rounds, and the median of the rounds' ratios. A peer that cannot be installed is skipped and named.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = PEERS_EXAMPLES)]
pub(crate) struct PeersArgs {
    /// Only these, besides Sound Off itself.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER,…")]
    only: Vec<Peer>,
    /// Only rows whose name begins with this, such as `deliver` or `storm`.
    #[arg(long, value_delimiter = ',', value_name = "ROW,…")]
    rows: Vec<String>,
    /// How often each trial is measured.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Idle sockets; half as many come back in a storm.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(400..=1_000_000))]
    connections: u32,
    /// Seconds of each measurement that lasts for a set time.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    duration: u32,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: JsonArgs,
    /// Draw them as bars into this SVG file.
    #[arg(long, value_name = "FILE", value_parser = output)]
    plot: Option<PathBuf>,
}

const PEERS_EXAMPLES: &str = "\
Examples:
  All of it, about a quarter of an hour; keep the machine quiet meanwhile:
    loadtest peers --json peers.json --plot peers.svg

  One peer, one row, once:
    loadtest peers --only bun --rows deliver --rounds 1

Exit code: 0 when all installed servers were measured, 1 when a measurement failed, 130 on Ctrl-C, which still prints the figures so far.";

impl PeersArgs {
    fn target(&self) -> TargetArgs {
        TargetArgs::up(self.place.clone())
    }

    fn wants(&self, trial: &Trial) -> bool {
        let peer = self.only.is_empty() || trial.peer == Peer::Up || self.only.contains(&trial.peer);
        peer && (self.rows.is_empty() || self.rows.iter().any(|row| trial.row().starts_with(row.as_str())))
    }
}

/// Runs it, prints the table and returns the exit code.
///
/// # Errors
/// There is nothing to measure, or a file cannot be written.
pub(crate) async fn run(args: PeersArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    ensure_room(args.connections as usize)?;
    let mut table = Table::default();
    let mut all: Vec<Trial> = trials().into_iter().filter(|trial| args.wants(trial)).collect();
    leave_out_what_is_missing(&args, &mut all, &mut table)?;
    ensure!(!all.is_empty(), "there is nothing to measure: see --only and --rows");
    let size = Size { connections: args.connections as usize, seconds: args.duration };
    let progress = Progress::new("measuring", (all.len() * args.rounds as usize) as u64);
    let mut stopped = false;
    'rounds: for round in 0..args.rounds {
        for group in all.chunk_by(|a, b| a.row() == b.row()) {
            // The trial that comes first in one round comes later in the next.
            let first = round as usize % group.len();
            for trial in group[first..].iter().chain(&group[..first]) {
                match trial.run(&args.target(), size, &stop).await {
                    Ok(figures) => table.add(trial, round, figures),
                    Err(error) if error.is::<Stopped>() => stopped = true,
                    Err(error) => table.fail(trial, round, &error),
                }
                if stopped || *stop.borrow() {
                    stopped = true;
                    break 'rounds;
                }
                progress.step();
                progress.show();
            }
        }
    }
    progress.finish();
    soundoff_common::terminal::print(&table.text());
    args.json.write(|| table.json(args.rounds, size))?;
    if let Some(path) = &args.plot {
        plot::draw(path, &table)?;
    }
    Ok(match (stopped, table.failed()) {
        (true, _) => ExitCode::from(130),
        (false, false) => ExitCode::SUCCESS,
        (false, true) => ExitCode::FAILURE,
    })
}

fn leave_out_what_is_missing(args: &PeersArgs, all: &mut Vec<Trial>, table: &mut Table) -> Result<()> {
    let mut peers: Vec<Peer> = all.iter().map(|trial| trial.peer).collect();
    peers.sort();
    peers.dedup();
    let installed = Installed::new(&args.place.dir)?;
    for peer in peers {
        if let Err(error) = installed.ensure(peer) {
            note!("SKIPPED {}: {error:#}", peer.name());
            table.skip(peer, &error);
            all.retain(|trial| trial.peer != peer);
        }
    }
    table.versions = installed.versions();
    Ok(())
}
