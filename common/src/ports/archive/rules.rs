//! What every adapter checks of a record, and how it writes one.

use chrono::{DateTime, Datelike, Utc};

use super::Record;
use crate::ports::Unavailable;

const MAX_TYPE_BYTES: usize = 100;

/// The type becomes a directory's name, so it must not be able to name another.
#[must_use]
pub fn is_type(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.');
    (1..=MAX_TYPE_BYTES).contains(&name.len()) && name.bytes().all(valid)
}

/// The time by which a record is filed, in UTC, if its type and time are valid.
///
/// # Errors
/// When its type or time could name another place.
pub fn time(record: &Record) -> Result<DateTime<Utc>, Unavailable> {
    if !is_type(&record.message_type) {
        return Err(Unavailable(format!("not a message type to archive: {:?}", record.message_type)));
    }
    DateTime::parse_from_rfc3339(&record.ts)
        .map(|ts| ts.with_timezone(&Utc))
        .ok()
        .filter(|ts| (1970..=9999).contains(&ts.year()))
        .ok_or_else(|| Unavailable(format!("not a time to archive by: {:?}", record.ts)))
}

/// Appends a record as one line, its newline included.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn write_line(record: &Record, bytes: &mut Vec<u8>) -> Result<(), Unavailable> {
    serde_json::to_writer(&mut *bytes, record)
        .map_err(|e| Unavailable(format!("a record is not writable: {e}")))?;
    // A body keeps its client's layout, and may have several lines. JSON has no raw line break inside a text, so every
    // line break is between tokens and means nothing.
    if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        bytes.retain(|b| !matches!(b, b'\n' | b'\r'));
    }
    bytes.push(b'\n');
    Ok(())
}
