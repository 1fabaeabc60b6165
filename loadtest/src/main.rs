//! Load tests for a Sound Off server. They use its websocket protocol as any client does.

mod accepted;
mod asking;
mod beating;
mod bill;
mod children;
mod client;
mod compare;
mod deliver;
mod dialect;
mod graph;
mod hot;
mod http;
mod idle;
mod ingest;
mod open_loop;
mod opening;
mod overload;
mod peers;
mod pipeline;
mod posts;
mod process;
mod report;
mod run;
mod scale;
mod seed;
mod sending;
mod server;
mod socket;
mod soundoff;
mod storm;
mod target;
mod timelines;
mod turns;
mod weather;
mod window;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use soundoff_common::note;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Load tests for a Sound Off server, through the same websocket as any app.
///
/// Start a server with `soundoff up`, then load it from another terminal.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(run::RunArgs),
    Compare(compare::CompareArgs),
    Seed(seed::SeedArgs),
    Accepted(accepted::AcceptedArgs),
    Timelines(timelines::TimelinesArgs),
    Bill(bill::BillArgs),
    Scale(scale::ScaleArgs),
    Idle(idle::IdleArgs),
    Ingest(ingest::IngestArgs),
    Deliver(deliver::DeliverArgs),
    Storm(storm::StormArgs),
    Pipeline(pipeline::PipelineArgs),
    Hot(hot::HotArgs),
    Weather(weather::WeatherArgs),
    Overload(overload::OverloadArgs),
    Peers(peers::PeersArgs),
}

const EXAMPLES: &str = "\
Examples:
  loadtest run --report run.html                  everything that users do, every answer checked, with plots
  loadtest compare before.json after.json         what changed between two runs, and whether it is beyond noise
  loadtest seed --graph ego-facebook.txt          fill a server with a real social graph
  loadtest accepted --rate 2000 --duration 30     how soon messages are durable, at a fixed rate
  loadtest timelines                              how soon a timeline is there, for those who follow few and many
  loadtest bill --metrics http://…/metrics        what a deployment asks of AWS, and what that costs
  loadtest scale --users 10000,100000000          what a day of that many users would need and cost on AWS, simulated
  loadtest idle --connections 10000               memory of a socket that sends nothing
  loadtest storm --connections 10000              everybody comes back at once
  loadtest ingest                                 processor time of a message answered at the edge
  loadtest deliver --batch 100                    processor time of a delivery, from POST to socket
  loadtest pipeline --type dm.send                the whole way, at saturation or at a fixed rate
  loadtest hot                                    one post that everybody likes, and what others hear of it
  loadtest weather outages                        nothing is lost while engines are away, disks full or clocks wrong
  loadtest overload                               ten times as much as is served, floods, and what polite users notice
  loadtest peers                                  all that against Bun, Node, nchan, mosquitto, NATS and Redis, in turn

`loadtest COMMAND --help` explains each.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli.command) {
        Ok(code) => code,
        Err(error) => {
            note!("error: {error:#}");
            if error.is::<opening::Stopped>() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn start(command: Command) -> Result<ExitCode> {
    // One thread: the server under test usually wants the other cores, and one generates more than a server takes.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(async move {
            let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
            loop {
                let heard = tokio::select! {
                    interrupted = tokio::signal::ctrl_c() => interrupted.is_ok(),
                    terminated = terminate.recv() => terminated.is_some(),
                };
                // The second signal means now; but tools such as `timeout` signal twice when they mean once.
                if !heard || stopper.send_replace(true) {
                    children::kill_all();
                    std::process::exit(130);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        match command {
            Command::Run(args) => run::run(args, stop).await,
            Command::Compare(args) => compare::run(&args),
            Command::Seed(args) => seed::run(args, stop).await,
            Command::Accepted(args) => accepted::run(args, stop).await,
            Command::Timelines(args) => timelines::run(args, stop).await,
            Command::Bill(args) => bill::run(args, stop).await,
            Command::Scale(args) => scale::run(args, stop).await,
            Command::Idle(args) => idle::run(args, stop).await,
            Command::Ingest(args) => ingest::run(args, stop).await,
            Command::Deliver(args) => deliver::run(args, stop).await,
            Command::Storm(args) => storm::run(args, stop).await,
            Command::Pipeline(args) => pipeline::run(args, stop).await,
            Command::Hot(args) => hot::run(args, stop).await,
            Command::Weather(args) => weather::run(&args),
            Command::Overload(args) => overload::run(args, stop).await,
            Command::Peers(args) => peers::run(args, stop).await,
        }
    })
}
