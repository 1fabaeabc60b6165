//! `soundoff`: one binary for every role. This crate is the only place that wires the others together.

mod acceptor;
mod asyncapi;
mod chaos;
mod config;
mod datadir;
mod deployment;
mod door;
mod engines;
mod features;
mod files;
#[cfg(test)]
mod generated;
mod health;
mod lan;
mod node;
mod ops;
mod pages;
mod pool;
mod purge;
mod roles;
mod serve;
mod shutdown;
mod up;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use config::{Cli, Command, TimelineCommand};
use rustix::fs::Mode;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::web::operator::operator_key;
use soundoff_common::{note, tell};

/// Measured: computing timelines takes a fifth less processor time than with the system's allocator
/// (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The allocator asks the kernel for huge pages, and then one small value keeps two megabytes in memory: 36 KB for
    // each connected user instead of 10 (`docs/benchmarks.md`). If the kernel cannot turn this off, we start all the
    // same.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // What this process makes is for its own user alone, in whatever directory.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(cli.log.filter()).with_ansi(colours);
    // What the log cannot write is lost: by default it would say so to the same standard error, and panic.
    log.with_writer(std::io::stderr).log_internal_errors(false).init();
    let done = config::refuse_unknown_environment().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(cli.command))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note!("soundoff: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(config) => up::run(config).await,
        Command::Edge(role) => roles::edge(*role).await,
        Command::Router(role) => roles::router(*role).await,
        Command::Workers { command: Some(command), .. } => ops::cli::workers(command).await,
        Command::Workers { command: None, role } => roles::workers(*role).await,
        Command::Timeline { command: Some(command), .. } => timeline(command).await,
        Command::Timeline { command: None, role } => roles::timeline(*role, &roles::TIMELINE).await,
        Command::Gate { command } => ops::cli::gate(command).await,
        Command::Users { command: Some(command), .. } => ops::cli::users(command).await,
        Command::Users { command: None, role } => roles::users(*role).await,
        Command::Queues { at, json } => ops::cli::queues(&at, json).await,
        Command::Dlq { command } => ops::cli::dlq(command).await,
        Command::Provision(engines) => engines::provision(&engines).await,
        Command::Health { internal_listen } => health::ask(internal_listen).await,
        Command::OpsKey(secret) => {
            tell!("{}", operator_key(&secret.read()?)?);
            Ok(())
        }
        Command::Audit(args) => ops::audit::run(args).await,
        Command::Secret { command } => ops::secret::run(command).await,
        Command::Deployment => {
            soundoff_common::terminal::print(&deployment::json());
            Ok(())
        }
        Command::Asyncapi => asyncapi::print(),
    }
}

async fn timeline(command: TimelineCommand) -> anyhow::Result<()> {
    match command {
        TimelineCommand::Schedule(role) => roles::timeline(*role, &[Tier::Schedule]).await,
        TimelineCommand::Compute(role) => roles::timeline(*role, &[Tier::Compute]).await,
        TimelineCommand::Personalize(role) => roles::timeline(*role, &[Tier::Personalize]).await,
        TimelineCommand::Fetch(role) => roles::timeline(*role, &[Tier::Fetch]).await,
        TimelineCommand::Tick { users, at } => ops::timeline::tick(users, &at).await,
        TimelineCommand::Status { at, json } => ops::timeline::status(&at, json).await,
    }
}
