//! Days as pictures: one column for each number of users; depth, age, tasks, latency and dollars below each other.

use std::error::Error;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::day::{Minute, Outcome};
use super::tell::{peak, short};
use crate::report::grouped;

/// Of one panel.
const SIZE: (u32, u32) = (520, 190);
const INK: RGBColor = RGBColor(38, 38, 38);
const FAINT: RGBColor = RGBColor(226, 226, 226);
/// Told apart in grey as well, by brightness and by their order in the legend.
const COLOURS: [RGBColor; 7] = [
    RGBColor(20, 75, 140),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(140, 185, 225),
    RGBColor(160, 60, 140),
    RGBColor(110, 110, 110),
    RGBColor(190, 160, 20),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// A line of a panel.
struct Line {
    name: String,
    values: Vec<f64>,
}

/// Draws them.
///
/// # Errors
/// The file cannot be written.
pub(super) fn draw(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let columns = outcomes.len().max(1);
    let size = (SIZE.0 * u32::try_from(columns)?, SIZE.1 * 6);
    let all = SVGBackend::new(path, size).into_drawing_area();
    let drawing = || -> Drawn {
        // A page may be dark; the picture brings its own paper.
        all.fill(&WHITE)?;
        for (column, outcome) in all.split_evenly((1, columns)).iter().zip(outcomes) {
            draw_day(column, outcome)?;
        }
        Ok(all.present()?)
    };
    drawing().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw_day(area: &Area<'_>, outcome: &Outcome) -> Drawn {
    let panels = area.split_evenly((6, 1));
    let of = |name: &str, value: fn(&Minute) -> f64| Line {
        name: name.into(),
        values: outcome.minutes.iter().map(value).collect(),
    };
    let tasks = outcome.tiers.iter().enumerate().map(|(tier, name)| Line {
        name: name.clone(),
        values: outcome.minutes.iter().map(|minute| f64::from(minute.tasks[tier])).collect(),
    });
    let latency = vec![of("p99", |minute| minute.p99), of("p50", |minute| minute.p50)];
    let title = format!("{} users", grouped(outcome.users));
    panel(
        &panels[0],
        &format!("{title}: client messages a second"),
        vec![of("", |minute| minute.rate)],
        &scaled,
    )?;
    panel(&panels[1], "messages in queues", vec![of("", |minute| minute.depth)], &scaled)?;
    panel(&panels[2], "age of the oldest visible message", vec![of("", |minute| minute.age)], &|value| {
        short(*value)
    })?;
    panel(&panels[3], "tasks", tasks.collect(), &scaled)?;
    panel(&panels[4], "time to the reply", latency, &|value| short(*value))?;
    let hourly = vec![of("", |minute| minute.dollars * 60.0)];
    let sum = outcome.dollars.sum();
    debug_assert!(peak(outcome, |minute| minute.dollars) <= sum);
    panel(&panels[5], &format!("dollars an hour ({sum:.2} in all)"), hourly, &scaled)
}

/// A count that fits beside an axis.
fn scaled(value: &f64) -> String {
    match *value {
        v if v >= 1e6 => format!("{:.1} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 10.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

fn panel(area: &Area<'_>, title: &str, lines: Vec<Line>, label: &dyn Fn(&f64) -> String) -> Drawn {
    let minutes = lines.first().map_or(0, |line| line.values.len());
    let top = lines.iter().flat_map(|line| &line.values).fold(0.0_f64, |a, b| a.max(*b));
    let top = if top > 0.0 { top * 1.15 } else { 1.0 };
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let hours = minutes as f64 / 60.0;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(18)
        .caption(title, text(15))
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..hours.max(0.1), 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(text(12))
        .y_labels(5)
        .x_labels(9)
        .x_label_formatter(&|hour| format!("{hour:.0} h"))
        .y_label_formatter(&label)
        .draw()?;
    let several = lines.len() > 1;
    for (at, line) in lines.into_iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points = line.values.into_iter().enumerate().map(|(minute, value)| (minute as f64 / 60.0, value));
        let drawn = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        if several {
            drawn
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], colour.stroke_width(3)));
        }
    }
    if several {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(FAINT)
            .label_font(text(11))
            .draw()?;
    }
    Ok(())
}
