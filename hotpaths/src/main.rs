//! Runs one hot path of the pipeline for a number of rounds and ends, so that its instructions can be counted:
//! `hotpaths/count` does that.
//!
//! Everything runs on one thread, on ports that keep what they need in memory. Senders and receivers are a second
//! process, which is not counted and which waits for all answers of a round before it begins the next. So the same code
//! takes the same number of instructions, and what a process spends once cancels out between runs of different length.

mod client;
mod edge;
mod jobs;
mod load;
mod peer;
mod ports;

use anyhow::Context as _;
use benchkit::files::{self, Files};
use benchkit::ours;

use crate::load::{IN_FLIGHT, Load};

// The allocator of the product, as many of a message's instructions are the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many people have a timeline.
const READERS: usize = 2_000;

/// One path, as `hotpaths/count` asks for it.
struct HotPath {
    name: &'static str,
    /// What a round does `per_round` times.
    unit: &'static str,
    per_round: usize,
    /// Rounds of the shorter of two runs; the longer has twice as many.
    rounds: usize,
}

const fn path(name: &'static str, unit: &'static str, per_round: usize, rounds: usize) -> HotPath {
    HotPath { name, unit, per_round, rounds }
}

const PATHS: &[HotPath] = &[
    path("edge_ingest", "ping answered, 16 in flight", IN_FLIGHT, 2_000),
    path("edge_publish", "send accepted, 16 in flight", IN_FLIGHT, 1_000),
    path("edge_deliver_1", "delivery, one a POST", 1, 2_000),
    path("edge_deliver_100", "delivery, a hundred a POST", 100, 300),
    path("router", "message routed, 64 a batch", 64, 250),
    path("worker", "typing handled, 16 at once, its reply and event posted", IN_FLIGHT, 300),
    path("pipeline", "typing through edge, router, worker and back", IN_FLIGHT, 400),
    path("timeline", "timeline merged and ranked", READERS, 1),
];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["list"] => {
            for HotPath { name, unit, per_round, rounds } in PATHS {
                println!("{name}\t{per_round}\t{rounds}\t{unit}");
            }
            Ok(())
        }
        // This program starts itself a second time with these arguments.
        ["peer", "world", dir] => files::make(dir.as_ref(), READERS).map(drop),
        ["peer", "sink"] => client::sink(),
        ["peer", name, rounds, public, internal] => {
            client::run(load(name)?, rounds.parse()?, public, internal)
        }
        [name, rounds] => run(name, rounds.parse()?),
        _ => anyhow::bail!(
            "usage: hotpaths PATH ROUNDS, or hotpaths list; `hotpaths/count` counts all of them"
        ),
    }
}

fn load(name: &str) -> anyhow::Result<Load> {
    match name {
        "edge_ingest" => Ok(Load::Ping),
        "edge_publish" => Ok(Load::Publish),
        "edge_deliver_1" => Ok(Load::Deliver(1)),
        "edge_deliver_100" => Ok(Load::Deliver(100)),
        "pipeline" => Ok(Load::Pipeline),
        _ => anyhow::bail!("no path {name}: see `hotpaths list`"),
    }
}

fn run(name: &str, rounds: usize) -> anyhow::Result<()> {
    if name == "timeline" {
        return timeline(rounds);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match name {
        "router" => runtime.block_on(jobs::route(rounds)),
        "worker" => runtime.block_on(jobs::work(rounds)),
        _ => runtime.block_on(edge::serve(name, load(name)?, rounds)),
    }
}

/// What the benchmark `precompute` measures, on a small world.
fn timeline(rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let name = dir.path().to_str().context("a temporary directory whose name is not text")?;
    peer::Peer::start(&["world", name])?.end()?;
    ours::measure(&Files(dir.path().to_owned()), 1, rounds)
}
