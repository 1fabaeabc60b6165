//! The overload as a picture: what equals get and what polite users notice, second by second.

use std::time::Duration;

use super::crowd::Counts;
use super::polite::MESSAGES;
use super::verdicts::{Figures, Overloaded};
use crate::report::plot::{Axis, Line, Plot, Scale};

/// One panel under the other, with the same seconds to the right. In each, the first line is held against the second.
pub(super) fn panels(figures: &Figures) -> [Plot; 3] {
    let Overloaded { samples, stopped, noticed, .. } = &figures.overloaded;
    let end = samples.last().map_or(*stopped, |(at, _)| *at).as_secs_f64();
    let panel = |title: String, y: Axis, judged: Line, (name, bound): (&str, f64), others: Vec<Line>| {
        let values = [&judged].into_iter().chain(&others).flat_map(|line| &line.points).map(|point| point.1);
        // An axis that is not logarithmic begins at 0.
        let least = if y.scale == Scale::Log { bound } else { 0.0 };
        let (low, high) = values.fold((least, bound), |(low, high), value| (low.min(value), high.max(value)));
        let stop = vec![(stopped.as_secs_f64(), low), (stopped.as_secs_f64(), high)];
        // From the first second to the last in every panel, so that all have the same axis.
        let bound = Line::new(name, vec![(0.0, bound), (end, bound)]);
        let lines = [judged, bound, Line::new("load ends", stop)].into_iter().chain(others).collect();
        Plot { title, x: Axis::new("seconds", Scale::Linear), y, lines }
    };
    let counts = |name: &str, of: fn(&Counts) -> u64| Line::new(name, each_second(samples, of));
    let served = || counts("served", Counts::all_served);
    let peak = ("peak before", figures.peak.goodput);
    let comments = || Axis::new("comments a second", Scale::Linear);
    let all = vec![counts("offered", |all| all.sent), counts("refused", |all| all.refused)];
    let accepted = |name: &str, share| Line::new(name, noticed.accepted_each_second(share));
    [
        panel("Comments of equals".into(), comments(), served(), peak, all),
        // Beside ten times as many, how far the served ones are from the peak cannot be seen.
        panel("Comments of equals: only what is served".into(), comments(), served(), peak, Vec::new()),
        panel(
            format!("Time to `accepted` of polite users: of {MESSAGES} a second, p99 is the slowest"),
            Axis::new("milliseconds", Scale::Log),
            accepted("p99", 0.99),
            ("twice p99 alone", figures.most_ms()),
            vec![accepted("p50", 0.5)],
        ),
    ]
}

/// What happened in each second, from what had happened until then, at the middle of the second. Seconds may be longer
/// or shorter where the machine had too much to do.
fn each_second(samples: &[(Duration, Counts)], of: fn(&Counts) -> u64) -> Vec<(f64, f64)> {
    let point = |((from, before), (to, now)): (&(Duration, Counts), &(Duration, Counts))| {
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        (f64::midpoint(from, to), (of(now) - of(before)) as f64 / (to - from))
    };
    samples.iter().zip(samples.iter().skip(1)).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::super::polite::Noticed;
    use super::super::verdicts::{Cost, Peak};
    use super::*;
    use crate::report::sheet;

    fn figures() -> Figures {
        let cost = Cost::new(Duration::ZERO, Duration::ZERO, 0);
        let sample = |ms, sent, refused, served: [u64; 2]| {
            (Duration::from_millis(ms), Counts { sent, refused, served: served.into() })
        };
        let samples = vec![
            sample(0, 0, 0, [0, 0]),
            sample(1_000, 90, 40, [8, 2]),
            sample(3_000, 270, 140, [18, 12]),
            sample(4_000, 270, 140, [24, 18]),
        ];
        let overloaded = Overloaded {
            offered: 90.0,
            counts: Counts::default(),
            took: Duration::ZERO,
            spent: Duration::ZERO,
            after: 12.0,
            noticed: Noticed::default(),
            samples,
            stopped: Duration::from_secs(3),
        };
        Figures {
            alone: Noticed::default(),
            peak: Peak { goodput: 12.0, cost },
            overloaded,
            quiet: 0.0,
            beside_greedy: Noticed::default(),
            beside_flood: Noticed::default(),
            refused_upgrade: cost,
        }
    }

    #[test]
    fn what_happened_in_a_second_is_what_had_not_happened_before_it() {
        let [all, served, _] = panels(&figures());
        let points = |plot: &Plot, name: &str| -> Vec<(f64, f64)> {
            plot.lines.iter().find(|line| line.name == name).unwrap().points.clone()
        };
        assert_eq!(points(&all, "offered"), [(0.5, 90.0), (2.0, 90.0), (3.5, 0.0)]);
        assert_eq!(points(&all, "refused"), [(0.5, 40.0), (2.0, 50.0), (3.5, 0.0)]);
        assert_eq!(points(&served, "served"), [(0.5, 10.0), (2.0, 10.0), (3.5, 12.0)]);
        assert_eq!(points(&served, "peak before"), [(0.0, 12.0), (4.0, 12.0)]);
        assert_eq!(points(&served, "load ends"), [(3.0, 0.0), (3.0, 12.0)]);
    }

    #[test]
    fn the_picture_names_its_series() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overload.svg");
        sheet::draw(&path, 1, &panels(&figures())).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for (name, times) in [("offered", 1), ("served", 2), ("peak before", 2), ("p99", 1), ("load ends", 3)]
        {
            assert_eq!(svg.matches(&format!("\n{name}\n")).count(), times, "{name}: {svg}");
        }
    }
}
