//! The figures of a phase, as text and for a file.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use super::phase::{ITEMS, Phase};
use crate::open_loop::{Missed, Pace, Refusals, Totals};
use crate::report::Latencies;

/// What the server has used in a phase, for all of its work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// Processor time.
    pub(super) cpu: Duration,
    /// Resident memory at the end, in bytes.
    pub(super) resident: u64,
}

/// The figures of one group in a phase.
#[derive(Debug)]
pub(super) struct GroupFigures {
    /// How many accounts its readers follow.
    pub(super) follows: u32,
    /// From the due time to the reply, of the fetches that count; in the cold phase of those after a follow.
    pub(super) latencies: Latencies,
    /// Cold fetches after an unfollow: the server reads all follows of the reader again.
    unfollowed: Latencies,
    answered: AtomicU64,
    /// Pages computed after their fetch was due.
    fresh: AtomicU64,
    shortest: AtomicU64,
}

impl GroupFigures {
    /// Adds an answered fetch. In the cold phase a fetch does not count if its timeline was computed before it.
    pub(super) fn record(&self, phase: Phase, fetched: Fetched) {
        let Fetched { after, is_fresh, unfollowed, items } = fetched;
        self.answered.fetch_add(1, Relaxed);
        self.fresh.fetch_add(u64::from(is_fresh), Relaxed);
        self.shortest.fetch_min(items as u64, Relaxed);
        if is_fresh || phase == Phase::Warm {
            if unfollowed { &self.unfollowed } else { &self.latencies }.record(after);
        }
    }

    /// How many times as long a share of the fetches takes as in another group.
    pub(super) fn ratio(&self, to: &Self, share: f64) -> Option<f64> {
        ratio(&self.latencies, &to.latencies, share)
    }
}

fn ratio(of: &Latencies, to: &Latencies, share: f64) -> Option<f64> {
    let base = to.micros(share);
    (base > 0 && of.count() > 0).then(|| of.micros(share) as f64 / base as f64)
}

/// A fetch that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetched {
    /// From the due time to the reply.
    pub(super) after: Duration,
    /// Whether the page was computed after the due time.
    pub(super) is_fresh: bool,
    /// Whether the reader had unfollowed an account just before.
    pub(super) unfollowed: bool,
    /// How many items the page had.
    pub(super) items: usize,
}

/// The figures of a phase.
#[derive(Debug)]
pub(super) struct Figures {
    /// Which phase.
    pub(super) phase: Phase,
    /// How many fetches were due.
    pub(super) pace: Pace,
    /// By group; the group with the fewest follows is first.
    pub(super) groups: Vec<GroupFigures>,
    /// From the due time until the fetch is sent: the generator's own share of the latency.
    pub(super) lag: Latencies,
    /// Fetches that were not sent.
    pub(super) missed: Arc<Missed>,
    /// Fetches that were refused.
    pub(super) refused: Refusals,
    /// What the server has used, if its process is known.
    pub(super) spent: Option<Spent>,
    /// The posts beside the fetches.
    pub(super) posts: Option<Arc<Totals>>,
}

impl Figures {
    /// Nothing yet.
    pub(super) fn new(phase: Phase, pace: Pace, follows: &[u32]) -> Self {
        let group = |follows: &u32| GroupFigures {
            follows: *follows,
            latencies: Latencies::default(),
            unfollowed: Latencies::default(),
            answered: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            shortest: AtomicU64::new(u64::MAX),
        };
        Self {
            phase,
            pace,
            groups: follows.iter().map(group).collect(),
            lag: Latencies::default(),
            missed: Arc::default(),
            refused: Refusals::default(),
            spent: None,
            posts: None,
        }
    }

    /// How many fetches were answered.
    pub(super) fn answered(&self) -> u64 {
        self.groups.iter().map(|group| group.answered.load(Relaxed)).sum()
    }

    /// As a table.
    pub(super) fn text(&self, readers: u32) -> String {
        let mut text = String::new();
        let Pace { rate, duration, .. } = self.pace;
        let posts = self.posts.as_ref().map_or(0, |posts| posts.accepted.count());
        let _ = writeln!(
            text,
            "{}: {rate} fetches/s for {duration} s, {readers} readers a group{}",
            self.phase.name(),
            if posts > 0 { format!(", {posts} new posts meanwhile") } else { String::new() },
        );
        let _ = writeln!(
            text,
            "{:>9}{:>10}{:>10}{:>12}{:>12}{:>12}{:>12}{:>9}{:>9}",
            "follows", "counted", "fresh", "p50", "p90", "p99", "max", "p50 ×", "p99 ×"
        );
        self.rows(&mut text, |group| &group.latencies);
        if self.phase == Phase::Cold {
            let _ = writeln!(text, "the same after an unfollow");
            self.rows(&mut text, |group| &group.unfollowed);
        }
        self.rest(&mut text);
        text
    }

