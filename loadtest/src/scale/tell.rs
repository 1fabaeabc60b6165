//! The figures of days, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::day::{Outcome, Scenario};
use super::prices::AS_OF;
use crate::report::grouped;

/// A month's days.
const MONTH: f64 = 30.4;

/// As tables.
pub(crate) fn text(scenario: &Scenario, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "simulated: {} h from midnight, seed {}; service times of {} ({}); prices of {AS_OF}\n\n",
        scenario.seconds / 3600,
        scenario.seed,
        scenario.service.source.date,
        scenario.service.source.machine,
    );
    let _ = writeln!(
        text,
        "{:>13}  {:>11}  {:>11}  {:>11}  {:>9}  {:>11}  {:>11}  {:>12}  {:>11}",
        "users", "messages/s", "sockets", "depth", "oldest", "p50", "p99", "$ a day", "$/user/mon"
    );
    let _ = writeln!(
        text,
        "{:>13}  {:>11}  {:>11}  {:>11}  {:>9}  {:>11}  {:>11}",
        "", "at peak", "at peak", "at peak", "at peak", "of the day", "of the day"
    );
    for outcome in outcomes {
        let day = outcome.dollars.sum() * 86_400.0 / f64::from(scenario.seconds);
        let _ = writeln!(
            text,
            "{:>13}  {:>11}  {:>11}  {:>11}  {:>9}  {:>11}  {:>11}  {:>12.2}  {:>11.6}",
            grouped(outcome.users),
            grouped(peak(outcome, |minute| minute.rate)),
            grouped(peak(outcome, |minute| minute.online)),
            grouped(peak(outcome, |minute| minute.depth)),
            short(peak(outcome, |minute| minute.age)),
            short(outcome.latency.quantile(0.5)),
            short(outcome.latency.quantile(0.99)),
            day,
            day * MONTH / outcome.users,
        );
    }
    tasks(&mut text, scenario, outcomes);
    let _ = writeln!(text, "\n{:>13}  dollars", "users");
    for outcome in outcomes {
        let parts = outcome.dollars.parts().map(|(name, dollars)| format!("{name} {dollars:.2}"));
        let _ = writeln!(text, "{:>13}  {}", grouped(outcome.users), parts.join(", "));
    }
    for outcome in outcomes {
        warn(&mut text, scenario, outcome);
    }
    text
}

fn tasks(text: &mut String, scenario: &Scenario, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    let _ = write!(text, "\n{:>13}", "tasks at peak");
    for name in &first.tiers {
        let _ = write!(text, "  {name:>11}");
    }
    let _ = writeln!(text);
    for outcome in outcomes {
        let _ = write!(text, "{:>13}", grouped(outcome.users));
        for (tier, name) in outcome.tiers.iter().enumerate() {
            let most = peak(outcome, |minute| f64::from(minute.tasks[tier]));
            let pinned = most >= f64::from(scenario.deployment.services[name].max);
            let _ = write!(text, "  {:>11}", format!("{most}{}", if pinned { "!" } else { "" }));
        }
        let _ = writeln!(text);
    }
}

/// What a reader must not overlook.
fn warn(text: &mut String, scenario: &Scenario, outcome: &Outcome) {
    let users = grouped(outcome.users);
    let pinned = outcome.tiers.iter().enumerate().filter(|(tier, name)| {
        let max = scenario.deployment.services[*name].max;
        outcome.minutes.iter().any(|minute| minute.tasks[*tier] >= max)
            && max > scenario.deployment.services[*name].min
    });
    let pinned: Vec<_> = pinned.map(|(_, name)| name.as_str()).collect();
    if !pinned.is_empty() {
        let _ = writeln!(
            text,
            "! {users} users: {} cannot grow beyond max; --unlimited tells how far they would",
            pinned.join(", ")
        );
    }
    if outcome.shed > 0.5 {
        let share = outcome.shed / (outcome.shed + outcome.messages) * 100.0;
        let _ = writeln!(
            text,
            "! {users} users: {share:.1}% of messages could not be sent, as no edge had room for their sockets"
        );
    }
    if outcome.redelivered > 0.0 {
        let _ = writeln!(
            text,
            "  {users} users: {} messages were redelivered after a task was lost",
            grouped(outcome.redelivered)
        );
    }
    let interval = scenario.service.timelines.interval_s;
    if outcome.scan > interval {
        let _ = writeln!(
            text,
            "! {users} users: looking through all of them takes {}, not {interval} s: timelines are that old",
            short(outcome.scan)
        );
    }
    if outcome.left > peak(outcome, |minute| minute.rate).max(1.0) * 60.0 {
        let _ =
            writeln!(text, "! {users} users: {} messages are still queued at the end", grouped(outcome.left));
    }
}

/// As JSON, minute by minute.
pub(crate) fn json(scenario: &Scenario, outcomes: &[Outcome]) -> Value {
    let day = |outcome: &Outcome| {
        json!({
            "users": outcome.users, "messages": outcome.messages, "shed": outcome.shed, "redelivered": outcome.redelivered,
            "arrived": outcome.flow[0], "done": outcome.flow[1], "left": outcome.left, "scan_s": outcome.scan,
            "latency_s": { "mean": outcome.latency.mean(), "p50": outcome.latency.quantile(0.5), "p99": outcome.latency.quantile(0.99) },
            "dollars": outcome.dollars, "dollars_sum": outcome.dollars.sum(), "tiers": outcome.tiers, "minutes": outcome.minutes,
        })
    };
    json!({
        "seconds": scenario.seconds, "seed": scenario.seed, "prices": AS_OF,
        "service": { "machine": scenario.service.source.machine, "date": scenario.service.source.date, "command": scenario.service.source.command },
        "days": outcomes.iter().map(day).collect::<Vec<_>>(),
    })
}

/// The most of a minute.
pub(super) fn peak(outcome: &Outcome, of: impl Fn(&super::day::Minute) -> f64) -> f64 {
    outcome.minutes.iter().map(of).fold(0.0, f64::max)
}

/// A duration in the unit that suits it.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{grouped, short};

    #[test]
    fn numbers_are_told_as_people_read_them() {
        assert_eq!(["7", "1,000", "12,345,678"], [7.0, 1000.0, 12_345_678.0].map(grouped));
        assert_eq!(
            ["0 ms", "80 ms", "1.5 s", "3.0 min", "3.0 h"],
            [0.0, 0.08, 1.5, 180.0, 10_800.0].map(short)
        );
    }
}
