//! What was sent, what came back and how soon, of all users together: in all, and second by second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::figures::{Brief, Second};
use super::mix::Kind;
use crate::report::Latencies;

/// So many seconds stay open for latencies that are yet to come; a later one counts into the oldest of them.
const OPEN: usize = 30;

/// What is measured, always from the time at which a message was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Until it was accepted.
    Accepted,
    /// Until its reply.
    Reply,
    /// Until it was pushed to whom it is for.
    Delivery,
}

impl Measure {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Accepted, Self::Reply, Self::Delivery];

    /// Its name in files and pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Reply => "reply",
            Self::Delivery => "delivery",
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Messages that became due and were taken up.
    pub(crate) sent: u64,
    /// Messages that were accepted.
    pub(crate) accepted: u64,
    /// Messages that have their reply.
    pub(crate) replies: u64,
    /// Entries of inboxes.
    pub(crate) pushes: u64,
    /// Those of them that say what another user of the run has written.
    pub(crate) delivered: u64,
    /// Wrong answers.
    pub(crate) wrong: u64,
    /// Sends refused for now, because of the rate or for want of room, and sent again.
    pub(crate) refused_for_now: u64,
    /// Sends repeated because nothing came back in time, or because the socket was gone.
    pub(crate) repeated: u64,
    /// Sockets opened in place of lost ones.
    pub(crate) reconnects: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.replies += other.replies;
        self.pushes += other.pushes;
        self.delivered += other.delivered;
        self.wrong += other.wrong;
        self.refused_for_now += other.refused_for_now;
        self.repeated += other.repeated;
        self.reconnects += other.reconnects;
    }
}

/// The latencies of a second by when the messages were due.
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
    /// Seconds that are over, and those that are open.
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
    /// p50 and p99 in microseconds since the last look, of what there was.
    pub(crate) latencies: Vec<(Measure, u64, u64)>,
}

/// Takes down what all users see.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// When the first second began.
    pub(crate) epoch: Instant,
    /// From due to taken up: the generator's own share of the latency.
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
        change(self.inner.lock().expect("nobody panics with it").second(second));
    }

    /// Takes the latency of a message in that was due at some time.
    pub(crate) fn record(&self, measure: Measure, kind: Kind, due: Instant, latency: Duration) {
        let second = self.second_of(due);
        let mut inner = self.inner.lock().expect("nobody panics with it");
        inner.whole.entry((measure, kind)).or_default().record(latency);
        inner.recent.0[measure as usize].record(latency);
        inner.spread(second).0[measure as usize].record(latency);
    }

    /// What happened since the last look.
    pub(crate) fn recently(&self) -> Recently {
        let second = self.second_of(Instant::now());
        let mut inner = self.inner.lock().expect("nobody panics with it");
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
        let inner = self.inner.lock().expect("nobody panics with it");
        inner.counts.iter().fold(Counts::default(), |mut sum, counts| {
            sum.add(*counts);
            sum
        })
    }

    /// All latencies, by what was measured and of which kind.
    pub(crate) fn whole(&self) -> BTreeMap<(Measure, Kind), Latencies> {
        std::mem::take(&mut self.inner.lock().expect("nobody panics with it").whole)
    }

    /// Second by second.
    pub(crate) fn series(&self) -> Vec<Second> {
        let mut inner = self.inner.lock().expect("nobody panics with it");
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
