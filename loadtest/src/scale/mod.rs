//! `loadtest scale`: the deployment on AWS, simulated over a day.

mod day;
mod dollars;
mod engine;
mod figures;
mod gathering;
mod html;
mod inputs;
mod model;
mod outcome;
mod plan;
mod plot;
mod prices;
mod requests;
mod scaling;
mod scenario;
mod spike;
mod terraform;
mod time;
mod validate;
mod waiting;
mod weighted;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use soundoff_common::note;
use tokio::sync::watch;

use crate::report::{JsonArgs, Progress, output, sheet};
use day::{DAY, Detail, simulate};
use inputs::{Behaviour, Service};
use outcome::Outcome;
use requests::Requests;
use scenario::Scenario;
use spike::{Spike, clock};
use terraform::Deployment;

/// Up to this many messages a day, each is simulated by itself, unless --detail says otherwise.
const BY_MESSAGE: f64 = 5e6;

/// Simulate the deployment on AWS over a day: queues, tasks, latency and dollars, for any number of users.
///
/// Nothing is sent anywhere. Users come along a daily curve. Edges, router, each worker queue and the timelines' stages
/// take the times that were measured, queues hide and redeliver messages as SQS does, and services grow and shrink by
/// the rule in infra/terraform, whose files are read. With few users every message is simulated by itself; with many,
/// all messages of one second and type at once.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScaleArgs {
    /// How many users there are. Several numbers, separated by commas, are simulated one after the other.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10000,1000000,100000000", value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    users: Vec<u64>,
    /// A flash crowd: 19:30+10x5 means five times as many users for ten minutes from 19:30 on. Repeatable.
    #[arg(long, value_name = "19:30+10x5")]
    spike: Vec<Spike>,
    /// Kill a task of a service at a time of the day, such as router@12:00. Repeatable.
    #[arg(long, value_name = "SERVICE@TIME")]
    kill: Vec<String>,
    /// Change a service's size, as Terraform's variable `services` does, such as workers.max=400. Repeatable.
    #[arg(long, value_name = "SERVICE.NUMBER=N")]
    set: Vec<String>,
    /// Let every service grow without a limit: shows what `max` would have to be.
    #[arg(long)]
    unlimited: bool,
    /// Read the Terraform module in this folder instead of the one that was built in.
    #[arg(long, value_name = "DIR")]
    terraform: Option<PathBuf>,
    /// A file with what messages take, instead of the one that was built in (loadtest/src/scale/service.toml).
    #[arg(long, value_name = "FILE")]
    service: Option<PathBuf>,
    /// A file with what people do, instead of the one that was built in (loadtest/src/scale/behaviour.toml).
    #[arg(long, value_name = "FILE")]
    behaviour: Option<PathBuf>,
    /// `messages` simulates every message by itself, `cohorts` all of one second and type at once. The default is
    /// `messages` up to 5 million a day.
    #[arg(long, value_name = "DETAIL", value_parser = ["messages", "cohorts"])]
    detail: Option<String>,
    /// Hours of the day to simulate, from midnight.
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=24))]
    hours: u32,
    /// The same seed gives the same day.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    json: JsonArgs,
    /// Draw the day of each number of users into this file (SVG).
    #[arg(long, value_name = "FILE", value_parser = output)]
    plot: Option<PathBuf>,
    /// Write a page with tables and plots to this file: it needs nothing but itself.
    #[arg(long, value_name = "FILE", conflicts_with = "validate", value_parser = output)]
    report: Option<PathBuf>,
    #[command(flatten)]
    validation: validate::ValidateArgs,
}

const EXAMPLES: &str = "\
Examples:
  What three sizes need and cost:
    loadtest scale --users 10000,1000000,100000000

  Whether a million users survive a flash crowd and a lost router, as a page:
    loadtest scale --users 1000000 --spike 19:30+10x5 --kill router@12:00 --report day.html

  How far services would grow if Terraform let them, and then with those limits:
    loadtest scale --users 100000000 --unlimited
    loadtest scale --users 100000000 --set edge.max=120 --set workers.max=400

  Whether the simulation is right: predicted and measured figures of a server that is started for it:
    loadtest scale --validate target/release/soundoff --plot validation.svg

docs/scale.md lists the assumptions.";

/// Simulates each number of users, prints the figures and returns the exit code.
///
/// # Errors
/// A file cannot be read or written, or names what does not exist.
pub(crate) async fn run(args: ScaleArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    if let Some(binary) = args.validation.binary() {
        let files = validate::Files { json: &args.json, plot: args.plot.as_deref() };
        return validate::run(&args.validation, binary, args.seed, files, stop).await;
    }
    let scenario = args.scenario()?;
    let mut outcomes = Vec::new();
    for users in &args.users {
        let Some(outcome) = one(&args, &scenario, *users as f64, &stop).await? else {
            return Ok(ExitCode::from(130));
        };
        outcomes.push(outcome);
    }
    soundoff_common::terminal::print(&figures::text(&scenario, &outcomes));
    args.json.write(|| figures::json(&scenario, &outcomes))?;
    if let Some(path) = &args.plot {
        let days: Vec<_> = outcomes.iter().map(plot::plots).collect();
        // A column for each number of users.
        let rows = (0..plot::PLOTS).flat_map(|row| days.iter().map(move |day| day[row].clone()));
        sheet::draw(path, days.len(), &rows.collect::<Vec<_>>())?;
    }
    if let Some(path) = &args.report {
        html::page(&scenario, &outcomes)?.write(path)?;
        note!("report: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Simulates one day on a thread of its own; none if it was interrupted.
async fn one(
    args: &ScaleArgs,
    scenario: &Scenario,
    users: f64,
    stop: &watch::Receiver<bool>,
) -> Result<Option<Outcome>> {
    let sent: f64 = scenario.behaviour.messages.values().sum();
    let messages = scenario.behaviour.sessions_a_second(users) * f64::from(scenario.seconds) * sent;
    let detail = match args.detail.as_deref() {
        Some("messages") => Detail::Messages,
        None if messages <= BY_MESSAGE => Detail::Messages,
        _ => Detail::Cohorts,
    };
    let progress = Progress::new("seconds", u64::from(scenario.seconds));
    let (scenario, stopped) = (scenario.clone(), stop.clone());
    let (done, shown) = watch::channel(0);
    let work = tokio::task::spawn_blocking(move || {
        simulate(&scenario, users, detail, |seconds| {
            done.send_replace(seconds);
            !*stopped.borrow()
        })
    });
    let outcome = progress.of(work, || *shown.borrow()).await;
    outcome.context("the simulation died")?
}

impl ScaleArgs {
    fn scenario(&self) -> Result<Scenario> {
        let mut deployment = Deployment::read(self.terraform.as_deref())?;
        self.set.iter().try_for_each(|change| deployment.set(change))?;
        if self.unlimited {
            deployment.services.values_mut().for_each(|service| service.max = u32::MAX);
        }
        let loss = |text: &String| {
            let (name, time) =
                text.split_once('@').with_context(|| format!("{text:?} should look like router@12:00"))?;
            ensure!(deployment.services.contains_key(name), "there is no service {name:?} to kill a task of");
            Ok((clock(time)?, name.to_owned()))
        };
        Ok(Scenario {
            losses: self.kill.iter().map(loss).collect::<Result<_>>()?,
            service: Service::read(self.service.as_deref())?,
            behaviour: Behaviour::read(self.behaviour.as_deref())?,
            requests: Requests::read()?,
            spikes: self.spike.clone(),
            seconds: DAY.min(self.hours * 3600),
            seed: self.seed,
            deployment,
        })
    }
}
