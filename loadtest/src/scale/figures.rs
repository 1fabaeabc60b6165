//! The figures of days, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::Outcome;
use super::prices::as_of;
use super::scenario::Scenario;
use crate::report::grouped;

/// A month's days.
const MONTH: f64 = 30.4;

/// A head, and rows with the same number of cells.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The names of the columns.
    pub(super) head: Vec<String>,
    /// The cells.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of a head and rows.
    pub(super) fn new<'a>(
        head: impl IntoIterator<Item = &'a str>,
        rows: impl Iterator<Item = Vec<String>>,
    ) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: rows.collect() }
    }

    /// Text for a terminal, with columns as wide as needed.
    fn text(&self) -> String {
        let lines = || [&self.head].into_iter().chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ") + "\n"
        };
        lines().map(line).collect()
    }
}

/// Where the figures come from.
pub(super) fn source(scenario: &Scenario) -> String {
    format!(
        "{} h from midnight, seed {}; service times of {} ({}); prices of {}",
        scenario.seconds / 3600,
        scenario.seed,
        scenario.service.source.date,
        scenario.service.source.machine,
        as_of(),
    )
}

/// Types without figures of their own, and the type whose figures each has; none when all have their own.
pub(super) fn defaulted(scenario: &Scenario) -> Option<String> {
    let types = scenario.defaulted();
    let types: Vec<_> = types.iter().map(|(name, known_as)| format!("{name} (as {known_as})")).collect();
    (!types.is_empty()).then(|| types.join(", "))
}

/// The figures as text.
pub(super) fn text(scenario: &Scenario, outcomes: &[Outcome]) -> String {
    let mut text = format!("simulated: {}\n", source(scenario));
    if let Some(types) = defaulted(scenario) {
        let _ = writeln!(text, "without figures of their own: {types}");
    }
    for table in [summary(scenario, outcomes), tasks(scenario, outcomes), dollars(outcomes)] {
        let _ = write!(text, "\n{}", table.text());
    }
    for outcome in outcomes {
        for (beware, said) in remarks(scenario, outcome) {
            let _ = writeln!(text, "{} {said}", if beware { "!" } else { " " });
        }
    }
    text
}

/// Load, latency and costs.
pub(super) fn summary(scenario: &Scenario, outcomes: &[Outcome]) -> Table {
    let row = |outcome: &Outcome| {
        let day = outcome.dollars.sum() * 86_400.0 / f64::from(scenario.seconds);
        vec![
            grouped(outcome.users),
            grouped(peak(outcome, |minute| minute.rate)),
            grouped(peak(outcome, |minute| minute.online)),
            grouped(peak(outcome, |minute| minute.depth)),
            short(peak(outcome, |minute| minute.age)),
            short(outcome.latency.quantile(0.5)),
            short(outcome.latency.quantile(0.99)),
            format!("{day:.2}"),
            format!("{:.4}", day * MONTH / outcome.users),
        ]
    };
    let head = [
        "users",
        "messages/s*",
        "sockets*",
        "queued*",
        "oldest*",
        "p50",
        "p99",
        "$ a day",
        "$ a user and month",
    ];
    Table::new(head, outcomes.iter().map(row))
}

/// The most tasks that each service had, with a mark where it had reached its limit.
pub(super) fn tasks(scenario: &Scenario, outcomes: &[Outcome]) -> Table {
    let tiers = outcomes.first().map_or(&[][..], |first| first.tiers.as_slice());
    let row = |outcome: &Outcome| {
        let most = |(tier, name): (usize, &String)| {
            let most = peak(outcome, |minute| f64::from(minute.tasks[tier]));
            let pinned = most >= f64::from(scenario.deployment.services[name].max);
            format!("{most}{}", if pinned { "!" } else { "" })
        };
        [grouped(outcome.users)].into_iter().chain(outcome.tiers.iter().enumerate().map(most)).collect()
    };
    Table::new(["tasks*"].into_iter().chain(tiers.iter().map(String::as_str)), outcomes.iter().map(row))
}

