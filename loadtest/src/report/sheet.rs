//! Several plots in one picture, each under its title.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::plot::{Drawn, Plot, text};

/// The size of one plot.
const SIZE: (u32, u32) = (640, 260);

/// Draws plots into a file, `columns` beside each other.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(path: &Path, columns: usize, plots: &[Plot]) -> Result<()> {
    let columns = columns.max(1);
    let rows = plots.len().div_ceil(columns);
    let size = (SIZE.0 * u32::try_from(columns)?, SIZE.1 * u32::try_from(rows)?);
    let all = SVGBackend::new(path, size).into_drawing_area();
    let drawing = || -> Drawn {
        // A page may be dark: the picture has a white background of its own.
        all.fill(&WHITE)?;
        for (panel, plot) in all.split_evenly((rows, columns)).iter().zip(plots) {
            plot.draw(&panel.titled(&plot.title, text(16))?)?;
        }
        Ok(all.present()?)
    };
    drawing().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}
