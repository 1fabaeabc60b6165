//! `loadtest scale --validate`: the simulation against a real run.
//!
//! A server with one slot for each queue is a single server in the sense of queueing theory, and is soon saturated. Its
//! service time is measured at one rate. From it depths, latencies and drains at other rates, and after a stop of its
//! workers, are predicted, and then measured.

mod course;
mod judged;
mod phase;
mod plot;
mod predict;
mod server;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use crate::report::{JsonArgs, sheet};
use course::Phase;
use judged::{Judged, figures, text};
use predict::{Calibration, predict};
use server::Up;

/// A first look at the server, from which the rate for the calibration follows.
const PROBE: Phase = Phase { rate: 100, seconds: 5, pause: None };
/// The utilization of the calibration, unless --calibrate says otherwise, by the first look's service time. That is too
/// long, as a sleeping server has to wake.
const CALIBRATED: f64 = 0.85;
/// Utilizations that are predicted, and when the workers are stopped and started again, in twentieths of the phase.
const LOADS: [(f64, Option<[u32; 2]>); 6] =
    [(0.3, None), (0.75, None), (0.9, None), (1.2, None), (1.6, None), (0.5, Some([4, 9]))];

/// Plots beside each other.
const COLUMNS: usize = 3;

/// How to validate.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Instead of a day, compare the simulation with a real run of this `soundoff` binary, which is started and stopped
    /// for it: about five minutes.
    #[arg(long, value_name = "SOUNDOFF")]
    validate: Option<std::path::PathBuf>,
    /// The type that is sent.
    #[arg(long = "type", default_value = "post.create", value_name = "TYPE", value_parser = crate::accepted::TYPES, requires = "validate")]
    message_type: String,
    /// Messages a second of the run that the service time is measured in; by default 85 % of what one slot seems to
    /// manage.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=20_000), requires = "validate")]
    calibrate: Option<u32>,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(5..=600), requires = "validate")]
    each: u32,
}

impl ValidateArgs {
    /// The binary, if there is one to run.
    pub(super) fn binary(&self) -> Option<&Path> {
        self.validate.as_deref()
    }
}

/// The files that figures and plots go to, where they are asked for.
pub(super) struct Files<'a> {
    /// The figures.
    pub(super) json: &'a JsonArgs,
    /// The plots.
    pub(super) plot: Option<&'a Path>,
}

/// Runs, compares and prints.
///
/// # Errors
/// The server cannot be started or measured.
pub(super) async fn run(
    of: &ValidateArgs,
    binary: &Path,
    seed: u64,
    files: Files<'_>,
    stop: watch::Receiver<bool>,
) -> Result<ExitCode> {
    let up = Up::start(binary).await?;
    let rate = match of.calibrate {
        Some(rate) => rate,
        None => {
            let probed = PROBE.measure(&up, &of.message_type, &stop).await.context("the first look")?;
            (CALIBRATED / probed.service.0).clamp(1.0, 20_000.0) as u32
        }
    };
    let first = Phase { rate, seconds: of.each.div_ceil(2), pause: None };
    let mut judged = Vec::new();
    for (load, pause) in LOADS {
        if *stop.borrow() {
            up.stop().await?;
            return Ok(ExitCode::from(130));
        }
        judged.push(judge((of, seed), &up, &first, load, pause, &stop).await?);
    }
    up.stop().await?;
    soundoff_common::terminal::print(&text(&judged));
    files.json.write(|| figures(&of.message_type, rate, &judged))?;
    if let Some(path) = files.plot {
        sheet::draw(path, COLUMNS, &plot::plots(&judged))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Calibrates, predicts and measures one rate. The machine can be faster a minute later, so each rate has a calibration
/// of its own, just before it.
async fn judge(
    (of, seed): (&ValidateArgs, u64),
    up: &Up,
    first: &Phase,
    load: f64,
    pause: Option<[u32; 2]>,
    stop: &watch::Receiver<bool>,
) -> Result<Judged> {
    let measured = first.measure(up, &of.message_type, stop).await.context("the run to calibrate with")?;
    let calibration = Calibration::new(first, &measured, seed);
    let pause = pause.map(|times| times.map(|time| time * of.each / 20));
    let phase = Phase { rate: (load / calibration.service).round().max(1.0) as u32, seconds: of.each, pause };
    let predicted = predict(&phase, calibration, seed);
    let measured =
        phase.measure(up, &of.message_type, stop).await.with_context(|| format!("at {}/s", phase.rate))?;
    let hindsight = predict(&phase, calibration.with_service(measured.service), seed);
    Ok(Judged { phase, calibration, predicted, hindsight, measured })
}
