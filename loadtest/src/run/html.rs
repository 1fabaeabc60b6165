//! A run as a page.

use anyhow::Result;

use super::figures::{Figures, Spread, held_up};
use super::second::{Brief, Counts, Measure, Second};
use crate::report::page::Page;
use crate::report::per_second;
use crate::report::plot::{Axis, Line, Plot, Scale, number};

/// Writes the page.
///
/// # Errors
/// A plot cannot be drawn.
pub(super) fn page(figures: &Figures) -> Result<Page> {
    let Figures { configuration, circumstances, .. } = figures;
    let under = format!(
        "{} users, {} messages/s for {} s against {}, begun {}",
        configuration.users,
        configuration.rate,
        configuration.duration_s,
        circumstances.url,
        circumstances.started_at,
    );
    let mut page = Page::new("Load test", &under);
    verdict(&mut page, figures);
    tiles(&mut page, figures);
    page.section("Latency");
    page.text("From the time a message was due, including all delays.");
    for plot in over_time(figures).into_iter().chain([by_percentile(figures)]) {
        page.plot(&plot)?;
    }
    latencies(&mut page, figures);
    page.section("Throughput, queues and errors");
    for plot in [throughput(figures), queues(figures), errors(figures)] {
        page.plot(&plot)?;
    }
    page.section("How it was measured");
    page.facts(&facts(figures));
    Ok(page)
}

fn verdict(page: &mut Page, figures: &Figures) {
    let outcome = &figures.outcome;
    if outcome.interrupted {
        page.verdict(false, &format!("Interrupted: {} messages had no reply yet.", outcome.unfinished));
    }
    if outcome.not_sent > 0 {
        let text =
            "messages were not sent: the generator was too slow, and the figures are not the server's.";
        page.verdict(false, &format!("{} {text}", outcome.not_sent));
    }
    if let Some(late) = held_up(&figures.generator) {
        page.verdict(false, &format!("Beware: {late}."));
    }
    if outcome.wrong.is_empty() {
        return page.verdict(true, "Every answer was right.");
    }
    page.verdict(false, &format!("{} answers were wrong.", outcome.totals.wrong));
    let rows = outcome.wrong.iter().map(|(flaw, flawed)| {
        (format!("{} {flaw}", flawed.count), format!("such as {}", flawed.examples.join(" · ")))
    });
    page.facts(&rows.collect::<Vec<_>>());
}

fn tiles(page: &mut Page, figures: &Figures) {
    let outcome = &figures.outcome;
    let loaded = std::time::Duration::from_secs_f64(outcome.loaded_s);
    let mut tiles = vec![("replies per second", number(per_second(outcome.totals.replies, loaded)))];
    let mut both = |name50, name99, measure| {
        if let Some(spread) = figures.all(measure) {
            tiles.push((name50, ms(spread.p50_us)));
            tiles.push((name99, ms(spread.p99_us)));
        }
    };
    both("accepted, p50", "accepted, p99", Measure::Accepted);
    both("delivered, p50", "delivered, p99", Measure::Delivery);
    page.tiles(&tiles);
}

fn ms(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1000.0)
}

/// A plot of one or more values of each second.
fn timed(title: &str, y: Axis, lines: Vec<Line>) -> Plot {
    Plot { title: title.into(), x: Axis::new("seconds since the start", Scale::Linear), y, lines }
}

/// The seconds that are drawn: those of the load, and those after it in which many answers still came.
fn seconds(figures: &Figures) -> &[Second] {
    let loaded = figures.loaded().len();
    let much = u64::from(figures.configuration.rate / 20);
    let is_busy =
        |second: &Second| second.counts.accepted.max(second.counts.replies).max(second.counts.pushes) > much;
    let drained = figures.series[loaded..].iter().take_while(|second| is_busy(second)).count();
    &figures.series[..loaded + drained]
}

fn series(figures: &Figures, of: impl Fn(&Second) -> f64) -> Vec<(f64, f64)> {
    seconds(figures).iter().map(|second| (second.t as f64, of(second))).collect()
}

fn over_time(figures: &Figures) -> Vec<Plot> {
    let share = |name: &str, of: fn(&Brief) -> u64| {
        let lines = Measure::ALL.map(|measure| {
            let at = |second: &Second| {
                second.latency.get(&measure).map_or(f64::NAN, |brief| of(brief) as f64 / 1000.0)
            };
            Line::new(measure.name(), series(figures, at))
        });
        timed(&format!("{name} of what was due in each second"), Axis::new("ms", Scale::Log), lines.to_vec())
    };
    vec![share("p50", |brief| brief.p50_us), share("p99", |brief| brief.p99_us)]
}

fn by_percentile(figures: &Figures) -> Plot {
    let line = |measure: Measure| {
        let spread = figures.all(measure)?;
        let points = spread.percentiles.iter().map(|(share, us, _)| (*share, *us as f64 / 1000.0));
        Some(Line::new(measure.name(), points.collect()))
    };
    Plot {
        title: "Latency by percentile, all messages of the run".into(),
        x: Axis::new("share of messages that are not slower", Scale::Nines),
        y: Axis::new("ms", Scale::Log),
        lines: Measure::ALL.into_iter().filter_map(line).collect(),
    }
}

