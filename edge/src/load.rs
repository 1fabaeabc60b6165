//! What an edge does not take, or takes only from those who send little, while the queues are behind.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use soundoff_common::lock::{read, write};
use soundoff_common::pipeline::terms::Importance;

/// From this lag on, what can be missed is not taken.
const SHED: Duration = Duration::from_secs(2);
/// From this lag on, messages cost more: so those who send the most wait first, and those who send little send on. They
/// cost as many times more as the lag has this length.
const DEARER: Duration = Duration::from_secs(2);
/// The most that they cost more.
const MOST_TIMES: u32 = 100;
/// The times that somebody waits who is refused: a quarter of the lag up to half of it, within these bounds.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Whether a message is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// For so many times its cost.
    Costs(u32),
    /// Not now; in so many milliseconds.
    Later(u64),
}

/// How far behind each type is, as of the last look.
#[derive(Debug, Default)]
pub(crate) struct Load {
    is_high: AtomicBool,
    lags: RwLock<HashMap<&'static str, Duration>>,
}

impl Load {
    /// Whether any type is far behind.
    #[inline]
    pub(crate) fn is_high(&self) -> bool {
        self.is_high.load(Ordering::Relaxed)
    }

    /// Whether a message of a type is taken; `draw` is random, from 0 up to 1.
    pub(crate) fn judge(&self, message_type: &str, importance: Importance, draw: f64) -> Verdict {
        let lag = read(&self.lags).get(message_type).copied().unwrap_or_default();
        match importance {
            Importance::Sheddable if lag >= SHED => {
                let wait = lag.mul_f64(0.25 + draw / 4.0).clamp(WAITS[0].mul_f64(1.0 + draw), WAITS[1]);
                Verdict::Later(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
            }
            Importance::Critical => Verdict::Costs(1),
            _ => {
                let times = u32::try_from(lag.as_millis() / DEARER.as_millis()).unwrap_or(MOST_TIMES);
                Verdict::Costs(times.clamp(1, MOST_TIMES))
            }
        }
    }

    pub(crate) fn set(&self, lags: HashMap<&'static str, Duration>) {
        self.is_high.store(lags.values().any(|lag| *lag >= SHED), Ordering::Relaxed);
        *write(&self.lags) = lags;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_missed_goes_first_and_what_keeps_people_safe_never() {
        use Importance::{Critical, Normal, Sheddable};
        let load = Load::default();
        let verdicts = |lag: u64| {
            load.set([("t", Duration::from_secs(lag))].into());
            let judged = [Sheddable, Normal, Critical].map(|importance| load.judge("t", importance, 0.5));
            (load.is_high(), judged)
        };
        let costs = Verdict::Costs;
        assert_eq!(verdicts(1), (false, [costs(1); 3]));
        assert_eq!(verdicts(2), (true, [Verdict::Later(1_500), costs(1), costs(1)]));
        assert_eq!(verdicts(40), (true, [Verdict::Later(15_000), costs(20), costs(1)]));
        assert_eq!(verdicts(100_000), (true, [Verdict::Later(60_000), costs(100), costs(1)]));
        assert_eq!(load.judge("other", Sheddable, 0.0), costs(1));
    }
}
