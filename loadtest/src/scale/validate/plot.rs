//! Depth by time, predicted and measured.

use super::judged::Judged;
use crate::report::plot::{Axis, Line, Plot, Scale};

/// A plot for each rate.
pub(super) fn plots(judged: &[Judged]) -> Vec<Plot> {
    let plot = |Judged { phase, measured, predicted, .. }: &Judged| Plot {
        title: phase.name(),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("messages queued", Scale::Linear),
        lines: vec![
            Line::new("measured", measured.course.depths.clone()),
            Line::new("predicted", predicted.depths.clone()),
        ],
    };
    judged.iter().map(plot).collect()
}
