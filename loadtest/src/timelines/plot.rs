//! The figures of the phases as a picture: p50 and p99 of each group side by side.

use std::error::Error;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::phase::Phase;
use super::report::{Figures, GroupFigures};
use crate::report::grouped;

/// The size of one phase; a picture of two is twice as wide.
const SIZE: (u32, u32) = (460, 400);
const INK: RGBColor = RGBColor(38, 38, 38);
const FAINT: RGBColor = RGBColor(222, 222, 222);
const LIMIT: RGBColor = RGBColor(200, 80, 20);
/// The shares that are drawn, and their colours, which differ in grey as well.
const BARS: [(&str, f64, RGBColor); 2] =
    [("p50", 0.5, RGBColor(140, 185, 225)), ("p99", 0.99, RGBColor(20, 75, 140))];
/// A group's width; both bars of it stand in its middle.
const WIDE: i32 = 20;
const BAR: i32 = 6;
/// Latency is called flat while no group's p99 is more than this many times the first group's.
const FLAT: f64 = 1.5;

/// Draws them.
///
/// # Errors
/// The file cannot be written.
pub(super) fn draw(path: &Path, phases: &[Figures]) -> Result<()> {
    let width = SIZE.0 * u32::try_from(phases.len())?;
    let all = SVGBackend::new(path, (width, SIZE.1)).into_drawing_area();
    let drawing = || -> Result<(), Box<dyn Error>> {
        // A page may be dark: the picture has a white background of its own.
        all.fill(&WHITE)?;
        for (panel, figures) in all.split_evenly((1, phases.len())).iter().zip(phases) {
            draw_phase(panel, figures)?;
        }
        Ok(all.present()?)
    };
    drawing().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw_phase(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    Figures { phase, pace, groups, .. }: &Figures,
) -> Result<(), Box<dyn Error>> {
    let ms = |group: &GroupFigures, share| group.latencies.micros(share) as f64 / 1000.0;
    let limit = FLAT * groups.first().map_or(0.0, |first| ms(first, 0.99));
    let highest = groups.iter().map(|group| ms(group, 0.99)).fold(limit, f64::max);
    // Room for the legend above the highest bar.
    let top = (highest * 1.35).max(0.1);
    let what = match phase {
        Phase::Warm => "warm: computed beforehand",
        Phase::Cold => "cold: gathered at once",
    };
    let lefts: Vec<i32> = (0..).step_by(WIDE as usize).take(groups.len()).collect();
    let right = lefts.last().map_or(WIDE, |last| last + WIDE);
    let middles: Vec<i32> = lefts.iter().map(|left| left + WIDE / 2).collect();
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(panel)
        .margin(14)
        .caption(format!("{what}, {} fetches/s", pace.rate), text(17))
        .x_label_area_size(48)
        .y_label_area_size(60)
        .build_cartesian_2d((0..right).with_key_points(middles), 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(text(13))
        .axis_desc_style(text(14))
        .x_desc("accounts followed")
        .x_label_formatter(&|x| {
            groups.get((*x / WIDE) as usize).map_or_else(String::new, |group| grouped(group.follows.into()))
        })
        .y_label_formatter(&|y| if top < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
        .y_desc("time to the reply, ms")
        .draw()?;
    for ((name, share, colour), offset) in BARS.into_iter().zip([WIDE / 2 - BAR, WIDE / 2]) {
        let bars: Vec<(i32, f64)> =
            lefts.iter().zip(groups).map(|(left, group)| (left + offset, ms(group, share))).collect();
        let rectangles =
            bars.iter().map(|(x, y)| Rectangle::new([(*x, 0.0), (x + BAR, *y)], colour.filled()));
        let swatch = move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled());
        chart.draw_series(rectangles)?.label(name).legend(swatch);
        let above = text(12).pos(Pos::new(HPos::Center, VPos::Bottom));
        let number = |(x, y): &(i32, f64)| {
            let shift = EmptyElement::at((x + BAR / 2, *y));
            shift + Text::new(format!("{y:.1}"), (0, -3), above.clone())
        };
        chart.draw_series(bars.iter().map(number))?;
    }
    let line = DashedLineSeries::new([(0, limit), (right, limit)], 6, 4, LIMIT.stroke_width(2));
    let first = groups.first().map_or(0, |first| first.follows);
    let named = format!("{FLAT} × p99 at {}", grouped(first.into()));
    let swatch = |(x, y)| PathElement::new([(x, y), (x + 14, y)], LIMIT.stroke_width(2));
    chart.draw_series(line)?.label(named).legend(swatch);
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(FAINT)
        .label_font(text(12))
        .draw()?;
    Ok(())
}
