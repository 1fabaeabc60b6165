//! What was measured, held against its bounds.

use serde_json::{Value, json};
use soundoff_common::tell;

/// One figure and its bound.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What was measured.
    what: &'static str,
    /// The figure, with its unit.
    measured: String,
    /// The bound in words; none for figures that others are compared with.
    bound: Option<String>,
    /// Whether it is met.
    pub(super) is_met: bool,
}

impl Row {
    /// A figure that others are compared with.
    pub(super) fn figure(what: &'static str, measured: String) -> Self {
        Self { what, measured, bound: None, is_met: true }
    }

    /// A figure and its bound.
    pub(super) fn judged(what: &'static str, measured: String, bound: String, is_met: bool) -> Self {
        Self { what, measured, bound: Some(bound), is_met }
    }

    fn verdict(&self) -> &'static str {
        match (&self.bound, self.is_met) {
            (None, _) => "",
            (Some(_), true) => "met",
            (Some(_), false) => "NOT MET",
        }
    }

    /// The row for machines.
    pub(super) fn json(&self) -> Value {
        let met = self.bound.as_ref().map(|_| self.is_met);
        json!({ "what": self.what, "measured": self.measured, "bound": self.bound, "met": met })
    }
}

/// Prints the rows as a table in Markdown, as docs/benchmarks.md has it.
pub(super) fn print(rows: &[Row]) {
    let bound = |row: &Row| row.bound.clone().unwrap_or_default();
    let cells =
        rows.iter().map(|row| [row.what.into(), row.measured.clone(), bound(row), row.verdict().into()]);
    let head = ["what", "measured", "bound", ""].map(String::from);
    let cells: Vec<[String; 4]> = std::iter::once(head).chain(cells).collect();
    let widths = [0, 1, 2, 3].map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    for (number, row) in cells.iter().enumerate() {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        tell!("| {} |", padded.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            tell!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}

/// Jain's index of fairness: 1 when all get the same, 1/n when one of n gets all. Without anything to share it is 0.
pub(super) fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    if squares == 0.0 { 0.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

/// A part of a whole; of nothing it is 0, so that a run without messages meets no bound.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_fair_and_one_for_all_is_not() {
        assert!((jain(&[7; 50]) - 1.0).abs() < 1e-9);
        assert!((jain(&[9, 0, 0, 0]) - 0.25).abs() < 1e-9);
        assert!((jain(&[1, 2, 3]) - 36.0 / 42.0).abs() < 1e-9);
        assert_eq!((jain(&[]), jain(&[0, 0])), (0.0, 0.0));
        assert_eq!((share(1, 4), share(0, 0)), (0.25, 0.0));
    }

    #[test]
    fn a_figure_without_a_bound_is_not_judged() {
        let verdicts = [
            Row::figure("a", "1".into()),
            Row::judged("b", "1".into(), "<= 2".into(), true),
            Row::judged("c", "3".into(), "<= 2".into(), false),
        ];
        assert_eq!(verdicts.map(|row| row.verdict()), ["", "met", "NOT MET"]);
    }
}
