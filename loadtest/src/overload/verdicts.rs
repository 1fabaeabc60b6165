//! The figures of a run, and the bound of each.

use std::time::Duration;

use super::crowd::Counts;
use super::judge::{Row, jain};
use super::polite::Noticed;
use crate::report::per_second;

/// The least part of the peak that is served under overload.
const GOODPUT: f64 = 0.9;
/// So many times as long as alone it may take until a polite user's message is accepted.
const SLOWER: f64 = 2.0;
/// The least share of polite users' messages that succeed.
const SUCCESS: f64 = 0.99;
/// The least of Jain's index among equals.
const FAIR: f64 = 0.95;
/// The most that a refusal costs, compared with a served message.
const REFUSAL: f64 = 1.0 / 3.0;

/// Processor time of the server for one message or request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    micros: f64,
    count: u64,
}

impl Cost {
    /// Of `count` of them, when all of it took `spent`, and the server takes `quiet` when nobody asks.
    pub(super) fn new(spent: Duration, quiet: Duration, count: u64) -> Self {
        Self { micros: spent.saturating_sub(quiet).as_secs_f64() * 1e6 / count.max(1) as f64, count }
    }
}

/// What is served when nothing is in its way.
#[derive(Debug)]
pub(super) struct Peak {
    /// Replies `ok` in a second.
    pub(super) goodput: f64,
    /// Of one served comment.
    pub(super) cost: Cost,
}

/// The phase of overload.
#[derive(Debug)]
pub(super) struct Overloaded {
    /// What equals sent in a second.
    pub(super) offered: f64,
    /// What equals got.
    pub(super) counts: Counts,
    /// In this time.
    pub(super) took: Duration,
    /// Processor time of the server in it.
    pub(super) spent: Duration,
    /// What was served in a second when nobody sent any more, while much waited.
    pub(super) after: f64,
    /// What polite users noticed beside them.
    pub(super) noticed: Noticed,
    /// What equals had got until each second of it and of the time in which what waited was worked off.
    pub(super) samples: Vec<(Duration, Counts)>,
    /// When nobody sent any more, on the samples' clock.
    pub(super) stopped: Duration,
}

/// All that a run measures.
#[derive(Debug)]
pub(super) struct Figures {
    /// Polite users alone.
    pub(super) alone: Noticed,
    /// What is served when nothing is in its way.
    pub(super) peak: Peak,
    /// Under overload.
    pub(super) overloaded: Overloaded,
    /// Processor time of a second in which nobody asks for anything, as a share of one core.
    pub(super) quiet: f64,
    /// Polite users beside one who is greedy.
    pub(super) beside_greedy: Noticed,
    /// Polite users beside addresses that are nobody.
    pub(super) beside_flood: Noticed,
    /// Of a request for a websocket over its address's rate.
    pub(super) refused_upgrade: Cost,
}

impl Figures {
    /// One row for each figure, in the order of the phases.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Self { alone, peak, .. } = self;
        let idle = alone.accepted.line(&[0.5, 0.99]);
        let mut rows = vec![
            Row::figure("accepted, polite users alone", idle),
            Row::figure(
                "peak: comments served a second",
                format!("{:.0} before, {:.0} after", peak.goodput, self.overloaded.after),
            ),
        ];
        rows.extend(self.under_overload());
        rows.push(success("polite success beside one greedy user", &self.beside_greedy));
        rows.push(success("polite success beside 100 greedy addresses", &self.beside_flood));
        rows.push(Row::figure("processor time of a served comment", format!("{:.0} µs", peak.cost.micros)));
        rows.push(refusal("processor time of a refused message", self.refused_message(), peak.cost));
        rows.push(refusal("processor time of a refused upgrade", self.refused_upgrade, peak.cost));
        rows
    }

    /// What is served when nothing is in its way, on both sides of the overload.
    fn peak(&self) -> f64 {
        f64::midpoint(self.peak.goodput, self.overloaded.after)
    }

    /// The most milliseconds until accepted for 99 of 100 messages of polite users under overload.
    pub(super) fn most_ms(&self) -> f64 {
        SLOWER * self.alone.accepted.micros(0.99) as f64 / 1e3
    }

    /// All processor time under overload that was not spent on what was served.
    fn refused_message(&self) -> Cost {
        let Overloaded { counts, took, spent, noticed, .. } = &self.overloaded;
        let served = counts.all_served() as f64 + noticed.served_each_second() * took.as_secs_f64();
        let others = took.mul_f64(self.quiet) + Duration::from_secs_f64(self.peak.cost.micros * served / 1e6);
        Cost::new(*spent, others, counts.refused)
    }

    fn under_overload(&self) -> [Row; 5] {
        let Overloaded { offered, counts, took, noticed, .. } = &self.overloaded;
        // Polite users send for a little longer than the window: their part is counted by the second.
        let polite = noticed.served_each_second();
        let goodput = per_second(counts.all_served(), *took) + polite;
        let (peak, least) = (self.peak(), GOODPUT * self.peak());
        let (p99, most) = (noticed.accepted.micros(0.99) as f64 / 1e3, self.most_ms());
        let fairness = jain(&counts.served);
        let times = offered / peak;
        [
            Row::figure(
                "overload: comments offered a second",
                format!("{offered:.0}, {times:.1} times the peak"),
            ),
            Row::judged(
                "overload: comments served a second",
                format!("{goodput:.0}, {:.0} % of the peak", 100.0 * goodput / peak),
                format!(">= {least:.0}, 90 %"),
                goodput >= least,
            ),
            Row::judged(
                "overload: accepted, polite users, p99",
                format!("{p99:.2} ms"),
                format!("<= {most:.2} ms, twice alone"),
                noticed.accepted.count() > 0 && p99 <= most,
            ),
            success("overload: polite success", noticed),
            Row::judged(
                "overload: Jain's index among equals",
                format!("{fairness:.3} of {}", counts.served.len()),
                format!(">= {FAIR}"),
                fairness >= FAIR,
            ),
        ]
    }
}

fn success(what: &'static str, noticed: &Noticed) -> Row {
    let bound = format!(">= {:.0} %", 100.0 * SUCCESS);
    Row::judged(what, noticed.words(), bound, noticed.success() >= SUCCESS)
}

fn refusal(what: &'static str, refused: Cost, served: Cost) -> Row {
    let most = REFUSAL * served.micros;
    Row::judged(
        what,
        format!("{:.0} µs ({} refused)", refused.micros, refused.count),
        format!("<= {most:.0} µs, a third"),
        refused.count > 0 && refused.micros <= most,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_leaves_out_what_a_quiet_server_takes() {
        let cost = |spent, quiet, count| {
            Cost::new(Duration::from_millis(spent), Duration::from_millis(quiet), count).micros
        };
        assert!((cost(300, 100, 1_000) - 200.0).abs() < 1e-6);
        assert_eq!((cost(50, 100, 10), cost(0, 0, 0)), (0.0, 0.0));
    }

    #[test]
    fn a_refusal_costs_at_most_a_third_and_none_at_all_proves_nothing() {
        let cost = |micros, count| Cost { micros, count };
        let met = |micros, count| refusal("r", cost(micros, count), cost(300.0, 9)).is_met;
        assert_eq!([met(99.0, 1), met(101.0, 1), met(0.0, 0)], [true, false, false]);
    }
}
