//! The figures as a picture.

use std::path::Path;

use plotters::prelude::*;

use crate::Figure;

/// Draws timelines per CPU second and peak memory as bars.
pub(crate) fn draw(file: &Path, users: usize, figures: &[Figure]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (960, 60 + 44 * figures.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let (names, bars) = root.split_horizontally(250);
    let (speed, memory) = bars.split_horizontally(350);
    let style = ("sans-serif", 15).into_font().color(&BLACK);
    for (at, figure) in (0..).zip(figures) {
        names.draw(&Text::new(figure.name.clone(), (10, 52 + 44 * at), style.clone()))?;
    }
    let speeds: Vec<f64> = figures.iter().map(|figure| users as f64 / figure.cpu).collect();
    let memories: Vec<f64> = figures.iter().map(|figure| figure.peak_mb as f64).collect();
    half(&speed, "timelines per CPU second (more is better)", &speeds, RGBColor(0x1f, 0x77, 0xb4))?;
    half(&memory, "most memory, MB (less is better)", &memories, RGBColor(0xd9, 0x82, 0x1b))?;
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn half(area: &Area, title: &str, values: &[f64], color: RGBColor) -> anyhow::Result<()> {
    let black = ("sans-serif", 15).into_font().color(&BLACK);
    area.draw(&Text::new(title, (0, 12), black.clone()))?;
    let most = values.iter().copied().fold(0.0, f64::max);
    for (at, value) in (0..).zip(values) {
        let (top, width) = (46 + 44 * at, (250.0 * value / most).ceil() as i32);
        area.draw(&Rectangle::new([(0, top), (width, top + 26)], color.filled()))?;
        let text =
            if *value >= 10_000.0 { format!("{:.0},000", value / 1_000.0) } else { format!("{value:.0}") };
        area.draw(&Text::new(text, (width + 6, top + 6), black.clone()))?;
    }
    Ok(())
}
