//! A server of our own to measure. It is started, asked for its figures, asked to stop and start its workers, and
//! always stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::http::get;

/// How long its start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `soundoff up`.
pub(super) struct Up {
    binary: PathBuf,
    data: tempfile::TempDir,
    /// Dropping it kills the process.
    child: Child,
    /// Its websocket.
    pub(super) url: String,
    metrics: String,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    /// Messages accepted.
    pub(super) accepted: f64,
    /// Messages of the type's queue that are done.
    pub(super) done: f64,
    /// Runs of the type's queue.
    pub(super) runs: f64,
    /// Seconds of these runs.
    pub(super) seconds: f64,
    /// The sum of the runs' squares, by the middles of the histogram's buckets.
    pub(super) squares: f64,
}

impl Up {
    /// Starts it on a free port with one slot for each queue and no timelines' schedule, in a folder of its own.
    pub(super) async fn start(binary: &Path) -> Result<Self> {
        let data = tempfile::tempdir().context("cannot make a folder for the server's data")?;
        let mut child = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--slots", "1", "--timeline-interval-ms", "0", "--data"])
            .arg(data.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start {}: build it with `cargo build --release`", binary.display())
            })?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let (mut url, mut metrics) = (None, None);
        let reading = async {
            while url.is_none() || metrics.is_none() {
                let line = lines.next_line().await?.context("the server ended before it was up")?;
                let word = |start: &str| {
                    line.split_whitespace().find(|word| word.starts_with(start)).map(str::to_owned)
                };
                url = url.take().or_else(|| word("ws://"));
                metrics =
                    metrics.take().or_else(|| word("http://").filter(|word| word.ends_with("/metrics")));
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, reading).await.context("the server did not start within 20 s")??;
        // The rest of its output is read, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (url, metrics) = (url.unwrap_or_default(), metrics.unwrap_or_default());
        Ok(Self { binary: binary.to_owned(), data, child, url, metrics })
    }

    /// Its counters now, of one type's queue.
    pub(super) async fn counters(&self, queue: &str) -> Result<Counters> {
        let page = get(&self.metrics).await.context("cannot read the server's metrics")?;
        Ok(Counters::of(&page, queue))
    }

    /// `soundoff workers pause` or `resume`.
    pub(super) async fn workers(&self, what: &str) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command
            .args(["workers", what, "--data"])
            .arg(self.data.path().join("data"))
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await.context("cannot ask the server's workers")?;
        ensure!(status.success(), "soundoff workers {what}: {status}");
        Ok(())
    }

    /// Stops it and waits until it is gone.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot stop the server")
    }
}

impl Counters {
    fn of(page: &str, queue: &str) -> Self {
        let mut read = Self::default();
        let (label, mut below, mut bound) = (format!("queue=\"{queue}\""), 0.0, 0.0);
        for line in page.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "soundoff_edge_accepted_total" => read.accepted = value,
                _ if !labels.contains(&label) => {}
                "soundoff_consumer_done_total" => read.done = value,
                "soundoff_consumer_run_seconds_count" => read.runs = value,
                "soundoff_consumer_run_seconds_sum" => read.seconds = value,
                "soundoff_consumer_run_seconds_bucket" => {
                    let le = labels
                        .split_once("le=\"")
                        .and_then(|(_, rest)| rest.split('"').next()?.parse::<f64>().ok());
                    if let Some(le) = le.filter(|le| le.is_finite()) {
                        read.squares += (value - below) * bound_square(bound, le);
                        (below, bound) = (value, le);
                    }
                }
                _ => {}
            }
        }
        read
    }

    /// The difference since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            accepted: self.accepted - before.accepted,
            done: self.done - before.done,
            runs: self.runs - before.runs,
            seconds: self.seconds - before.seconds,
            squares: self.squares - before.squares,
        }
    }

    /// Messages accepted and not done.
    pub(super) fn depth(self) -> f64 {
        (self.accepted - self.done).max(0.0)
    }

    /// Seconds of a run, and their squared coefficient of variation.
    pub(super) fn service(self) -> (f64, f64) {
        let runs = self.runs.max(1.0);
        let mean = self.seconds / runs;
        (mean, (self.squares / runs / (mean * mean).max(1e-18) - 1.0).max(0.0))
    }
}

/// The mean square of a value that is uniform between two bounds.
fn bound_square(low: f64, high: f64) -> f64 {
    (low * low + low * high + high * high) / 3.0
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn a_page_is_read_by_queue_and_differences_are_computed() {
        let page = r#"soundoff_edge_accepted_total 100
soundoff_consumer_done_total{queue="main_q"} 90
soundoff_consumer_done_total{queue="post_create_q"} 80
soundoff_consumer_run_seconds_sum{queue="post_create_q"} 0.16
soundoff_consumer_run_seconds_count{queue="post_create_q"} 80
soundoff_consumer_run_seconds_bucket{le="0.001",queue="post_create_q"} 0
soundoff_consumer_run_seconds_bucket{le="0.003",queue="post_create_q"} 80
soundoff_consumer_run_seconds_bucket{le="+Inf",queue="post_create_q"} 80
"#;
        let read = Counters::of(page, "post_create_q");
        assert_eq!((read.depth(), read.runs), (20.0, 80.0));
        let (mean, variation) = read.service();
        // Uniform between 1 and 3 ms: a mean of 2, a variance of 1/3.
        assert!((mean - 0.002).abs() < 1e-12 && (variation - 1.0 / 12.0).abs() < 1e-6, "{mean} {variation}");
        assert_eq!(read.since(read).depth(), 0.0);
    }
}
