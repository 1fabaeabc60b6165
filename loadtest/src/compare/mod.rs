//! `loadtest compare`: what changed between runs, and whether it is more than they vary anyway.

mod bootstrap;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use soundoff_common::note;

use crate::report::JsonArgs;
use crate::run::figures::{Figures, held_up};
use bootstrap::{Estimate, Metric, Units, scaled, variance};

/// Fewer seconds do not show how much they vary.
const LEAST_SECONDS: usize = 10;

/// A change of more than this many standard errors is beyond noise. There are 14 rows: of a hundred repeats without a
/// change, four show such a row.
const ERRORS: f64 = 3.0;

/// The seed of chance: the same files always give the same result.
const SEED: u64 = 1;

/// Compare runs, and say what is beyond noise.
///
/// Each side is the figures of one run or of several, as `loadtest run --json` writes them. Runs that were asked for
/// different loads are not compared; seed, address and machine may differ.
///
/// Method. How much a run varies within itself is measured by a moving block bootstrap: the run is drawn again 200
/// times from its own seconds, in blocks of neighbouring ones (as many as the cube root of their count), and each
/// percentile is taken of all latencies of the drawn seconds. Where a side has several runs, the variance between them
/// is measured as well, and the greater of both counts. Changes of throughput and latency are compared as logarithms. A
/// change is beyond noise if it is more than three standard errors (with 14 rows, about four of a hundred repeats
/// without a change show one) and at least --least. A percentile with fewer than ten messages beyond it is not judged.
/// Wrong answers are never noise.
///
/// One run a side cannot show how a machine differs from one run to the next. Where that matters, make five of each
/// side, in turns.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Runs before the change; the last of exactly two is the run after it, unless --to says otherwise.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Runs after the change.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    to: Vec<PathBuf>,
    /// Changes below this percentage do not matter.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT", value_parser = percent)]
    least: f64,
    #[command(flatten)]
    json: JsonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Two runs:
    loadtest compare before.json after.json

  Five of each, made in turns:
    loadtest compare a1.json a2.json a3.json a4.json a5.json --to b1.json b2.json b3.json b4.json b5.json

Exit code: 0 when nothing is worse beyond noise, 1 when something is, 2 when the files cannot be compared or the figures cannot be written.";

fn percent(text: &str) -> Result<f64> {
    let percent: f64 = text.parse().context("it is no number")?;
    ensure!((0.0..=1000.0).contains(&percent), "it is not between 0 and 1000");
    Ok(percent)
}

