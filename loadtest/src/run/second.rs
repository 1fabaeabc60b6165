//! What is counted and measured of a run, second by second.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::queues::Queues;
use crate::report::Latencies;

/// What is measured, always from the time at which a message was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Until it was accepted.
    Accepted,
    /// Until its reply.
    Reply,
    /// Until it was pushed to its receiver.
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
    /// Messages that became due and were sent.
    pub(crate) sent: u64,
    /// Messages that were accepted.
    pub(crate) accepted: u64,
    /// Messages that have their reply.
    pub(crate) replies: u64,
    /// Entries of inboxes.
    pub(crate) pushes: u64,
    /// Those of them that carry a text of another user of the run.
    pub(crate) delivered: u64,
    /// Wrong answers.
    pub(crate) wrong: u64,
    /// Sends refused for now, because of the rate or because there was no room, and sent again.
    pub(crate) refused_for_now: u64,
    /// Sends repeated because nothing came back in time, or because the socket was gone.
    pub(crate) repeated: u64,
    /// Sockets opened in place of lost ones.
    pub(crate) reconnects: u64,
}

impl Counts {
    /// Adds the counts of another.
    pub(super) fn add(&mut self, other: Self) {
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

/// Latencies of the messages that were due in one second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Brief {
    /// How many.
    pub(crate) count: u64,
    /// Half are not slower.
    pub(crate) p50_us: u64,
    /// 99 of 100 are not slower.
    pub(crate) p99_us: u64,
    /// None is slower.
    pub(crate) max_us: u64,
    /// The histogram, to two digits.
    pub(crate) hdr: String,
}

impl Brief {
    /// The figures of a histogram.
    pub(super) fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            p50_us: latencies.micros(0.5),
            p99_us: latencies.micros(0.99),
            max_us: latencies.micros(1.0),
            hdr: latencies.encoded(),
        }
    }
}

/// One second of a run. Counts are about what happened in it, latencies about the messages that were due in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// What happened.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Latencies.
    pub(crate) latency: BTreeMap<Measure, Brief>,
    /// How long the queues were, as far as the server's metrics report it.
    pub(crate) queues: Option<Queues>,
}
