//! Watching a run while it goes on: what is printed meanwhile, and when the run is over.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queues::Sampler;
use super::shared::Shared;
use super::text;
use crate::client::Retries;
use crate::report::Progress;

/// After everything has come, the run waits this long for what comes twice.
const SETTLE: Duration = Duration::from_millis(500);

/// How long an interrupted run waits for what is open.
const SHORT_DRAIN: Duration = Duration::from_secs(3);

/// How often a run looks at its progress.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is looked at.
pub(super) struct Watching<'a> {
    shared: &'a Shared,
    retries: &'a Retries,
    sampler: &'a Sampler,
    /// The retries that are already counted into seconds.
    counted: [u64; 3],
}

impl<'a> Watching<'a> {
    /// Begins to look.
    pub(super) fn new(shared: &'a Shared, retries: &'a Retries, sampler: &'a Sampler) -> Self {
        let mut watching = Self { shared, retries, sampler, counted: [0; 3] };
        // Retries while connecting are not part of the load.
        watching.counted = watching.retried();
        watching
    }

    /// Watches until the last message was due, and returns how long that took.
    pub(super) async fn load(&mut self, seconds: u32, is_over: impl Fn() -> bool) -> Duration {
        let progress = Progress::new("load", seconds.into());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut noted = 0;
        while !is_over() {
            looks.tick().await;
            self.count_retries();
            let second = self.shared.recorder.epoch.elapsed().as_secs();
            if second > noted {
                noted = second;
                progress.note(text::line(second, &self.shared.recorder.recently(), self.sampler.latest()));
            }
            progress.set(second.min(seconds.into()));
        }
        progress.finish();
        self.shared.recorder.epoch.elapsed()
    }

    /// Waits for open answers, and returns whether all of them have come.
    pub(super) async fn drain(&mut self, time: Duration, stop: &watch::Receiver<bool>) -> bool {
        let begun = Instant::now();
        let mut settled: Option<Instant> = None;
        loop {
            self.count_retries();
            let time = if *stop.borrow() { time.min(SHORT_DRAIN) } else { time };
            if !self.shared.open.is_settled() {
                settled = None;
            } else if settled.get_or_insert_with(Instant::now).elapsed() >= SETTLE {
                return true;
            }
            if begun.elapsed() >= time {
                return settled.is_some();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Refused for now, sent again, reconnected.
    fn retried(&self) -> [u64; 3] {
        let Retries { rate_limited, overloaded, unanswered, cut_off, reconnects, .. } = self.retries;
        [
            rate_limited.load(Relaxed) + overloaded.load(Relaxed),
            unanswered.load(Relaxed) + cut_off.load(Relaxed),
            reconnects.load(Relaxed),
        ]
    }

    fn count_retries(&mut self) {
        let now = self.retried();
        let [refused, repeated, reconnects] = std::array::from_fn(|n| now[n] - self.counted[n]);
        self.counted = now;
        self.shared.recorder.count(|counts| {
            counts.refused_for_now += refused;
            counts.repeated += repeated;
            counts.reconnects += reconnects;
        });
    }
}