/// Compares, prints the table and returns the exit code.
///
/// # Errors
/// None: files that cannot be compared have an exit code of their own.
pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let compared = || -> Result<Comparison> {
        let [before, after] = sides(args)?;
        let comparison = Comparison::of(&before, &after)?;
        args.json.write(|| comparison.json(args.least))?;
        Ok(comparison)
    };
    let comparison = match compared() {
        Ok(comparison) => comparison,
        Err(error) => {
            note!("error: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    soundoff_common::terminal::print(&comparison.text(args.least));
    let worse = comparison.rows.iter().any(|row| row.verdict(args.least) == Verdict::Worse);
    Ok(if worse || comparison.is_more_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The runs of a side, with their names.
type Side = Vec<(String, Figures)>;

fn sides(args: &CompareArgs) -> Result<[Side; 2]> {
    let (before, after) = match (args.files.as_slice(), args.to.as_slice()) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        (_, []) => bail!("give two files, or the runs after the change behind --to"),
        (before, after) => (before, after),
    };
    let read = |files: &[PathBuf]| -> Result<Side> {
        files.iter().map(|path| Ok((path.display().to_string(), Figures::read(path)?))).collect()
    };
    Ok([read(before)?, read(after)?])
}

/// Two sides next to each other.
#[derive(Debug)]
struct Comparison {
    notes: Vec<String>,
    rows: Vec<Row>,
    /// Wrong answers, before and after.
    wrong: [u64; 2],
}

impl Comparison {
    fn of(before: &Side, after: &Side) -> Result<Self> {
        let (first_name, first) = before.first().context("there is nothing to compare")?;
        let mut notes = Vec::new();
        for (name, figures) in before.iter().chain(after) {
            let differing = differences(&json!(first.configuration), &json!(figures.configuration));
            ensure!(
                differing.is_empty(),
                "{first_name} and {name} are runs of different loads: {}",
                differing.join(", ")
            );
            let seconds = figures.loaded().len();
            ensure!(
                seconds >= LEAST_SECONDS,
                "{name}: {seconds} s of load are too few, {LEAST_SECONDS} the least"
            );
            let machine = |figures: &Figures| json!(figures.circumstances.machine);
            let differing = differences(&machine(first), &machine(figures));
            if !differing.is_empty() {
                notes.push(format!("{name} comes from another machine: {}", differing.join(", ")));
            }
            notes.extend(held_up(&figures.generator).map(|late| format!("{name}: {late}")));
            if figures.outcome.not_sent > 0 {
                notes.push(format!(
                    "{name}: the generator was too slow for {} messages",
                    figures.outcome.not_sent
                ));
            }
        }
        if before.len() == 1 || after.len() == 1 {
            notes.push("a single run does not show how runs differ from each other: see --help".into());
        }
        let metrics = Metric::all();
        let estimates = |side: &Side| -> Result<Vec<Vec<Option<Estimate>>>> {
            let of = |(name, figures): &(String, Figures)| {
                Ok(Units::of(figures)
                    .with_context(|| format!("{name} is damaged"))?
                    .estimates(&metrics, SEED))
            };
            side.iter().map(of).collect()
        };
        let (before_runs, after_runs) = (estimates(before)?, estimates(after)?);
        let row = |(at, metric): (usize, &Metric)| {
            let side = |runs: &[Vec<Option<Estimate>>]| {
                let estimates: Option<Vec<Estimate>> = runs.iter().map(|run| run[at]).collect();
                estimates.map(|estimates| Mean::of(*metric, &estimates))
            };
            Row { metric: *metric, before: side(&before_runs), after: side(&after_runs) }
        };
        let wrong = |side: &Side| side.iter().map(|(_, figures)| figures.outcome.totals.wrong).sum();
        let rows = metrics.iter().enumerate().map(row).collect();
        Ok(Self { notes, rows, wrong: [wrong(before), wrong(after)] })
    }

    fn json(&self, least: f64) -> Value {
        let rows = self.rows.iter().filter(|row| row.is_there()).map(|row| row.json(least));
        json!({
            "what": "loadtest compare", "least_percent": least, "rows": rows.collect::<Vec<_>>(),
            "wrong": { "before": self.wrong[0], "after": self.wrong[1] }, "notes": self.notes,
        })
    }

    /// Wrong answers are never noise.
    fn is_more_wrong(&self) -> bool {
        self.wrong[1] > self.wrong[0]
    }

    fn text(&self, least: f64) -> String {
        let mut lines =
            vec![format!("{:<16} {:>12} {:>12} {:>10} {:>10}", "", "before", "after", "change", "± 3 s.e.")];
        lines.extend(self.rows.iter().filter(|row| row.is_there()).map(|row| row.text(least)));
        let [before, after] = self.wrong;
        let verdict = if self.is_more_wrong() { "WORSE" } else { "" };
        lines.push(format!(
            "{:<16} {before:>12} {after:>12} {:>10} {:>10}  {verdict}",
            "wrong answers", "", ""
        ));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        let beyond = |verdict| self.rows.iter().filter(|row| row.verdict(least) == verdict).count();
        let (worse, better) = (beyond(Verdict::Worse), beyond(Verdict::Better));
        lines.push(match (worse + usize::from(self.is_more_wrong()), better) {
            (0, 0) => "Nothing changed beyond noise.".to_owned(),
            (worse, better) => format!("Beyond noise: {worse} worse, {better} better."),
        });
        lines.join("\n") + "\n"
    }
}

/// Fields that differ, with both values.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return Vec::new() };
    let differing = one.iter().filter(|(field, value)| other.get(*field) != Some(value));
    differing
        .map(|(field, value)| format!("{field} {value} and {}", other.get(field).unwrap_or(&Value::Null)))
        .collect()
}

/// The mean of a side's runs.
#[derive(Debug, Clone, Copy)]
struct Mean {
    /// On the scale of [`scaled`].
    scaled: f64,
    /// The variance of that mean.
    variance: f64,
}

impl Mean {
    fn of(metric: Metric, runs: &[Estimate]) -> Self {
        let n = runs.len() as f64;
        let values: Vec<f64> = runs.iter().map(|run| scaled(metric, run.value)).collect();
        let within = runs.iter().map(|run| run.variance).sum::<f64>() / n;
        Self { scaled: values.iter().sum::<f64>() / n, variance: variance(&values).max(within) / n }
    }
}

/// How a change is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unjudged,
    Noise,
    Better,
    Worse,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Unjudged => "not judged",
            Verdict::Noise => "noise",
            Verdict::Better => "BETTER",
            Verdict::Worse => "WORSE",
        }
    }
}

