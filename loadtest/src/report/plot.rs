//! Line plots as SVG: over time, over the load, by percentile.

use std::error::Error;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (920, 320);
/// Where the plot begins, and the height of a row of the legend.
const LEFT: i32 = 82;
const LEGEND: i32 = 22;
/// Ink and lines of the grid; [`super::page`] gives them and the series' colours other shades on a dark page.
pub(super) const INK: &str = "#262626";
pub(super) const FAINT: &str = "#DEDEDE";
/// Colours of the series, in order. Colour-blind people can distinguish them, too.
pub(super) const COLOURS: [&str; 7] =
    ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A67C00", "#56B4E9", "#7A7A7A"];

/// How values are placed along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Each power of ten gets the same room; only positive values are drawn.
    Log,
    /// Shares such as 0.99: each further nine gets the same room, as HdrHistogram's plots have it.
    Nines,
}

impl Scale {
    /// The place of a value; none if the scale has no place for it.
    fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Nines => -(1.0 - value).log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The marked places between two values.
    fn marks(self, low: f64, high: f64) -> Vec<f64> {
        match self {
            Scale::Linear => even_marks(low, high),
            Scale::Nines => (0..=high.ceil() as i32).map(f64::from).collect(),
            Scale::Log => {
                let decades = low.floor() as i32..=high.ceil() as i32;
                // With few decades there is room for marks between them.
                let between: &[f64] = if high - low < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let marks = decades.flat_map(|n| between.iter().map(move |m| f64::from(n) + m.log10()));
                marks.filter(|mark| (low - 1e-9..=high + 1e-9).contains(mark)).collect()
            }
        }
    }

    fn label(self, place: f64) -> String {
        match self {
            Scale::Linear => number(place),
            Scale::Log => number(10f64.powf(place)),
            Scale::Nines if place < 0.5 => "0%".into(),
            Scale::Nines => {
                let digits = (place.round() as usize).saturating_sub(2);
                format!("{:.digits$}%", 100.0 * (1.0 - 10f64.powf(-place)))
            }
        }
    }
}

/// About six round numbers.
fn even_marks(low: f64, high: f64) -> Vec<f64> {
    let rough = ((high - low) / 6.0).max(f64::MIN_POSITIVE);
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(decade * 10.0);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|mark| *mark <= high + step / 1e6).take(20).collect()
}

/// Such as `1,200`, `0.25` or `3M`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let short = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match size {
        s if s >= 1e9 => short(value / 1e9, "G"),
        s if s >= 1e6 => short(value / 1e6, "M"),
        s if s >= 1e4 => short(value / 1e3, "k"),
        s if s >= 1e3 => format!("{},{:03}", (value / 1e3).trunc(), (size % 1e3).round().min(999.0)),
        s if s >= 0.01 || s == 0.0 => short(value, ""),
        _ => format!("{value:.0e}"),
    }
}

/// One direction of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What it counts, with its unit.
    pub(crate) label: String,
    /// Its scale.
    pub(crate) scale: Scale,
}

impl Axis {
    /// An axis.
    pub(crate) fn new(label: &str, scale: Scale) -> Self {
        Self { label: label.into(), scale }
    }
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its name.
    pub(crate) name: String,
    /// Its points from left to right. A NaN leaves a gap.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Line {
    /// A series.
    pub(crate) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }

    /// The drawn points, cut where there are gaps.
    fn stretches(&self, x: Scale, y: Scale) -> Vec<Vec<(f64, f64)>> {
        let place = |&(a, b): &(f64, f64)| Some((x.place(a)?, y.place(b)?));
        let placed: Vec<Option<(f64, f64)>> = self.points.iter().map(place).collect();
        let whole = placed.split(Option::is_none).map(|run| run.iter().flatten().copied().collect());
        whole.filter(|stretch: &Vec<_>| !stretch.is_empty()).collect()
    }
}

/// A plot of a few series.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// What it shows.
    pub(crate) title: String,
    /// The axis to the right.
    pub(crate) x: Axis,
    /// The axis upwards.
    pub(crate) y: Axis,
    /// The series; colours repeat after seven.
    pub(crate) lines: Vec<Line>,
}

/// An axis in places, with the marks that we choose.
struct Marked {
    places: RangedCoordf64,
    marks: Vec<f64>,
}

impl Marked {
    fn new(scale: Scale, low: f64, high: f64) -> Self {
        Self { places: (low..high).into(), marks: scale.marks(low, high) }
    }
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.places.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.places.range()
    }
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