fn latencies(page: &mut Page, figures: &Figures) {
    let row = |name: String, spread: &Spread| {
        let values = [spread.p50_us, spread.p90_us, spread.p99_us, spread.p999_us, spread.max_us];
        [name, spread.count.to_string()].into_iter().chain(values.map(ms)).collect()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (measure, kinds) in &figures.latency {
        for (kind, spread) in kinds {
            rows.push(row(format!("{}, {kind}", measure.name()), spread));
        }
    }
    rows.push(row("the generator's own share".into(), &figures.generator));
    page.table(&["until", "messages", "p50", "p90", "p99", "p99.9", "max"], &rows);
}

fn throughput(figures: &Figures) -> Plot {
    let line =
        |name: &str, of: fn(&Second) -> u64| Line::new(name, series(figures, |second| of(second) as f64));
    let lines = vec![
        line("sent", |second| second.counts.sent),
        line("accepted", |second| second.counts.accepted),
        line("replies", |second| second.counts.replies),
        line("pushes", |second| second.counts.pushes),
    ];
    timed("Messages in each second", Axis::new("per second", Scale::Linear), lines)
}

fn queues(figures: &Figures) -> Plot {
    let behind = |of: fn(&Counts) -> [u64; 2]| {
        let mut behind = 0.0;
        let points = seconds(figures).iter().map(|second| {
            let [before, after] = of(&second.counts);
            behind += before as f64 - after as f64;
            (second.t as f64, f64::max(behind, 0.0))
        });
        points.collect()
    };
    let mut lines = vec![
        Line::new("due, not accepted yet", behind(|counts| [counts.sent, counts.accepted])),
        Line::new("accepted, no reply yet", behind(|counts| [counts.accepted, counts.replies])),
    ];
    if figures.series.iter().any(|second| second.queues.is_some()) {
        let queue = |of: fn(&super::queues::Queues) -> u64| {
            series(figures, |second| second.queues.as_ref().map_or(f64::NAN, |queues| of(queues) as f64))
        };
        lines.push(Line::new("waiting on main_q", queue(|queues| queues.main_waiting)));
        let tells = |second: &Second| second.queues.as_ref().is_some_and(|queues| queues.waiting.is_some());
        if figures.series.iter().any(tells) {
            let waiting = queue(|queues| queues.waiting.unwrap_or_default());
            lines.push(Line::new("waiting on all queues", waiting));
        }
        lines.push(Line::new("in progress on all queues", queue(super::queues::Queues::in_progress)));
    }
    timed("Depth of the queues at the end of each second", Axis::new("messages", Scale::Linear), lines)
}

fn errors(figures: &Figures) -> Plot {
    let line =
        |name: &str, of: fn(&Second) -> u64| Line::new(name, series(figures, |second| of(second) as f64));
    let lines = vec![
        line("refused for now", |second| second.counts.refused_for_now),
        line("wrong", |second| second.counts.wrong),
        line("sent again", |second| second.counts.repeated),
        line("reconnects", |second| second.counts.reconnects),
    ];
    timed("Errors in each second", Axis::new("per second", Scale::Linear), lines)
}

fn facts(figures: &Figures) -> Vec<(String, String)> {
    let (configuration, circumstances, outcome) =
        (&figures.configuration, &figures.circumstances, &figures.outcome);
    let think = configuration.think.clone().unwrap_or_else(|| "none".into());
    let totals = &outcome.totals;
    let facts = [
        ("users", configuration.users.to_string()),
        ("mix", configuration.mix.to_string()),
        (
            "rate",
            format!(
                "{} messages per second for {} s, an open loop",
                configuration.rate, configuration.duration_s
            ),
        ),
        (
            "arrivals",
            format!(
                "{:?}, {} messages a visit, think time {think}",
                configuration.arrivals, configuration.visit
            ),
        ),
        ("seed", circumstances.seed.to_string()),
        (
            "messages",
            format!("{} sent, {} accepted, {} replies", totals.sent, totals.accepted, totals.replies),
        ),
        ("pushes", format!("{}, {} of them with a text that was checked", totals.pushes, totals.delivered)),
        (
            "done again",
            format!(
                "{} refused for now, {} sent again, {} reconnects, {} repeated replies, {} overtook",
                totals.refused_for_now,
                totals.repeated,
                totals.reconnects,
                outcome.told_again,
                outcome.overtaken
            ),
        ),
        (
            "server",
            format!(
                "{}, version {}",
                circumstances.url,
                circumstances.server.as_deref().unwrap_or("unknown")
            ),
        ),
        ("loadtest", circumstances.loadtest.clone()),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    facts.into_iter().chain(circumstances.machine.facts()).collect()
}
