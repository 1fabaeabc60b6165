//! Drives one hot path of the pipeline so many rounds and ends, so that its instructions can be counted: `hotpaths/count` does.
//!
//! Everything runs on one thread, on ports that keep what they must in memory; whoever sends and receives is a second process, which is
//! not counted, and which waits for each round's answers before it begins the next. So the same code takes the same instructions, and what a
//! process pays once cancels out between runs of different length.

mod client;
mod edge;
#[path = "../../timeline/benches/precompute/files.rs"]
mod files;
mod jobs;
#[expect(dead_code, reason = "the benchmark compares what it writes down; here it is only computed")]
#[path = "../../timeline/benches/precompute/ours.rs"]
mod ours;
mod peer;
mod ports;
#[path = "../../timeline/benches/precompute/usage.rs"]
mod usage;
#[path = "../../timeline/benches/precompute/world.rs"]
mod world;

use anyhow::Context as _;

use crate::edge::Load;
use crate::files::Files;

// The binary's own, as a good part of a message's instructions are the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many messages of one socket are in flight.
pub(crate) const IN_FLIGHT: usize = 16;
/// How many people have a timeline.
const READERS: usize = 2_000;

/// One path, as the script that counts asks for it.
struct HotPath {
    name: &'static str,
    /// What a round does so many times.
    unit: &'static str,
    per_round: usize,
    /// Rounds of the shorter of two runs; the longer has twice as many.
    rounds: usize,
}

const fn path(name: &'static str, unit: &'static str, per_round: usize, rounds: usize) -> HotPath {
    HotPath { name, unit, per_round, rounds }
}

const PATHS: [HotPath; 8] = [
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
        // What this program starts beside itself.
        ["peer", "world", dir] => files::make(dir.as_ref(), READERS).map(drop),
        ["peer", "sink"] => client::sink(),
        ["peer", name, rounds, public, internal] => {
            client::run(load(name)?, rounds.parse()?, public, internal)
        }
        [name, rounds] => run(name, rounds.parse()?),
        _ => anyhow::bail!("hotpaths PATH ROUNDS, or hotpaths list; `hotpaths/count` counts them all"),
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

/// What the benchmark of all timelines measures, on a small world.
fn timeline(rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let name = dir.path().to_str().context("a temporary directory whose name is not text")?;
    peer::Peer::start(&["world", name])?.end()?;
    ours::measure(&Files(dir.path().to_owned()), 1, rounds)
}