/// Dollars of the simulated time, by what they are for.
pub(super) fn dollars(outcomes: &[Outcome]) -> Table {
    let names = outcomes.first().map(|first| first.dollars.parts().map(|(name, _)| name));
    let row = |outcome: &Outcome| {
        let parts = outcome.dollars.parts();
        let cells = parts.iter().map(|(_, dollars)| format!("{dollars:.2}"));
        [grouped(outcome.users)].into_iter().chain(cells).collect()
    };
    Table::new(["dollars"].into_iter().chain(names.into_iter().flatten()), outcomes.iter().map(row))
}

/// Remarks, each with whether it is a warning.
pub(super) fn remarks(scenario: &Scenario, outcome: &Outcome) -> Vec<(bool, String)> {
    let mut remarks = Vec::new();
    let mut remark = |beware: bool, said: String| {
        remarks.push((beware, format!("{} users: {said}", grouped(outcome.users))));
    };
    let pinned = outcome.tiers.iter().enumerate().filter(|(tier, name)| {
        let max = scenario.deployment.services[*name].max;
        outcome.minutes.iter().any(|minute| minute.tasks[*tier] >= max)
            && max > scenario.deployment.services[*name].min
    });
    let pinned: Vec<_> = pinned.map(|(_, name)| name.as_str()).collect();
    if !pinned.is_empty() {
        let said = "cannot grow beyond max; --unlimited shows how far they would";
        remark(true, format!("{} {said}", pinned.join(", ")));
    }
    if outcome.shed > 0.5 {
        let share = outcome.shed / (outcome.shed + outcome.messages) * 100.0;
        let said = "of messages could not be sent, as no edge had room for their sockets";
        remark(true, format!("{share:.1}% {said}"));
    }
    let interval = scenario.service.timelines.interval_s;
    if outcome.scan > interval {
        let took = short(outcome.scan);
        remark(
            true,
            format!("one scan of all users takes {took} instead of {interval} s: timelines are that old"),
        );
    }
    if outcome.left > peak(outcome, |minute| minute.rate).max(1.0) * 60.0 {
        remark(true, format!("{} messages are still queued at the end", grouped(outcome.left)));
    }
    if outcome.redelivered > 0.0 {
        remark(
            false,
            format!("{} messages were redelivered after a task was lost", grouped(outcome.redelivered)),
        );
    }
    remarks
}

/// The figures as JSON, minute by minute.
pub(super) fn json(scenario: &Scenario, outcomes: &[Outcome]) -> Value {
    let day = |outcome: &Outcome| {
        json!({
            "users": outcome.users, "messages": outcome.messages, "shed": outcome.shed, "redelivered": outcome.redelivered,
            "arrived": outcome.flow[0], "done": outcome.flow[1], "left": outcome.left, "scan_s": outcome.scan,
            "latency_s": { "mean": outcome.latency.mean(), "p50": outcome.latency.quantile(0.5), "p99": outcome.latency.quantile(0.99) },
            "dollars": outcome.dollars, "dollars_sum": outcome.dollars.sum(), "tiers": outcome.tiers, "minutes": outcome.minutes,
        })
    };
    json!({
        "seconds": scenario.seconds, "seed": scenario.seed, "prices": as_of(),
        "service": { "machine": scenario.service.source.machine, "date": scenario.service.source.date, "command": scenario.service.source.command },
        "defaulted": scenario.defaulted(),
        "days": outcomes.iter().map(day).collect::<Vec<_>>(),
    })
}

/// The greatest value of all minutes.
fn peak(outcome: &Outcome, of: impl Fn(&super::outcome::Minute) -> f64) -> f64 {
    outcome.minutes.iter().map(of).fold(0.0, f64::max)
}

/// A duration in a suitable unit.
fn short(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, grouped, short};

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(["7", "1,000", "12,345,678"], [7.0, 1000.0, 12_345_678.0].map(grouped));
        assert_eq!(
            ["0 ms", "80 ms", "1.5 s", "3.0 min", "3.0 h"],
            [0.0, 0.08, 1.5, 180.0, 10_800.0].map(short)
        );
        let rows = [vec!["1,000".to_owned(), "0".to_owned()]];
        assert_eq!(Table::new(["n", "tasks"], rows.into_iter()).text(), "    n  tasks\n1,000      0\n");
    }
}
