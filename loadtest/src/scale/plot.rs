//! A day as plots.

use super::outcome::{Minute, Outcome};
use crate::report::grouped;
use crate::report::plot::{Axis, Line, Plot, Scale};

/// How many plots a day has.
pub(super) const PLOTS: usize = 6;

/// Load, queues, age, tasks, latency and dollars.
pub(super) fn plots(outcome: &Outcome) -> [Plot; PLOTS] {
    let points = |value: &dyn Fn(&Minute) -> f64| {
        let hours = (0..).map(|minute| f64::from(minute) / 60.0);
        hours.zip(outcome.minutes.iter().map(value)).collect::<Vec<_>>()
    };
    let line = |name: &str, value: fn(&Minute) -> f64| Line::new(name, points(&value));
    let tasks = outcome.tiers.iter().enumerate();
    let tasks = tasks.map(|(tier, name)| Line::new(name, points(&|minute| f64::from(minute.tasks[tier]))));
    let plot = |title: String, unit: &str, scale, lines| Plot {
        title,
        x: Axis::new("hour of the day", Scale::Linear),
        y: Axis::new(unit, scale),
        lines,
    };
    let title = |what: &str| format!("{} users: {what}", grouped(outcome.users));
    let sum = format!("dollars an hour, {:.2} in all", outcome.dollars.sum());
    let latency = vec![line("p99", |minute| minute.p99), line("p50", |minute| minute.p50)];
    [
        plot(title("client messages"), "a second", Scale::Linear, vec![line("", |minute| minute.rate)]),
        plot(title("messages in queues"), "messages", Scale::Linear, vec![line("", |minute| minute.depth)]),
        plot(
            title("age of the oldest visible message"),
            "seconds",
            Scale::Linear,
            vec![line("", |minute| minute.age)],
        ),
        plot(title("tasks"), "tasks", Scale::Linear, tasks.collect()),
        plot(title("time to the reply"), "seconds", Scale::Log, latency),
        plot(title(&sum), "dollars", Scale::Linear, vec![line("", |minute| minute.dollars * 60.0)]),
    ]
}
