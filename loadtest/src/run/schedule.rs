//! Who does what when. The seed decides all of it before the first message is sent, and nothing that the server does
//! changes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::mix::{Kind, Mix};

/// How visits follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// At random, as people come who do not know of each other.
    Poisson,
    /// At equal distances.
    Uniform,
}

/// How long a user thinks between two messages of a visit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Think {
    /// Always the same time.
    Fixed(Duration),
    /// Anything between two times.
    Uniform(Duration, Duration),
    /// Mostly short and sometimes long, with this mean.
    Exponential(Duration),
}

impl Think {
    fn draw(self, rng: &mut impl Rng) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Uniform(low, high) => low + (high - low).mul_f64(rng.random()),
            Self::Exponential(mean) => mean.mul_f64(exponential(rng)),
        }
    }
}

/// With mean 1.
fn exponential(rng: &mut impl Rng) -> f64 {
    // 1 - [0, 1) is never 0.
    -(1.0 - rng.random::<f64>()).ln()
}

impl FromStr for Think {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, times) = text.split_once(':').context("say exp:500ms, fixed:1s or uniform:200ms-2s")?;
        Ok(match name {
            "fixed" => Self::Fixed(time(times)?),
            "exp" => Self::Exponential(time(times)?),
            "uniform" => {
                let (low, high) = times.split_once('-').context("say uniform:200ms-2s")?;
                let (low, high) = (time(low)?, time(high)?);
                ensure!(low <= high, "{text:?}: the first time is the longer one");
                Self::Uniform(low, high)
            }
            _ => bail!("{name:?} is none of exp, fixed, uniform"),
        })
    }
}

fn time(text: &str) -> Result<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').with_context(|| format!("{text:?}: say 200ms or 2s"))?, 1_000),
    };
    let number: u64 = number.parse().with_context(|| format!("{text:?}: {number:?} is no whole number"))?;
    let time = Duration::from_millis(number.saturating_mul(unit));
    ensure!(time <= Duration::from_secs(3_600), "{text:?} is more than an hour");
    Ok(time)
}

impl fmt::Display for Think {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write!(f, "fixed:{}ms", time.as_millis()),
            Self::Uniform(low, high) => write!(f, "uniform:{}ms-{}ms", low.as_millis(), high.as_millis()),
            Self::Exponential(mean) => write!(f, "exp:{}ms", mean.as_millis()),
        }
    }
}

/// What decides a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The seed of chance.
    pub(crate) seed: u64,
    /// How many users there are.
    pub(crate) users: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    /// For how long.
    pub(crate) duration: Duration,
    /// Their kinds.
    pub(crate) mix: Mix,
    /// How visits follow each other.
    pub(crate) arrivals: Arrivals,
    /// Messages of a visit.
    pub(crate) visit: u32,
    /// The time between them.
    pub(crate) think: Option<Think>,
}

/// A message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    /// When, counted from the start.
    pub(crate) at: Duration,
    /// By which user.
    pub(crate) user: u32,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The random number that chooses its receiver.
    pub(crate) roll: u64,
}

/// All messages of a run in the order of their times, drawn as they are needed.
#[derive(Debug)]
pub(crate) struct Schedule {
    plan: Plan,
    rng: ChaCha8Rng,
    /// When the next visit begins, and how many there were.
    next_visit: Duration,
    visits: u64,
    /// Messages of visits that have begun.
    begun: BinaryHeap<Reverse<Arrival>>,
}