    /// A line for each group.
    fn rows(&self, text: &mut String, latencies: impl Fn(&GroupFigures) -> &Latencies) {
        for group in &self.groups {
            let of = latencies(group);
            let _ = write!(text, "{:>9}{:>10}{:>10}", group.follows, of.count(), group.fresh.load(Relaxed));
            for share in [0.5, 0.9, 0.99, 1.0] {
                let _ = write!(text, "{:>9.2} ms", of.micros(share) as f64 / 1000.0);
            }
            for share in [0.5, 0.99] {
                let ratio = ratio(of, latencies(&self.groups[0]), share);
                let _ = write!(text, "{:>9}", ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
            }
            text.push('\n');
        }
    }

    fn rest(&self, text: &mut String) {
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<14}{value}");
        };
        let what = match self.phase {
            Phase::Warm => "from due to sent",
            Phase::Cold => "from due to begun: a reader has one fetch at a time",
        };
        row("generator", format!("{}   ({what})", self.lag.line(&[0.5, 0.99, 1.0])));
        if let Some(Spent { cpu, resident }) = self.spent {
            let each = cpu.as_micros() as f64 / self.answered().max(1) as f64;
            let megabytes = resident >> 20;
            row(
                "server",
                format!("{each:.0} µs of CPU a fetch, all other work included, {megabytes} MB resident"),
            );
        }
        let short = self.groups.iter().filter(|group| group.shortest.load(Relaxed) < ITEMS as u64);
        for group in short {
            let shortest = group.shortest.load(Relaxed);
            row("short pages", format!("{} follows: down to {shortest} of {ITEMS} items", group.follows));
        }
        if let Some(posts) = &self.posts
            && posts.accepted.count() < posts.sent.load(Relaxed)
        {
            let refused = posts.refused.counts();
            row("posts", format!("{} sent, refused {refused:?}", posts.sent.load(Relaxed)));
        }
        let unanswered = self.pace.total().saturating_sub(self.answered());
        if unanswered > 0 {
            let refused = self.refused.counts();
            let (skipped, cut_off) = (self.missed.skipped.load(Relaxed), self.missed.cut_off.load(Relaxed));
            let why = format!("refused {refused:?}, cut off {cut_off}, not sent by the generator {skipped}");
            row("not answered", format!("{unanswered}: {why}"));
        }
    }

    /// For a file.
    pub(super) fn json(&self) -> Value {
        let group = |group: &GroupFigures| {
            json!({
                "follows": group.follows,
                "answered": group.answered.load(Relaxed),
                "fresh": group.fresh.load(Relaxed),
                "shortest_page": (group.answered.load(Relaxed) > 0).then(|| group.shortest.load(Relaxed)),
                "latency_us": group.latencies.json(),
                "unfollowed_us": group.unfollowed.json(),
                "p50_ratio": group.ratio(&self.groups[0], 0.5),
                "p99_ratio": group.ratio(&self.groups[0], 0.99),
            })
        };
        let server = self
            .spent
            .map(|spent| json!({ "cpu_us": spent.cpu.as_micros() as u64, "resident_bytes": spent.resident }));
        let posts = self
            .posts
            .as_ref()
            .map(|posts| json!({ "sent": posts.sent.load(Relaxed), "accepted": posts.accepted.count() }));
        json!({
            "rate": self.pace.rate, "duration_s": self.pace.duration, "due": self.pace.total(),
            "answered": self.answered(), "refused": self.refused.counts(),
            "cut_off": self.missed.cut_off.load(Relaxed), "skipped": self.missed.skipped.load(Relaxed),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
            "generator_us": self.lag.json(), "server": server, "posts": posts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fresh_pages_count_as_cold_and_groups_compare_with_the_first() {
        let pace = Pace { rate: 1, duration: 7, chance: None };
        for (phase, counted) in [(Phase::Warm, 4), (Phase::Cold, 3)] {
            let figures = Figures::new(phase, pace, &[10, 5_000]);
            let fetched = |ms, is_fresh, items| Fetched {
                after: Duration::from_millis(ms),
                is_fresh,
                unfollowed: false,
                items,
            };
            figures.groups[0].record(phase, fetched(2, true, 20));
            figures.groups[0].record(phase, fetched(2, true, 20));
            figures.groups[1].record(phase, fetched(3, true, 20));
            figures.groups[1].record(phase, fetched(1, false, 7));
            let latencies: u64 = figures.groups.iter().map(|group| group.latencies.count()).sum();
            assert_eq!((figures.answered(), latencies), (4, counted));
            let ratio = figures.groups[1].ratio(&figures.groups[0], 0.99).unwrap();
            assert!((1.49..1.51).contains(&ratio), "{ratio}");
            let text = figures.text(1);
            assert!(
                text.contains("not answered  3:") && text.contains("5000 follows: down to 7 of 20"),
                "{text}"
            );
        }
    }
}
