//! The table as bars: a panel for each figure, Sound Off in colour, the span of the rounds as a line.

use std::error::Error;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::table::{Line, Table, number};

const WIDTH: u32 = 900;
const BAR: i32 = 20;
const TITLE: i32 = 42;
/// Where names end and bars begin, and where the longest bar ends.
const BARS: (i32, i32) = (260, 760);
const INK: RGBColor = RGBColor(38, 38, 38);
const OURS: RGBColor = RGBColor(20, 75, 140);
const THEIRS: RGBColor = RGBColor(170, 170, 170);

/// Draws it.
///
/// # Errors
/// The file cannot be written.
pub(super) fn draw(path: &Path, table: &Table) -> Result<()> {
    let lines = table.lines();
    let panels: Vec<&[&Line]> = lines
        .chunk_by(|a, b| (a.row, a.figure) == (b.row, b.figure))
        .filter(|panel| panel.len() > 1)
        .collect();
    let height = |panel: &&[&Line]| TITLE + BAR * panel.len() as i32;
    let tall = panels.iter().map(height).sum::<i32>() + 20;
    let all = SVGBackend::new(path, (WIDTH, u32::try_from(tall)?)).into_drawing_area();
    let drawing = || -> Result<(), Box<dyn Error>> {
        // A page may be dark: the picture has a white background of its own.
        all.fill(&WHITE)?;
        let mut top = 0;
        for panel in &panels {
            draw_panel(&all, top, panel)?;
            top += height(panel);
        }
        Ok(all.present()?)
    };
    drawing().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw_panel(
    all: &DrawingArea<SVGBackend<'_>, Shift>,
    top: i32,
    panel: &[&Line],
) -> Result<(), Box<dyn Error>> {
    let text = |size: u32, at| ("sans-serif", size).into_font().color(&INK).pos(Pos::new(at, VPos::Center));
    let most = panel.iter().map(|line| line.span().2).fold(f64::MIN_POSITIVE, f64::max);
    let right = |figure: f64| BARS.0 + (f64::from(BARS.1 - BARS.0) * (figure / most).clamp(0.0, 1.0)) as i32;
    let title = format!("{}: {}", panel[0].title, panel[0].figure);
    all.draw(&Text::new(title, (20, top + 28), text(15, HPos::Left)))?;
    for (n, line) in panel.iter().enumerate() {
        let middle = top + TITLE + BAR * n as i32 + BAR / 2;
        let (least, median, most) = line.span();
        let colour = if line.who.starts_with("Sound Off") { OURS } else { THEIRS };
        all.draw(&Text::new(line.who.clone(), (BARS.0 - 8, middle), text(13, HPos::Right)))?;
        let corners = [(BARS.0, middle - BAR / 2 + 3), (right(median), middle + BAR / 2 - 3)];
        all.draw(&Rectangle::new(corners, colour.filled()))?;
        let span = vec![(right(least), middle), (right(most), middle)];
        all.draw(&PathElement::new(span, INK.stroke_width(1)))?;
        all.draw(&Text::new(number(median), (right(most) + 8, middle), text(13, HPos::Left)))?;
    }
    Ok(())
}