impl Schedule {
    /// The schedule of a plan.
    pub(crate) fn new(plan: Plan) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut schedule =
            Self { plan, rng, next_visit: Duration::ZERO, visits: 0, begun: BinaryHeap::new() };
        schedule.next_visit = schedule.after_visit();
        schedule
    }

    /// The first visit, or the one after the last.
    fn after_visit(&mut self) -> Duration {
        let per_second = f64::from(self.plan.rate) / f64::from(self.plan.visit);
        let n = self.visits;
        self.visits += 1;
        match self.plan.arrivals {
            // Not by adding up, which would drift.
            Arrivals::Uniform => Duration::from_secs_f64(n as f64 / per_second),
            Arrivals::Poisson => {
                self.next_visit + Duration::from_secs_f64(exponential(&mut self.rng) / per_second)
            }
        }
    }

    fn begin_visit(&mut self) {
        let user = self.rng.random_range(0..self.plan.users);
        let mut at = self.next_visit;
        for n in 0..self.plan.visit {
            if let Some(think) = self.plan.think.filter(|_| n > 0) {
                at += think.draw(&mut self.rng);
            }
            let kind = self.plan.mix.pick(&mut self.rng);
            let roll = self.rng.random();
            if at < self.plan.duration {
                self.begun.push(Reverse(Arrival { at, user, kind, roll }));
            }
        }
        self.next_visit = self.after_visit();
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        while self.next_visit < self.plan.duration
            && self.begun.peek().is_none_or(|Reverse(first)| first.at > self.next_visit)
        {
            self.begin_visit();
        }
        self.begun.pop().map(|Reverse(arrival)| arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, arrivals: Arrivals) -> Plan {
        let mix = "posts=1,dms=3".parse().unwrap();
        Plan {
            seed,
            users: 50,
            rate: 400,
            duration: Duration::from_secs(20),
            mix,
            arrivals,
            visit: 1,
            think: None,
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        let all = |seed| Schedule::new(plan(seed, Arrivals::Poisson)).collect::<Vec<_>>();
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        // The same seed draws the same numbers in other versions and on other machines.
        let first = all(7)[0];
        assert_eq!((first.at.as_micros(), first.user, first.kind), (429, 9, Kind::Posts));
    }

    #[test]
    fn arrivals_come_in_order_at_their_rate_and_in_their_mix() {
        for arrivals in [Arrivals::Poisson, Arrivals::Uniform] {
            let think = Some(Think::Exponential(Duration::from_millis(700)));
            for (visit, think) in [(1, None), (5, think)] {
                let plan = Plan { visit, think, ..plan(1, arrivals) };
                let all: Vec<Arrival> = Schedule::new(plan).collect();
                assert!(all.is_sorted_by_key(|arrival| arrival.at) && all[all.len() - 1].at.as_secs() < 20);
                // 8,000, less what visits had no time for.
                let expected = if visit == 1 { 7_700..8_300 } else { 6_900..8_000 };
                assert!(expected.contains(&all.len()), "{arrivals:?} {visit}: {}", all.len());
                let dms = all.iter().filter(|arrival| arrival.kind == Kind::Dms).count() as f64;
                assert!((0.72..0.78).contains(&(dms / all.len() as f64)), "{dms} of {}", all.len());
                let gaps = all.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64());
                let even = gaps.filter(|gap| (0.0024..0.0026).contains(gap)).count();
                assert_eq!(even > 7_000, arrivals == Arrivals::Uniform && visit == 1, "{even}");
            }
        }
    }

    #[test]
    fn think_times_are_read_and_stay_in_their_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let uniform: Think = "uniform:200ms-2s".parse().unwrap();
        assert_eq!(uniform.to_string(), "uniform:200ms-2000ms");
        assert!((0..1_000).all(|_| (200..=2_000).contains(&uniform.draw(&mut rng).as_millis())));
        let mean: f64 = (0..9_999).map(|_| exponential(&mut rng)).sum::<f64>() / 9_999.0;
        assert!((0.96..1.04).contains(&mean), "{mean}");
        assert_eq!("fixed:1s".parse::<Think>().unwrap(), Think::Fixed(Duration::from_secs(1)));
        for (text, expected) in [
            ("1s", "say exp:500ms"),
            ("pareto:1s", "none of exp, fixed, uniform"),
            ("exp:1m", "say 200ms or 2s"),
            ("uniform:2s-1s", "the longer one"),
            ("fixed:9999s", "more than an hour"),
        ] {
            let error = format!("{:#}", text.parse::<Think>().unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
