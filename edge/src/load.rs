//! What an edge does not take, or takes only from those who send little, while the queues are behind.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use soundoff_common::lock::{read, write};
use soundoff_common::pipeline::load::{Behind, FAR};
use soundoff_common::pipeline::terms::Importance;

/// How many times dearer messages are at least from one look to the next, while more and more of them wait.
const DEARER: f64 = 1.05;
/// How many times cheaper when the queue is no longer far behind.
const CHEAPER: f64 = 1.25;
/// The most that they cost more.
const MOST_TIMES: f64 = 100.0;
/// The times that somebody waits who is refused: a quarter of the lag up to half of it, within these bounds.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Whether a message is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// For so many times its cost.
    Costs(f64),
    /// Not now; in so many milliseconds.
    Later(u64),
}

/// What holds for a type.
#[derive(Debug, Clone, Copy)]
struct Price {
    behind: Behind,
    /// How many times its cost a message takes of its sender's rate. Those who send the most wait first, and those who
    /// send little send on.
    times: f64,
}

impl Price {
    const USUAL: Self = Self { behind: Behind { lag: Duration::ZERO, waiting: None }, times: 1.0 };

    /// The price after one more look. How much waits says at once whether too much is taken in; the lag says so only when
    /// what is taken in now has waited. So the price rises with the queue, stays while the queue is worked off, and falls
    /// when it is.
    fn next(self, behind: Behind) -> Self {
        let times = if behind.lag < FAR {
            self.times / CHEAPER
        } else {
            // What waits takes at least this long to be served. If it grows by a part of itself in a second, then so
            // many times as much is taken in as is served.
            let growth = |waiting: u64| {
                let before = self.behind.waiting.unwrap_or(waiting / 2).max(1);
                Some(waiting.checked_sub(before)? as f64 / before as f64)
            };
            let step = |growth: f64| (1.0 + FAR.as_secs_f64() * growth).max(DEARER);
            self.times * behind.waiting.and_then(growth).map_or(1.0, step)
        };
        Self { behind, times: times.clamp(1.0, MOST_TIMES) }
    }
}

/// How far behind each type is, as of the last look.
#[derive(Debug, Default)]
pub(crate) struct Load {
    is_high: AtomicBool,
    prices: RwLock<HashMap<&'static str, Price>>,
}

impl Load {
    /// Whether any type is far behind, or was a moment ago.
    #[inline]
    pub(crate) fn is_high(&self) -> bool {
        self.is_high.load(Ordering::Relaxed)
    }

    /// Whether a message of a type is taken; `draw` is random, from 0 up to 1.
    pub(crate) fn judge(&self, message_type: &str, importance: Importance, draw: f64) -> Verdict {
        let price = read(&self.prices).get(message_type).copied().unwrap_or(Price::USUAL);
        let lag = price.behind.lag;
        match importance {
            Importance::Sheddable if lag >= FAR => {
                let wait = lag.mul_f64(0.25 + draw / 4.0).clamp(WAITS[0].mul_f64(1.0 + draw), WAITS[1]);
                Verdict::Later(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
            }
            Importance::Critical => Verdict::Costs(1.0),
            _ => Verdict::Costs(price.times),
        }
    }

    /// Goes by one more look.
    pub(crate) fn look(&self, found: HashMap<&'static str, Behind>) {
        let mut prices = write(&self.prices);
        let next = |(name, behind): (&'static str, Behind)| {
            (name, prices.get(name).copied().unwrap_or(Price::USUAL).next(behind))
        };
        let next: HashMap<_, _> = found.into_iter().map(next).collect();
        let is_high = next.values().any(|price| price.behind.lag >= FAR || price.times > 1.0);
        self.is_high.store(is_high, Ordering::Relaxed);
        *prices = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(seconds: u64, waiting: u64) -> Behind {
        let waiting = (seconds >= FAR.as_secs()).then_some(waiting);
        Behind { lag: Duration::from_secs(seconds), waiting }
    }

    #[test]
    fn what_can_be_missed_goes_first_and_what_keeps_people_safe_never() {
        use Importance::{Critical, Normal, Sheddable};
        let load = Load::default();
        let verdicts = |lag: u64, waiting: u64| {
            load.look([("t", behind(lag, waiting))].into());
            let judged = [Sheddable, Normal, Critical].map(|importance| load.judge("t", importance, 0.5));
            (load.is_high(), judged)
        };
        let (costs, times) = (Verdict::Costs, 3.5 * DEARER);
        assert_eq!(verdicts(1, 0), (false, [costs(1.0); 3]));
        assert_eq!(verdicts(2, 9), (true, [Verdict::Later(1_500), costs(3.5), costs(1.0)]));
        assert_eq!(verdicts(40, 9), (true, [Verdict::Later(15_000), costs(times), costs(1.0)]));
        assert_eq!(verdicts(100_000, 8), (true, [Verdict::Later(60_000), costs(times), costs(1.0)]));
        assert_eq!(verdicts(1, 0), (true, [costs(times / CHEAPER), costs(times / CHEAPER), costs(1.0)]));
        assert_eq!(load.judge("other", Sheddable, 0.0), costs(1.0));
        for _ in 0..9 {
            verdicts(0, 0);
        }
        assert_eq!(verdicts(0, 0), (false, [costs(1.0); 3]));
    }

    /// Three hundred users offer ten times what is served, second by second: what is taken in settles at what is served,
    /// the queue never runs empty meanwhile, and afterwards all costs what it did.
    #[test]
    fn what_is_taken_in_settles_at_what_is_served() {
        const SERVED: f64 = 1_300.0;
        const USERS: f64 = 300.0;
        let (load, mut queue, mut longest, mut idle) = (Load::default(), 0.0_f64, 0.0_f64, 0);
        // Of each user in a second: what they send, or what their rate of 100 allows for messages of cost 2.
        let taken = |times: f64| USERS * 45.0_f64.min(100.0 / (2.0 * times));
        // When the message was taken in that is served now: by how many had been by each second.
        let (mut sums, mut sum, mut served) = (vec![0.0], 0.0, 0.0);
        for second in 1..=600_u64 {
            let Verdict::Costs(times) = load.judge("t", Importance::Normal, 0.0) else { unreachable!() };
            let come = if second <= 500 { taken(times) } else { 0.0 };
            sum += come;
            sums.push(sum);
            queue += come;
            let now = SERVED.min(queue);
            (queue, served) = (queue - now, served + now);
            idle += u32::from(now < SERVED && second > 5 && second <= 500);
            longest = longest.max(queue);
            let came = sums.iter().position(|sum| *sum >= served - 0.5).expect("what is served has come");
            let lag = if queue == 0.0 { 0 } else { second - came as u64 };
            load.look([("t", behind(lag, queue as u64))].into());
        }
        assert!(longest < 50.0 * SERVED, "{longest} waited");
        assert!(idle < 20, "idle for {idle} of 500 seconds");
        assert_eq!(load.judge("t", Importance::Normal, 0.0), Verdict::Costs(1.0));
    }
}
