//! The share of a user in the check of pictures: whose turn it is, and how many pixels an hour.
//!
//! Both are items in the tables, so they hold over all processes. A turn is a row that is written and removed in the
//! transactions that begin and end the state `Checking`: there is no count that could leak.

use serde_json::json;
use ulid::Ulid;

use crate::ports::tables::{Change, Condition, Item, Key, Query, Table, Write};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a user's pixels.
    pub mod pixels {
        UNTIL = "until",
    }
}

/// How many pictures of one user are checked, or wait on the check's queue, at once. Others wait for their turn.
pub const AT_ONCE: usize = 4;
/// How many pixels of one user are checked in an hour: eighty photographs of 12 million.
pub const PIXELS_PER_HOUR: u64 = 1_000_000_000;
/// So many must be left for a new upload to begin: those of the largest picture.
pub const PIXELS_LEFT: u64 = 40_000_000;

const HOUR_MS: u64 = 3_600_000;

/// The key of the row that says since when (milliseconds since 1970) a medium is to be checked. Rows of a user are in
/// that order, and the first [`AT_ONCE`] have their turn.
#[must_use]
pub fn turn_key(owner: &Handle, since: u64, id: Ulid) -> Key {
    Key::new(partition(owner), format!("{since:015}#{id}"))
}

fn partition(owner: &Handle) -> String {
    format!("media-turns#{owner}")
}

/// The media of a user that have their turn.
#[must_use]
pub fn turns(owner: &Handle) -> Query {
    Query::prefix(Table::Entities, partition(owner), "", AT_ONCE)
}

/// Those that come before a medium. When there are [`AT_ONCE`] of them, it must wait.
#[must_use]
pub fn turns_before(owner: &Handle, since: u64, id: Ulid) -> Query {
    turns(owner).below(turn_key(owner, since, id).sk)
}

/// The medium that a row is about, and since when.
#[must_use]
pub fn turn_of(sk: &str) -> Option<(Ulid, u64)> {
    let (since, id) = sk.split_once('#')?;
    Some((crate::model::ids::parse(id)?, since.parse().ok()?))
}

/// The key of the pixels of a user in [`Table::Entities`].
#[must_use]
pub fn pixels_key(owner: &Handle) -> Key {
    Key::new(format!("media-count#{owner}"), "pixels")
}

/// How long to wait, in milliseconds, until so many pixels may be checked. 0: not at all. `counted` is what was read at
/// [`pixels_key`], `now` in milliseconds since 1970.
#[must_use]
pub fn wait_for_pixels(pixels: u64, now: u64, counted: Option<&Item>) -> u64 {
    filled_until(pixels, now, counted).saturating_sub(now + HOUR_MS)
}

/// The write that counts pixels, under the condition that the count is as read.
#[must_use]
pub fn count_pixels(owner: &Handle, pixels: u64, now: u64, counted: Option<&Item>) -> Write {
    let unchanged = match counted.and_then(|item| item.number(pixels::UNTIL)) {
        Some(until) => Condition::Equals(pixels::UNTIL, until.into()),
        None => Condition::Absent(pixels::UNTIL),
    };
    let until = Change::Set(pixels::UNTIL, json!(filled_until(pixels, now, counted)));
    Write::update(Table::Entities, pixels_key(owner), vec![until]).when(unchanged)
}

/// When all of the hour's pixels are there again after so many more: each is there again after its part of an hour. A
/// clock that was set back locks nobody out for longer than an hour.
fn filled_until(pixels: u64, now: u64, counted: Option<&Item>) -> u64 {
    let until = counted.and_then(|item| item.number(pixels::UNTIL)).unwrap_or(0);
    until.clamp(now, now + HOUR_MS) + (pixels * HOUR_MS).div_ceil(PIXELS_PER_HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const PHOTO: u64 = 12_000_000;

    fn after(pixels: u64, now: u64, counted: Option<&Item>) -> Item {
        Item::new().with(pixels::UNTIL, filled_until(pixels, now, counted))
    }

    #[test]
    fn an_hour_has_its_pixels_and_they_come_back() {
        let mut counted = None;
        let mut photos = 0;
        while wait_for_pixels(PHOTO, NOW, counted.as_ref()) == 0 {
            counted = Some(after(PHOTO, NOW, counted.as_ref()));
            photos += 1;
        }
        assert_eq!(photos, PIXELS_PER_HOUR / PHOTO);
        let wait = wait_for_pixels(PHOTO, NOW, counted.as_ref());
        assert!(wait > 0 && wait < HOUR_MS / photos, "{wait}");
        assert_eq!(wait_for_pixels(PHOTO, NOW + wait, counted.as_ref()), 0);
        assert_eq!(wait_for_pixels(PIXELS_PER_HOUR, NOW + HOUR_MS, counted.as_ref()), 0, "all after an hour");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let counted = after(PHOTO, NOW, None);
        let year_before = NOW - 365 * 24 * HOUR_MS;
        assert!(wait_for_pixels(PHOTO, year_before, Some(&counted)) <= HOUR_MS);
        let next = after(PHOTO, year_before, Some(&counted));
        assert_eq!(wait_for_pixels(PHOTO, year_before + HOUR_MS, Some(&next)), 0);
    }

    #[test]
    fn a_row_names_its_medium() {
        let (owner, id) = ("ann".parse().unwrap(), Ulid(7));
        assert_eq!(turn_of(&turn_key(&owner, 5, id).sk), Some((id, 5)));
    }
}
