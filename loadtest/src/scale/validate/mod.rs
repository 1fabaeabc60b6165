//! `loadtest scale --validate`: the simulation against a real run.
//!
//! A server with one slot for each queue is one server in the sense of queueing theory, and soon saturated. Its service time is taken from one
//! rate; depths, latencies and drains at other rates, and after a stop of its workers, are predicted from that, and then measured.

mod phase;
mod plot;
mod predict;
mod server;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::sync::watch;

use super::ScaleArgs;
use crate::report::sheet;
use phase::{Measured, Phase};
use predict::{Calibration, Course, predict};
use server::Up;

/// A first look at the server, from which a rate to calibrate at follows.
const PROBE: Phase = Phase { rate: 100, seconds: 5, pause: None };
/// The utilization that is calibrated at, unless told otherwise, by the first look's service time; that is longer, as a server that sleeps has to wake.
const CALIBRATED: f64 = 0.85;
/// Utilizations that are predicted, and how the workers are stopped: from when, until when, in twentieths of the phase.
const LOADS: [(f64, Option<[u32; 2]>); 6] =
    [(0.3, None), (0.75, None), (0.9, None), (1.2, None), (1.6, None), (0.5, Some([4, 9]))];

/// Plots beside each other.
const COLUMNS: usize = 3;

/// What is validated with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Instead of a day, hold the simulation to a real run of this `soundoff` binary, which is started and stopped for it: some five minutes.
    #[arg(long, value_name = "SOUNDOFF")]
    validate: Option<std::path::PathBuf>,
    /// The type that is sent.
    #[arg(long = "type", default_value = "post.create", value_name = "TYPE", value_parser = crate::accepted::TYPES, requires = "validate")]
    message_type: String,
    /// Messages a second of the run that the service time is taken from; by default most of what one slot seems to manage.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=20_000), requires = "validate")]
    calibrate: Option<u32>,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(5..=600), requires = "validate")]
    each: u32,
}

impl ValidateArgs {
    /// The binary, where there is one to run.
    pub(super) fn binary(&self) -> Option<&Path> {
        self.validate.as_deref()
    }
}

/// One rate, as predicted and as it was.
struct Judged {
    phase: Phase,
    calibration: Calibration,
    predicted: Course,
    /// The same prediction from the service time that this very run had: what is left is the model's error, without the machine's.
    hindsight: Course,
    measured: Measured,
}

/// Runs, compares and tells.
///
/// # Errors
/// The server cannot be started or measured.
pub(super) async fn run(args: &ScaleArgs, binary: &Path, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let of = &args.validation;
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
        judged.push(judge(args, &up, &first, load, pause, &stop).await?);
    }
    up.stop().await?;
    print!("{}", text(&judged));
    args.json.write(|| figures(of, rate, &judged))?;
    if let Some(path) = &args.plot {
        sheet::draw(path, COLUMNS, &plot::plots(&judged))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Calibrates, predicts and measures one rate. The machine may be faster a minute later, so that each has a calibration of its own, just before it.
async fn judge(
    args: &ScaleArgs,
    up: &Up,
    first: &Phase,
    load: f64,
    pause: Option<[u32; 2]>,
    stop: &watch::Receiver<bool>,
) -> Result<Judged> {
    let of = &args.validation;
    let measured = first.measure(up, &of.message_type, stop).await.context("the run to calibrate with")?;
    let calibration = Calibration::new(first, &measured, args.seed);
    let pause = pause.map(|times| times.map(|time| time * of.each / 20));
    let phase = Phase { rate: (load / calibration.service).round().max(1.0) as u32, seconds: of.each, pause };
    let predicted = predict(&phase, calibration, args.seed);
    let measured =
        phase.measure(up, &of.message_type, stop).await.with_context(|| format!("at {}/s", phase.rate))?;
    let hindsight = predict(&phase, calibration.with_service(measured.service), args.seed);
    Ok(Judged { phase, calibration, predicted, hindsight, measured })
}

/// Off by so many percent.
fn off(predicted: f64, measured: f64) -> f64 {
    if measured > 0.0 { 100.0 * (predicted / measured - 1.0) } else { 0.0 }
}

/// What is compared: name, unit, digits, and the figure.
type Row = (&'static str, usize, fn(&Course) -> f64);
/// A drain is told of what had a backlog of so many.
const BACKLOG: f64 = 100.0;
const ROWS: [Row; 5] = [
    ("depth, mean", 1, |course| course.mean_depth),
    ("depth, most", 0, |course| course.most),
    ("p50, ms", 2, |course| course.p50 * 1e3),
    ("p99, ms", 2, |course| course.p99 * 1e3),
    ("drained, s", 1, |course| course.drained),
];

fn text(judged: &[Judged]) -> String {
    let mut lines = vec![format!(
        "    {:<12} {:>10} {:>10} {:>8}   {:>22} {:>8}",
        "", "predicted", "measured", "off", "by its own service time", "off"
    )];
    for Judged { phase, calibration, predicted, hindsight, measured } in judged {
        lines.push(format!(
            "{} ({}, then {:.3} ms)",
            phase.name(),
            calibration.line(),
            measured.service.0 * 1e3
        ));
        let rows = if measured.course.most.max(predicted.most) > BACKLOG {
            &ROWS[..]
        } else {
            &ROWS[..ROWS.len() - 1]
        };
        for (name, digits, of) in rows {
            let [a, b, c] = [predicted, &measured.course, hindsight].map(of);
            lines.push(format!(
                "    {name:<12} {a:>10.digits$} {b:>10.digits$} {:>7.0}%   {c:>22.digits$} {:>7.0}%",
                off(a, b),
                off(c, b)
            ));
        }
    }
    lines.join("\n") + "\n"
}

fn figures(args: &ValidateArgs, rate: u32, judged: &[Judged]) -> serde_json::Value {
    let phase = |judged: &Judged| {
        json!({
            "rate": judged.phase.rate, "seconds": judged.phase.seconds, "pause": judged.phase.pause,
            "calibration": judged.calibration, "service_s": judged.measured.service.0, "variation": judged.measured.service.1,
            "predicted": &judged.predicted, "measured": &judged.measured.course, "hindsight": &judged.hindsight,
        })
    };
    json!({
        "type": args.message_type, "calibrated_at": rate,
        "phases": judged.iter().map(phase).collect::<Vec<_>>(),
    })
}