impl Plot {
    /// Draws it without a background and without its title, for use in a page.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub(crate) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let mut drawn = || -> Drawn {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area)?;
            Ok(area.present()?)
        };
        drawn().map_err(|error| anyhow!("cannot draw {:?}: {error}", self.title))?;
        Ok(svg)
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let legend = self.legend_places(area.dim_in_pixel().0);
        let rows = legend.last().map_or(0, |(_, row)| row + 1);
        let stretches: Vec<_> =
            self.lines.iter().map(|line| line.stretches(self.x.scale, self.y.scale)).collect();
        let all = || stretches.iter().flatten().flatten();
        let (left, right) = bounds(self.x.scale, all().map(|point| point.0), 0.0);
        let (low, high) = bounds(self.y.scale, all().map(|point| point.1), 0.05);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_top(rows * LEGEND + if rows > 0 { 12 } else { 10 })
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(LEFT - 10)
            .build_cartesian_2d(
                Marked::new(self.x.scale, left, right),
                Marked::new(self.y.scale, low, high),
            )?;
        self.mesh(&mut chart)?;
        for (stretches, n) in stretches.into_iter().zip(0..) {
            let colour = colour(COLOURS[n % COLOURS.len()]);
            for stretch in stretches {
                // A single point between gaps is no line.
                let dots = (stretch.len() == 1).then(|| Circle::new(stretch[0], 2, colour.filled()));
                chart.draw_series(dots)?;
                chart.draw_series(LineSeries::new(stretch, colour.stroke_width(2)))?;
            }
        }
        self.legend(area, &legend)
    }

    /// Where each series is named above the plot, from the left and by row: as many in a row as there is room for. One
    /// series needs no name.
    fn legend_places(&self, width: u32) -> Vec<(i32, i32)> {
        let (mut left, mut row) = (LEFT, 0);
        let place = |line: &Line| {
            // The letters are not measured: this is about their width.
            let takes = 52 + 7 * line.name.chars().count() as i32;
            if left > LEFT && left + takes > width as i32 {
                (left, row) = (LEFT, row + 1);
            }
            left += takes;
            (left - takes, row)
        };
        if self.lines.len() > 1 { self.lines.iter().map(place).collect() } else { Vec::new() }
    }

    /// Draws the legend.
    fn legend(&self, area: &Area<'_>, places: &[(i32, i32)]) -> Drawn {
        for ((line, (left, row)), n) in self.lines.iter().zip(places).zip(0..) {
            let colour = colour(COLOURS[n % COLOURS.len()]);
            let middle = row * LEGEND + LEGEND / 2 + 4;
            area.draw(&PathElement::new([(*left, middle), (left + 18, middle)], colour.stroke_width(3)))?;
            let beside = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(line.name.clone(), (left + 24, middle), beside))?;
        }
        Ok(())
    }

    fn mesh(&self, chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<Marked, Marked>>) -> Drawn {
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(colour(FAINT))
            .axis_style(colour(INK))
            .label_style(text(13))
            .axis_desc_style(text(14))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&|place| self.x.scale.label(*place))
            .y_label_formatter(&|place| self.y.scale.label(*place))
            .draw()?;
        Ok(())
    }
}

pub(super) fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour(INK))
}

/// From `#RRGGBB`.
fn colour(hex: &str) -> RGBColor {
    let part =
        |at: usize| hex.get(at..at + 2).and_then(|part| u8::from_str_radix(part, 16).ok()).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

/// The places between which an axis runs, with a share of room at the end.
fn bounds(scale: Scale, places: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
    let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p), h.max(p)));
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    let low = match scale {
        Scale::Linear | Scale::Nines => low.min(0.0),
        Scale::Log => low.floor(),
    };
    let high = if high - low < 1e-9 { low + 1.0 } else { high };
    (low, high + (high - low) * room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_named_as_people_say_them() {
        let labels = |scale: Scale, low, high| -> Vec<String> {
            scale.marks(low, high).into_iter().map(|mark| scale.label(mark)).collect()
        };
        assert_eq!(labels(Scale::Linear, 0.0, 60.0), ["0", "10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(Scale::Nines, 0.0, 4.0), ["0%", "90%", "99%", "99.9%", "99.99%"]);
        assert_eq!(labels(Scale::Log, -1.0, 1.0), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(Scale::Log, 0.0, 4.0), ["1", "10", "100", "1,000", "10k"]);
        assert_eq!([number(1_234.0), number(2.5e6), number(0.004)], ["1,234", "2.5M", "4e-3"]);
    }

    #[test]
    fn a_gap_parts_a_line_and_what_has_no_place_is_not_drawn() {
        let line = Line::new("p99", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.0), (3.0, 10.0), (4.0, 100.0)]);
        assert_eq!(
            line.stretches(Scale::Linear, Scale::Log),
            [vec![(0.0, 0.0)], vec![(3.0, 1.0), (4.0, 2.0)]]
        );
        let plot = |lines| Plot {
            title: "t".into(),
            x: Axis::new("seconds", Scale::Linear),
            y: Axis::new("latency <&>", Scale::Log),
            lines,
        };
        let svg = plot(vec![line, Line::new("p50", vec![])]).svg().unwrap();
        assert!(
            svg.contains("<svg") && svg.contains("latency &lt;&amp;&gt;") && svg.contains("p99"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(plot(vec![]).svg().unwrap().contains("seconds"));
    }

    #[test]
    fn names_of_series_find_room_in_rows() {
        let of = |names: usize, width| {
            let line =
                |n: usize| Line::new(["personalize", "edge", "schedule"][n % 3], vec![(0.0, n as f64)]);
            let axis = || Axis::new("", Scale::Linear);
            let lines = (0..names).map(line).collect();
            Plot { title: String::new(), x: axis(), y: axis(), lines }.legend_places(width)
        };
        assert_eq!(of(1, 640), []);
        let rows: Vec<i32> = of(7, 640).iter().map(|(_, row)| *row).collect();
        assert_eq!((of(7, 920).last().map(|(_, row)| *row), rows), (Some(0), vec![0, 0, 0, 0, 0, 1, 1]));
        // However narrow: one in each row.
        assert_eq!(of(3, 100), [(LEFT, 0), (LEFT, 1), (LEFT, 2)]);
    }
}
