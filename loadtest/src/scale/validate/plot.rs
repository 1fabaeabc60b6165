//! Depth by time, predicted and measured, a panel for each rate.

use std::error::Error;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::Judged;

const SIZE: (u32, u32) = (420, 270);
const COLUMNS: u32 = 3;
const INK: RGBColor = RGBColor(38, 38, 38);
const FAINT: RGBColor = RGBColor(226, 226, 226);
const MEASURED: RGBColor = RGBColor(140, 185, 225);
const PREDICTED: RGBColor = RGBColor(200, 80, 20);

/// Draws them.
///
/// # Errors
/// The file cannot be written.
pub(super) fn draw(path: &Path, judged: &[Judged]) -> Result<()> {
    let rows = u32::try_from(judged.len())?.div_ceil(COLUMNS);
    let all = SVGBackend::new(path, (SIZE.0 * COLUMNS, SIZE.1 * rows)).into_drawing_area();
    let drawing = || -> Result<(), Box<dyn Error>> {
        all.fill(&WHITE)?;
        for (panel, judged) in all.split_evenly((rows as usize, COLUMNS as usize)).iter().zip(judged) {
            let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
            let both = [&judged.measured.course.depths, &judged.predicted.depths];
            let most = |of: fn(&(f64, f64)) -> f64| {
                both.iter().flat_map(|line| line.iter()).map(of).fold(1.0, f64::max)
            };
            let mut chart = ChartBuilder::on(panel)
                .margin(10)
                .margin_right(18)
                .caption(judged.phase.name(), text(15))
                .x_label_area_size(36)
                .y_label_area_size(56)
                .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1) * 1.15)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(FAINT)
                .axis_style(INK)
                .label_style(text(12))
                .x_desc("seconds")
                .y_desc("messages queued")
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| if *y < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
                .draw()?;
            for (name, line, colour, wide) in
                [("measured", both[0], MEASURED, 4), ("predicted", both[1], PREDICTED, 2)]
            {
                let drawn =
                    chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(wide)))?;
                drawn
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(wide)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .border_style(FAINT)
                .label_font(text(12))
                .draw()?;
        }
        Ok(all.present()?)
    };
    drawing().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}
