//! `loadtest weather`: the proofs that the laws hold in bad weather, each by one command.
//!
//! They live where their tools are: faults of disks and clocks beside the product's tests, absent engines beside the
//! stand-ins for AWS. This runs them from a checkout, for longer than `./test` does.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use soundoff_common::note;
use soundoff_common::tell;

/// Repeat a proof that nothing is lost, doubled or answered falsely when something goes wrong.
///
/// It needs a checkout and what `./test` installs. Engines are stand-ins on this machine, which starts them and stops
/// them at the end. While it runs, other work of the machine makes replies late.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = WEATHER_EXAMPLES)]
pub(crate) struct WeatherArgs {
    /// What goes wrong.
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
    /// Seconds for which an engine or a cache node is away.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Of `outages` only these, such as "sqs gone" or "dynamodb frozen".
    #[arg(long, value_delimiter = ',', value_name = "OUTAGE,…")]
    only: Vec<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Each of SQS, DynamoDB, memcached, Firehose and S3 is gone, and then frozen, under load: some 20 minutes.
    Outages,
    /// memcached is flushed, restarted and cut off, and one of two nodes is stopped and frozen: some 5 minutes.
    Cache,
    /// Every write and every sync of queue log, tables, archive and blobs fails, finds no room or is slow: some hours.
    Disks,
    /// Wall clocks are wrong, for one process and for two edges of a deployment: some 10 minutes.
    Clocks,
    /// Everybody turns to one post and one person, on the rules of DynamoDB and here: some 3 minutes.
    Hot,
}

const WEATHER_EXAMPLES: &str = "\
Examples:
  Each engine away for a minute, in both ways; prints a row of docs/benchmarks.md for each:
    loadtest weather outages

  The tables alone, for ten seconds:
    loadtest weather outages --seconds 10 --only \"dynamodb gone\"

  A disk that fails at each of some hundred points:
    loadtest weather disks

Exit code: 0 when every proof holds, 1 when not.";

/// What all builds of a checkout select, so that nothing is compiled twice.
const SELECTION: [&str; 4] = ["--quiet", "--workspace", "--features", "soundoff/aws"];

/// Finds the checkout that the present directory is in.
fn checkout() -> Result<PathBuf> {
    let here = std::env::current_dir().context("there is no present directory")?;
    let found = here.ancestors().find(|dir| dir.join("tests/standins/with").is_file());
    Ok(found.context("run it in a checkout of Sound Off: the proofs are among its tests")?.to_owned())
}

/// Tests of the workspace by the names of their files.
fn tests(root: &Path, names: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.arg("test").args(SELECTION).current_dir(root).env("TEST_LONG", "1");
    for name in names {
        cargo.args(["--test", name]);
    }
    cargo.args(["--", "--nocapture", "--test-threads=2"]);
    cargo
}

/// A proof on a deployment whose engines are stand-ins.
fn deployed(root: &Path, script: &str) -> Result<Command> {
    let python = root.join(".venv/bin/python");
    if !python.is_file() {
        bail!("{} is missing: run ./test once, which installs it", python.display());
    }
    let mut with = Command::new(root.join("tests/standins/with"));
    with.arg(python).arg(root.join("tests/deployment").join(script)).current_dir(root);
    with.env("TEST_BINARY", root.join("target/debug/soundoff"));
    Ok(with)
}

/// The steps of a proof, each with its name.
fn steps(args: &WeatherArgs, root: &Path) -> Result<Vec<(&'static str, Command)>> {
    let (seconds, only) = (args.seconds.to_string(), args.only.join(","));
    let on_stand_ins = |script, settings: &[(&str, &str)]| -> Result<Vec<_>> {
        let mut build = Command::new("cargo");
        build.arg("test").args(SELECTION).args(["--no-run", "--test", "structure"]).current_dir(root);
        let mut proof = deployed(root, script)?;
        proof.envs(settings.iter().copied());
        Ok(vec![("build", build), (script, proof)])
    };
    Ok(match args.what {
        What::Outages => on_stand_ins("outages.py", &[("OUTAGE_SECONDS", &seconds), ("OUTAGES", &only)])?,
        What::Cache => on_stand_ins("cache.py", &[("CACHE_AWAY", &seconds)])?,
        What::Disks => vec![("disks", tests(root, &["disks"]))],
        What::Clocks => {
            let mut steps = vec![("clocks", tests(root, &["clocks"]))];
            steps.extend(on_stand_ins("clocks.py", &[])?);
            steps
        }
        What::Hot => {
            let mut here = Command::new(std::env::current_exe().context("this program has no path")?);
            here.arg("hot").current_dir(root);
            vec![("hot keys on the rules of DynamoDB", tests(root, &["hot"])), ("hot keys here", here)]
        }
    })
}

/// Runs the steps in turn; one that fails ends the proof.
///
/// # Errors
/// There is no checkout, or a step cannot be run.
pub(crate) fn run(args: &WeatherArgs) -> Result<ExitCode> {
    let root = checkout()?;
    for (name, mut step) in steps(args, &root)? {
        note!("== {name}");
        let begun = Instant::now();
        let status = step.status().with_context(|| format!("cannot run {}", step.get_program().display()))?;
        let time = Duration::from_secs(begun.elapsed().as_secs());
        if !status.success() {
            note!("{name} does not hold: {status}, after {time:?}");
            return Ok(ExitCode::FAILURE);
        }
        tell!("{name}: holds, {time:?}");
    }
    Ok(ExitCode::SUCCESS)
}
