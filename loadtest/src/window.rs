//! A steady stretch of a run: what was done in it, and what the server used for it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::opening::{Stopped, TURN};
use crate::process::Usage;
use crate::report::{Progress, per_second};
use crate::target::Target;
use crate::wire::{Swarm, Talk};

/// The time before the stretch: queues and caches fill, and just-in-time compilers compile.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);

/// How long the last answers may take after the end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// The beginning of a stretch.
#[derive(Debug)]
pub(crate) struct Window {
    begun: Instant,
    server: Usage,
    generator: Usage,
}

/// A whole stretch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// How many messages, deliveries or sockets.
    pub(crate) count: u64,
    /// Wall time.
    pub(crate) time: Duration,
    /// User and system time of the server's processes.
    pub(crate) cpu: Duration,
    /// The same of this process.
    pub(crate) generator: Duration,
}

impl Window {
    /// Begins a stretch now.
    ///
    /// # Errors
    /// The server has ended.
    pub(crate) fn begin(target: &Target) -> Result<Self> {
        let generator = Usage::of(std::process::id())?;
        Ok(Self { begun: Instant::now(), server: target.usage()?, generator })
    }

    /// Ends it, after `count` things were done.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn end(self, target: &Target, count: u64) -> Result<Spent> {
        let time = self.begun.elapsed();
        let cpu = target.usage()?.cpu.saturating_sub(self.server.cpu);
        let generator = Usage::of(std::process::id())?.cpu.saturating_sub(self.generator.cpu);
        Ok(Spent { count, time, cpu, generator })
    }

    /// Keeps `talk` going for two seconds that do not count, and then for `seconds` that do.
    ///
    /// # Errors
    /// An error of `talk`, or nothing was done.
    pub(crate) fn of<T: Talk>(
        target: &Target,
        swarm: &mut Swarm,
        talk: &mut T,
        seconds: u32,
        stop: &watch::Receiver<bool>,
        count: impl Fn(&T) -> u64,
    ) -> Result<Spent> {
        keep(swarm, talk, WARM_UP, stop, |_| ())?;
        let (window, before) = (Self::begin(target)?, count(talk));
        let progress = Progress::within(target.quiet, "measuring", u64::from(seconds) * 1000);
        let time = Duration::from_secs(u64::from(seconds));
        keep(swarm, talk, time, stop, |elapsed| progress.set(elapsed.as_millis() as u64))?;
        progress.finish();
        let spent = window.end(target, count(talk) - before)?;
        ensure!(spent.count > 0, "{} answered nothing in {seconds} s", target.name);
        Ok(spent)
    }
}

impl Spent {
    /// Server time for each, in microseconds.
    pub(crate) fn each_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }

    /// How many in a second.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.count, self.time)
    }

    /// Text for the terminal.
    pub(crate) fn line(&self, what: &str) -> String {
        let cores = |time: Duration| time.as_secs_f64() / self.time.as_secs_f64();
        format!(
            "{:<13} {:.0}/s\nserver        {:.2} µs each, {:.2} cores\ngenerator     {:.2} cores",
            what,
            self.rate(),
            self.each_us(),
            cores(self.cpu),
            cores(self.generator)
        )
    }

    /// For a file.
    pub(crate) fn json(&self) -> Value {
        json!({
            "count": self.count, "seconds": self.time.as_secs_f64(), "per_second": self.rate(),
            "server_cpu_s": self.cpu.as_secs_f64(), "server_us_each": self.each_us(),
            "generator_cpu_s": self.generator.as_secs_f64(),
        })
    }
}

fn keep(
    swarm: &mut Swarm,
    talk: &mut impl Talk,
    time: Duration,
    stop: &watch::Receiver<bool>,
    mut show: impl FnMut(Duration),
) -> Result<()> {
    let begun = Instant::now();
    let mut shown = begun;
    while begun.elapsed() < time {
        swarm.turn(TURN.min(time), talk)?;
        if shown.elapsed() > Duration::from_millis(200) {
            shown = Instant::now();
            show(begun.elapsed());
            if *stop.borrow() {
                return Err(Stopped.into());
            }
        }
    }
    Ok(())
}

/// Goes on until everything is answered.
///
/// # Errors
/// An answer is missing after ten seconds, or an error of `talk`.
pub(crate) fn drain<T: Talk>(swarm: &mut Swarm, talk: &mut T, done: impl Fn(&T) -> bool) -> Result<()> {
    let begun = Instant::now();
    while !done(talk) {
        ensure!(begun.elapsed() < LAST_ANSWERS, "answers are missing 10 s after the last question");
        swarm.turn(TURN, talk)?;
    }
    Ok(())
}
