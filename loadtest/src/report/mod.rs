//! Counts and latencies of a run, and how they are printed.

mod latencies;
pub(crate) mod machine;
mod output;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod sheet;

pub(crate) use latencies::Latencies;
pub(crate) use output::output;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use soundoff_common::note;

/// How often a line is printed where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often a phase shows its progress.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// The progress of one phase.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    quiet: bool,
    total: u64,
    done: AtomicU64,
    since: Instant,
    printed: Mutex<Instant>,
    /// A note beside the progress.
    note: Mutex<String>,
}

impl Progress {
    /// Starts a phase of `total` steps, with a bar on a terminal and lines elsewhere.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix:>12} {wide_bar} {pos}/{len}  {per_sec}  {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            ProgressBar::new(total).with_style(style).with_prefix(what)
        });
        let since = Instant::now();
        let (printed, note) = (Mutex::new(since), Mutex::default());
        Self { what, bar, quiet: false, total, done: AtomicU64::new(0), since, printed, note }
    }

    /// The same, which shows nothing when it is `quiet`: a larger phase shows its own progress.
    pub(crate) fn within(quiet: bool, what: &'static str, total: u64) -> Self {
        if !quiet {
            return Self::new(what, total);
        }
        let since = Instant::now();
        let (printed, note) = (Mutex::new(since), Mutex::default());
        Self { what, bar: None, quiet, total, done: AtomicU64::new(0), since, printed, note }
    }

    /// Shows a note under the bar, or instead of the count where there is no bar.
    pub(crate) fn note(&self, text: String) {
        if let Some(bar) = &self.bar {
            let template = "{prefix:>12} {wide_bar} {pos} of {len} s\n{msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
            bar.set_message(text);
        } else {
            *self.note.lock().expect("no thread panics while it holds the lock") = text;
        }
    }

    /// Counts one step.
    pub(crate) fn step(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Sets the count of steps.
    pub(crate) fn set(&self, done: u64) {
        self.done.store(done, Relaxed);
        self.show();
    }

    /// Shows the progress of some work, which `done` returns, until the work is over.
    pub(crate) async fn of<T>(&self, work: impl Future<Output = T>, done: impl Fn() -> u64) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let outcome = tokio::time::timeout(SHOW_EVERY, work.as_mut()).await;
            self.set(done());
            if let Ok(outcome) = outcome {
                self.finish();
                return outcome;
            }
        }
    }

    /// Steps so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// Time so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Shows the progress. Callers call it a few times a second.
    pub(crate) fn show(&self) {
        let done = self.done();
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let mut printed = self.printed.lock().expect("no thread panics while it holds the lock");
        if !self.quiet && printed.elapsed() >= LINE_EVERY {
            *printed = Instant::now();
            let note = self.note.lock().expect("no thread panics while it holds the lock");
            if !note.is_empty() {
                note!("{}: {note}", self.what);
                return;
            }
            let rate = per_second(done, self.elapsed());
            let left = if rate > 0.0 { (self.total.saturating_sub(done)) as f64 / rate } else { f64::NAN };
            note!("{}: {done} of {}, {rate:.0}/s, about {left:.0} s left", self.what, self.total);
        }
    }

    /// Ends the phase and returns how long it took.
    pub(crate) fn finish(&self) -> Duration {
        let took = self.elapsed();
        if let Some(bar) = &self.bar {
            bar.set_position(self.done());
            bar.finish();
        }
        took
    }
}

/// Events per second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// A count with commas between its thousands.
pub(crate) fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun in the right number.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The option for a file for machines, which every command with figures has.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JsonArgs {
    /// Write the figures to this file as well, for machines.
    #[arg(long, value_name = "FILE", value_parser = output)]
    json: Option<PathBuf>,
}

impl JsonArgs {
    /// Writes the figures, if a file was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, figures: impl FnOnce() -> Value) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        std::fs::write(path, format!("{:#}\n", figures()))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
