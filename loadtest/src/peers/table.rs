//! Figures of the rounds, and the table made of them.

use std::fmt::Write as _;

use anyhow::Error;
use serde_json::{Value, json};
use soundoff_common::note;

use super::peer::Peer;
use super::trials::{Figure, Size, Trial};
use crate::report::grouped;

/// One figure of one server over the rounds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The row's name.
    pub(crate) row: &'static str,
    /// What the row is about.
    pub(crate) title: &'static str,
    /// The server's name, with its variant.
    pub(crate) who: String,
    ours: bool,
    /// Which figure, with its unit.
    pub(crate) figure: &'static str,
    /// By round.
    pub(crate) rounds: Vec<(u32, f64)>,
}

impl Line {
    /// Least, median and most.
    pub(crate) fn span(&self) -> (f64, f64, f64) {
        let mut all: Vec<f64> = self.rounds.iter().map(|(_, figure)| *figure).collect();
        all.sort_by(f64::total_cmp);
        (all[0], median(&all), all[all.len() - 1])
    }
}

/// Of sorted figures, at least one.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// What was measured, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    skipped: Vec<String>,
    failures: Vec<String>,
    /// What was measured, with its version.
    pub(crate) versions: Vec<String>,
}

impl Table {
    /// Adds a trial's figures.
    pub(crate) fn add(&mut self, trial: &Trial, round: u32, figures: Vec<Figure>) {
        let (row, who) = (trial.row(), trial.who());
        for (figure, value) in figures {
            let known = self.lines.iter_mut().find(|l| l.row == row && l.who == who && l.figure == figure);
            match known {
                Some(line) => line.rounds.push((round, value)),
                None => self.lines.push(Line {
                    row,
                    title: trial.title(),
                    who: who.clone(),
                    ours: trial.peer == Peer::Up,
                    figure,
                    rounds: vec![(round, value)],
                }),
            }
        }
    }

    /// Notes that a measurement has failed: this is printed at once, and again at the end.
    pub(crate) fn fail(&mut self, trial: &Trial, round: u32, error: &Error) {
        let text = format!("{} of {}, round {}: {error:#}", trial.row(), trial.who(), round + 1);
        note!("FAILED {text}");
        self.failures.push(text);
    }

    /// Notes that a peer cannot be installed.
    pub(crate) fn skip(&mut self, peer: Peer, error: &Error) {
        self.skipped.push(format!("{}: {error:#}", peer.name()));
    }

    /// Whether a measurement has failed.
    pub(crate) fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// All lines in the order of the rows. Lines of one figure of a row come together, with Sound Off first.
    pub(crate) fn lines(&self) -> Vec<&Line> {
        let place =
            |line: &Line| self.lines.iter().position(|l| l.row == line.row && l.figure == line.figure);
        let row = |line: &Line| self.lines.iter().position(|l| l.row == line.row);
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by_key(|line| (row(line), place(line), !line.ours));
        lines
    }

    /// The median over the rounds of Sound Off's figure divided by the peer's.
    fn ratios(&self, theirs: &Line) -> Vec<(&Line, f64)> {
        let same = |l: &&Line| l.ours && l.row == theirs.row && l.figure == theirs.figure;
        let ratio = |ours: &Line| {
            let of = |round| theirs.rounds.iter().find(|(other, _)| *other == round);
            let both = ours.rounds.iter().filter_map(|(round, our)| Some(our / of(*round)?.1));
            let mut all: Vec<f64> = both.filter(|ratio| ratio.is_finite()).collect();
            all.sort_by(f64::total_cmp);
            (!all.is_empty()).then(|| median(&all))
        };
        if theirs.ours {
            return Vec::new();
        }
        self.lines.iter().filter(same).filter_map(|ours| Some((ours, ratio(ours)?))).collect()
    }

    /// As Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text =
            String::from("| what | server | median | least–most | ours ÷ theirs |\n|---|---|---|---|---|\n");
        let mut before = ("", "");
        for line in self.lines() {
            let (least, middle, most) = line.span();
            let what = if before == (line.row, line.figure) {
                String::new()
            } else {
                format!("{}: {}", line.title, line.figure)
            };
            before = (line.row, line.figure);
            let ratios = self.ratios(line);
            let several = ratios.len() > 1;
            let told = ratios.iter().map(|(ours, ratio)| {
                let which =
                    ours.who.split_once(", ").filter(|_| several).map(|(_, which)| format!(" ({which})"));
                format!("{ratio:.2}{}", which.unwrap_or_default())
            });
            let told = told.collect::<Vec<_>>().join(" · ");
            let _ = writeln!(
                text,
                "| {what} | {} | {} | {}–{} | {told} |",
                line.who,
                number(middle),
                number(least),
                number(most)
            );
        }
        let _ = writeln!(text, "\n{}", self.versions.join(", "));
        for (what, list) in [("skipped", &self.skipped), ("FAILED", &self.failures)] {
            for one in list {
                let _ = writeln!(text, "\n{what}: {one}");
            }
        }
        text
    }

    /// As JSON, with every round's figures.
    pub(crate) fn json(&self, rounds: u32, size: Size) -> Value {
        let lines = self.lines().into_iter().map(|line| {
            let ratios = self.ratios(line);
            let ratios = ratios.iter().map(|(ours, ratio)| json!({ "ours": ours.who, "ratio": ratio }));
            let (least, median, most) = line.span();
            json!({
                "row": line.row, "title": line.title, "server": line.who, "figure": line.figure,
                "rounds": line.rounds.iter().map(|(_, figure)| figure).collect::<Vec<_>>(),
                "least": least, "median": median, "most": most, "ours_to_theirs": ratios.collect::<Vec<_>>(),
            })
        });
        json!({
            "rounds": rounds, "connections": size.connections, "seconds": size.seconds,
            "lines": lines.collect::<Vec<_>>(), "versions": self.versions, "skipped": self.skipped, "failed": self.failures,
        })
    }
}

/// A figure to about three digits.
pub(super) fn number(figure: f64) -> String {
    match figure.abs() {
        big if big >= 1000.0 => grouped(figure),
        middle if middle >= 100.0 => format!("{figure:.0}"),
        small if small >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::trials;
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round_and_ours_comes_first() {
        let all = trials();
        let of = |peer| all.iter().find(|trial| trial.row() == "deliver" && trial.peer == peer).unwrap();
        let mut table = Table::default();
        // The machine is slower in every round: the ratio of the medians would be 0.75.
        for (round, ours, theirs) in [(0, 2.0, 4.0), (1, 30.0, 40.0), (2, 200.0, 400.0)] {
            table.add(of(Peer::Bun), round, vec![("server µs", theirs)]);
            table.add(of(Peer::Up), round, vec![("server µs", ours)]);
        }
        let text = table.text();
        let ours = text.find("| Sound Off | 30.0 | 2.00–200 |  |").unwrap();
        let theirs = text.find("|  | Bun | 40.0 | 4.00–400 | 0.50 |").unwrap();
        assert!(ours < theirs, "{text}");
        assert!(!table.failed());
        table.fail(of(Peer::Bun), 2, &anyhow::anyhow!("a wrong answer"));
        assert!(table.failed() && table.text().contains("FAILED: deliver of Bun, round 3: a wrong answer"));
    }

    #[test]
    fn numbers_have_three_digits() {
        let told = [0.261, 9.999, 12.34, 123.4, 12_345.6, 1_234_567.0].map(number);
        assert_eq!(told, ["0.26", "10.00", "12.3", "123", "12,346", "1,234,567"]);
    }
}
