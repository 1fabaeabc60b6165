//! What all users together sent, what came back and how soon: in total, and second by second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::mix::Kind;
use super::second::{Brief, Counts, Measure, Second};
use crate::report::Latencies;

/// This many seconds stay open for latencies that come late; a latency that comes later still counts into the oldest of
/// them.
const OPEN: usize = 30;

/// The latencies of the messages that were due in one second.
#[derive(Debug)]
struct Spreads([Latencies; Measure::ALL.len()]);

impl Default for Spreads {
    fn default() -> Self {
        Self(Measure::ALL.map(|_| Latencies::to_digits(2)))
    }
}

impl Spreads {
    fn brief(&self) -> BTreeMap<Measure, Brief> {
        let measured = Measure::ALL.into_iter().zip(&self.0).filter(|(_, latencies)| latencies.count() > 0);
        measured.map(|(measure, latencies)| (measure, Brief::of(latencies))).collect()
    }
}

#[derive(Debug, Default)]
struct Inner {
    whole: BTreeMap<(Measure, Kind), Latencies>,
    counts: Vec<Counts>,
    /// Seconds that are closed, and those that are open.
    over: Vec<BTreeMap<Measure, Brief>>,
    open: VecDeque<Spreads>,
    /// Since the last look.
    recent: Spreads,
}

impl Inner {
    fn second(&mut self, second: usize) -> &mut Counts {
        if self.counts.len() <= second {
            self.counts.resize(second + 1, Counts::default());
        }
        &mut self.counts[second]
    }

    /// The latencies of a second.
    fn spread(&mut self, second: usize) -> &Spreads {
        while self.over.len() + self.open.len() <= second {
            self.open.push_back(Spreads::default());
            if self.open.len() > OPEN
                && let Some(oldest) = self.open.pop_front()
            {
                self.over.push(oldest.brief());
            }
        }
        &self.open[second.saturating_sub(self.over.len())]
    }
}

/// What just happened, for people who watch.
#[derive(Debug)]
pub(crate) struct Recently {
    /// In the last whole second.
    pub(crate) counts: Counts,
    /// p50 and p99 in microseconds since the last look, of each measure that had any.
    pub(crate) latencies: Vec<(Measure, u64, u64)>,
}

/// Records what all users see.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// When the first second began.
    pub(crate) epoch: Instant,
    /// From the due time until the message is sent: the generator's own share of the latency.
    pub(crate) lag: Latencies,
    inner: Mutex<Inner>,
}

impl Recorder {
    /// Counts seconds from `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, lag: Latencies::default(), inner: Mutex::default() }
    }

    fn second_of(&self, at: Instant) -> usize {
        usize::try_from(at.saturating_duration_since(self.epoch).as_secs()).unwrap_or(usize::MAX)
    }

    /// Counts something that happened now.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let second = self.second_of(Instant::now());
        change(self.inner.lock().expect("no thread panics while it holds the lock").second(second));
    }

    /// Records a latency of a message that was due at `due`.
    pub(crate) fn record(&self, measure: Measure, kind: Kind, due: Instant, latency: Duration) {
        let second = self.second_of(due);
        let mut inner = self.inner.lock().expect("no thread panics while it holds the lock");
        inner.whole.entry((measure, kind)).or_default().record(latency);
        inner.recent.0[measure as usize].record(latency);
        inner.spread(second).0[measure as usize].record(latency);
    }

    /// What happened since the last look.
    pub(crate) fn recently(&self) -> Recently {
        let second = self.second_of(Instant::now());
        let mut inner = self.inner.lock().expect("no thread panics while it holds the lock");
        let counts = *inner.second(second.saturating_sub(1));
        let mut latencies = Vec::new();
        for (measure, recent) in Measure::ALL.into_iter().zip(&inner.recent.0) {
            if recent.count() > 0 {
                latencies.push((measure, recent.micros(0.5), recent.micros(0.99)));
                recent.clear();
            }
        }
        Recently { counts, latencies }
    }

    /// All counts.
    pub(crate) fn totals(&self) -> Counts {
        let inner = self.inner.lock().expect("no thread panics while it holds the lock");
        inner.counts.iter().fold(Counts::default(), |mut sum, counts| {
            sum.add(*counts);
            sum
        })
    }

    /// All latencies, by what was measured and of which kind.
    pub(crate) fn whole(&self) -> BTreeMap<(Measure, Kind), Latencies> {
        std::mem::take(&mut self.inner.lock().expect("no thread panics while it holds the lock").whole)
    }

    /// Second by second.
    pub(crate) fn series(&self) -> Vec<Second> {
        let mut inner = self.inner.lock().expect("no thread panics while it holds the lock");
        let open: Vec<_> = inner.open.drain(..).map(|spreads| spreads.brief()).collect();
        inner.over.extend(open);
        let seconds = inner.over.len().max(inner.counts.len());
        let second = |t: usize| Second {
            t: t as u64,
            counts: inner.counts.get(t).copied().unwrap_or_default(),
            latency: inner.over.get(t).cloned().unwrap_or_default(),
            queues: None,
        };
        (0..seconds).map(second).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_into_the_second_in_which_its_message_was_due() {
        let epoch = Instant::now();
        let recorder = Recorder::new(epoch);
        let at = |s: u64| epoch + Duration::from_secs(s);
        let record = |due, ms| recorder.record(Measure::Reply, Kind::Dms, due, Duration::from_millis(ms));
        record(at(0), 10);
        record(at(2), 1_500);
        record(at(40), 20);
        // Seconds 0 to 10 are over by now: this one goes to the oldest that is open.
        record(at(2), 38_000);
        recorder.count(|counts| counts.sent += 5);
        let series = recorder.series();
        let counts: Vec<(u64, u64)> =
            series.iter().filter_map(|s| Some((s.t, s.latency.get(&Measure::Reply)?.count))).collect();
        assert_eq!(counts, [(0, 1), (2, 1), (11, 1), (40, 1)]);
        assert_eq!((series.len(), series[0].counts.sent, recorder.totals().sent), (41, 5, 5));
        assert_eq!(recorder.whole()[&(Measure::Reply, Kind::Dms)].count(), 4);
    }
}
