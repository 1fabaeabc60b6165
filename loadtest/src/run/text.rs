//! A run in words: a line while it goes on, and a summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figures::{Configuration, Outcome, Spread, held_up};
use super::queues::Queues;
use super::record::Recently;
use super::second::Measure;
use crate::report::{Latencies, per_second};

const SHARES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// What just happened.
pub(super) fn line(second: u64, recently: &Recently, queues: Option<Queues>) -> String {
    let counts = &recently.counts;
    let mut line = format!("{second} s  {} sent/s, {} replies/s", counts.sent, counts.replies);
    for (measure, p50, p99) in &recently.latencies {
        let (p50, p99) = (*p50 as f64 / 1000.0, *p99 as f64 / 1000.0);
        let _ = write!(line, "  {} p50 {p50:.1} p99 {p99:.1} ms", measure.name());
    }
    if let Some(queues) = queues {
        let _ = write!(line, "  main_q {}", queues.main_waiting);
        if let Some(waiting) = queues.waiting {
            let _ = write!(line, ", waiting {waiting}");
        }
        let _ = write!(line, ", in progress {}", queues.in_progress());
    }
    for (count, what) in [
        (counts.refused_for_now, "refused"),
        (counts.repeated, "sent again"),
        (counts.reconnects, "reconnects"),
        (counts.wrong, "WRONG"),
    ] {
        if count > 0 {
            let _ = write!(line, "  {count} {what}");
        }
    }
    line
}

/// All of it.
pub(super) fn summary(
    configuration: &Configuration,
    seed: u64,
    outcome: &Outcome,
    latencies: &BTreeMap<Measure, BTreeMap<String, Latencies>>,
    lag: &Spread,
) -> String {
    let Configuration { users, rate, duration_s, mix, .. } = configuration;
    let totals = &outcome.totals;
    let mut lines =
        vec![format!("load          {users} users, {rate}/s for {duration_s} s of {mix}, seed {seed}")];
    let mut row = |name: &str, text: String| lines.push(format!("{name:<13} {text}"));
    let replied = per_second(totals.replies, std::time::Duration::from_secs_f64(outcome.loaded_s));
    row(
        "messages",
        format!(
            "{} sent, {} accepted, {} replies ({replied:.1}/s)",
            totals.sent, totals.accepted, totals.replies
        ),
    );
    row("pushes", format!("{}, {} of them with a text of another user", totals.pushes, totals.delivered));
    for (measure, kinds) in latencies {
        for (kind, latencies) in kinds {
            let name = if kind == "all" { measure.name().to_owned() } else { format!("  {kind}") };
            row(&name, latencies.line(&SHARES));
        }
    }
    let (p50, p99) = (lag.p50_us as f64 / 1000.0, lag.p99_us as f64 / 1000.0);
    row("generator", format!("p50 {p50:.2} ms  p99 {p99:.2} ms   (from due to sent: its own share)"));
    row(
        "again",
        format!(
            "{} refused for now, {} sent again, {} reconnects, {} repeated replies, {} overtook",
            totals.refused_for_now, totals.repeated, totals.reconnects, outcome.told_again, outcome.overtaken
        ),
    );
    if let Some(late) = held_up(lag) {
        row("beware", late);
    }
    if outcome.not_sent > 0 {
        row("not sent", format!("{}: the generator was too slow or had no socket", outcome.not_sent));
    }
    if outcome.unfinished > 0 {
        row("unfinished", format!("{} had no reply yet", outcome.unfinished));
    }
    row("wrong", totals.wrong.to_string());
    for (flaw, flawed) in &outcome.wrong {
        row("", format!("{} {flaw}, such as", flawed.count));
        flawed.examples.iter().for_each(|example| row("", format!("  {example}")));
    }
    lines.join("\n") + "\n"
}