/// One figure on both sides.
#[derive(Debug)]
struct Row {
    metric: Metric,
    before: Option<Mean>,
    after: Option<Mean>,
}

impl Row {
    /// The change and three standard errors of it, as scaled.
    fn change(&self) -> Option<(f64, f64)> {
        let (before, after) = (self.before?, self.after?);
        Some((after.scaled - before.scaled, ERRORS * (before.variance + after.variance).sqrt()))
    }

    fn verdict(&self, least: f64) -> Verdict {
        let Some((change, noise)) = self.change() else { return Verdict::Unjudged };
        let matters = if self.metric.is_relative() {
            (change.exp() - 1.0).abs() * 100.0 >= least
        } else {
            change != 0.0
        };
        match (change.abs() > noise && matters, (change > 0.0) == (self.metric == Metric::Throughput)) {
            (false, _) => Verdict::Noise,
            (true, true) => Verdict::Better,
            (true, false) => Verdict::Worse,
        }
    }

    /// None where neither side has the figure.
    fn is_there(&self) -> bool {
        self.before.is_some() || self.after.is_some()
    }

    /// The change and three standard errors of it: in percent where it is relative, otherwise in the figure's unit.
    fn shown(&self) -> Option<(f64, f64)> {
        let (change, noise) = self.change()?;
        let percent = |log: f64| (log.exp() - 1.0) * 100.0;
        Some(if self.metric.is_relative() { (percent(change), percent(noise)) } else { (change, noise) })
    }

    fn text(&self, least: f64) -> String {
        let value = |mean: Option<Mean>| {
            mean.map_or_else(|| "too few".to_owned(), |mean| self.value(self.unscaled(mean)))
        };
        let (change, noise) = self.shown().map_or_else(Default::default, |(change, noise)| {
            if self.metric.is_relative() {
                (format!("{change:+.1}%"), format!("{noise:.1}%"))
            } else {
                (format!("{change:+.2}"), format!("{noise:.2}"))
            }
        });
        let (before, after) = (value(self.before), value(self.after));
        let verdict = self.verdict(least).name();
        format!("{:<16} {before:>12} {after:>12} {change:>10} {noise:>10}  {verdict}", self.name())
    }

    fn json(&self, least: f64) -> Value {
        let value = |mean: Option<Mean>| mean.map(|mean| self.unscaled(mean));
        json!({
            "what": self.name(), "unit": self.unit().trim(), "before": value(self.before), "after": value(self.after),
            "relative": self.metric.is_relative(), "change": self.shown().map(|shown| shown.0),
            "three_standard_errors": self.shown().map(|shown| shown.1),
            "verdict": self.verdict(least).name().to_lowercase(),
        })
    }

    fn name(&self) -> String {
        match self.metric {
            Metric::Throughput => "replies".into(),
            Metric::Errors => "sent again".into(),
            Metric::Latency(measure, share) => format!("{} p{}", measure.name(), share * 100.0),
        }
    }

    fn unit(&self) -> &'static str {
        match self.metric {
            Metric::Throughput => "/s",
            Metric::Errors => "‰",
            Metric::Latency(..) => " ms",
        }
    }

    /// A value with its unit.
    fn unscaled(&self, mean: Mean) -> f64 {
        match self.metric {
            Metric::Throughput => mean.scaled.exp(),
            Metric::Errors => mean.scaled,
            Metric::Latency(..) => mean.scaled.exp() / 1000.0,
        }
    }

    fn value(&self, value: f64) -> String {
        let digits = if self.metric == Metric::Throughput { 1 } else { 2 };
        format!("{value:.digits$}{}", self.unit())
    }
}

#[cfg(test)]
mod tests;
