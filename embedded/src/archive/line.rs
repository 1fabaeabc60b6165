//! One record as one line of a part file: `TYPE DT HOUR JSON`, so that a roll sorts without parsing the JSON.

use std::io::Write as _;

use chrono::{Datelike as _, Timelike as _};
use serde::de::IgnoredAny;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Record, rules};

/// A line with its newline, and how many bytes of its start name the file that it belongs to.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    group: usize,
}

impl Line {
    /// `TYPE DT HOUR`: lines of one group share a file.
    pub(super) fn group(&self) -> &[u8] {
        &self.bytes[..self.group]
    }
}

pub(super) fn encode(record: &Record) -> Result<Line, Unavailable> {
    let ts = rules::time(record)?;
    let mut bytes = Vec::with_capacity(512);
    let (year, month, day, hour) = (ts.year(), ts.month(), ts.day(), ts.hour());
    let written = write!(bytes, "{} {year:04}-{month:02}-{day:02} {hour:02}", record.message_type);
    written.expect("writing to memory does not fail");
    let group = bytes.len();
    bytes.push(b' ');
    rules::write_line(record, &mut bytes)?;
    Ok(Line { bytes, group })
}

/// A line of a part, parsed for a roll.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) message_type: &'a str,
    pub(super) dt: &'a str,
    pub(super) hour: &'a str,
    /// With its newline.
    pub(super) json: &'a [u8],
}

impl Parsed<'_> {
    /// The directory of its file.
    pub(super) fn dir(&self) -> String {
        format!("type={}/dt={}/hour={}", self.message_type, self.dt, self.hour)
    }
}

/// Parses a line; `None` for one that was never completely written.
pub(super) fn parse(line: &[u8]) -> Option<Parsed<'_>> {
    let mut words = line.strip_suffix(b"\n")?.splitn(4, |b| *b == b' ');
    let mut word = || words.next().and_then(|w| std::str::from_utf8(w).ok());
    let (message_type, dt, hour) = (word()?, word()?, word()?);
    let json = words.next()?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let valid =
        rules::is_type(message_type) && dt.len() == 10 && hour.len() == 2 && digits(dt) && digits(hour);
    // The whole line, not only its ends: a line that a crash cut short may hold blocks of anything.
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    valid.then(|| Parsed { message_type, dt, hour, json: &line[line.len() - json.len() - 1..] })
}
