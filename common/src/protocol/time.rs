use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

use crate::lock::lock;

/// How far apart the clocks of two processes of a deployment may be, in milliseconds: everything works up to that.
///
/// A remembered time that lies further ahead than this tells of a clock that was wrong. What it would permit is not
/// permitted, and what it would forbid is not forbidden: nobody waits for a year that was never there.
pub const CLOCKS_APART_MS: u64 = 60_000;

/// Whether a remembered time is so far ahead of `now` that the clock was wrong then, or is now. Both in milliseconds.
#[must_use]
pub fn is_ahead(remembered_ms: u64, now_ms: u64) -> bool {
    remembered_ms > now_ms.saturating_add(CLOCKS_APART_MS)
}

/// Now, in milliseconds since 1970. Code calls this where a request enters; inner functions take the time as a value.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// Now, in milliseconds since 1970, by a time that never goes back within this process, also when the wall clock is set
/// back. For what was read before something else.
#[must_use]
pub fn steady_ms() -> u64 {
    static LAST: Mutex<Option<(u64, Instant)>> = Mutex::new(None);
    let (wall, now) = (now_ms(), Instant::now());
    let mut last = lock(&LAST);
    let steadily = last.map_or(0, |(at, since)| at + millis(now.saturating_duration_since(since)));
    if wall >= steadily {
        // Whole milliseconds are carried on from here, so that no fractions are lost.
        *last = Some((wall, now));
    }
    wall.max(steadily)
}

/// RFC 3339 UTC with milliseconds, such as `2026-11-22T10:00:00.000Z`. Times past the year 9999 are cut to 1970.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A duration in whole milliseconds; `u64::MAX` for what is longer.
#[must_use]
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
