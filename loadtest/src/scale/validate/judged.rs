//! Rates as they were predicted and measured, as a table and for a file.

use serde_json::{Value, json};

use super::course::{Course, Measured, Phase};
use super::predict::Calibration;

/// One rate, predicted and measured.
pub(super) struct Judged {
    pub(super) phase: Phase,
    pub(super) calibration: Calibration,
    pub(super) predicted: Course,
    /// The same prediction with the service time of this run itself: its error is that of the model, without that of
    /// the machine.
    pub(super) hindsight: Course,
    pub(super) measured: Measured,
}

/// The error of a prediction in percent.
fn off(predicted: f64, measured: f64) -> f64 {
    if measured > 0.0 { 100.0 * (predicted / measured - 1.0) } else { 0.0 }
}

/// What is compared: name, unit, digits, and the figure.
type Row = (&'static str, usize, fn(&Course) -> f64);
/// A drain is reported where the backlog exceeded this many messages.
const BACKLOG: f64 = 100.0;
const ROWS: [Row; 5] = [
    ("depth, mean", 1, |course| course.mean_depth),
    ("depth, most", 0, |course| course.most),
    ("p50, ms", 2, |course| course.p50 * 1e3),
    ("p99, ms", 2, |course| course.p99 * 1e3),
    ("drained, s", 1, |course| course.drained),
];

/// A table for people.
pub(super) fn text(judged: &[Judged]) -> String {
    let mut lines = vec![format!(
        "    {:<12} {:>10} {:>10} {:>8}   {:>22} {:>8}",
        "", "predicted", "measured", "off", "by its own service time", "off"
    )];
    for Judged { phase, calibration, predicted, hindsight, measured } in judged {
        lines.push(format!(
            "{} ({}, then {:.3} ms)",
            phase.name(),
            calibration.line(),
            measured.service.0 * 1e3
        ));
        let rows = if measured.course.most.max(predicted.most) > BACKLOG {
            &ROWS[..]
        } else {
            &ROWS[..ROWS.len() - 1]
        };
        for (name, digits, of) in rows {
            let [a, b, c] = [predicted, &measured.course, hindsight].map(of);
            lines.push(format!(
                "    {name:<12} {a:>10.digits$} {b:>10.digits$} {:>7.0}%   {c:>22.digits$} {:>7.0}%",
                off(a, b),
                off(c, b)
            ));
        }
    }
    lines.join("\n") + "\n"
}

/// Figures for a file, of messages of a type, calibrated at a rate.
pub(super) fn figures(message_type: &str, rate: u32, judged: &[Judged]) -> Value {
    let phase = |judged: &Judged| {
        json!({
            "rate": judged.phase.rate, "seconds": judged.phase.seconds, "pause": judged.phase.pause,
            "calibration": judged.calibration, "service_s": judged.measured.service.0, "variation": judged.measured.service.1,
            "predicted": &judged.predicted, "measured": &judged.measured.course, "hindsight": &judged.hindsight,
        })
    };
    json!({
        "type": message_type, "calibrated_at": rate,
        "phases": judged.iter().map(phase).collect::<Vec<_>>(),
    })
}
