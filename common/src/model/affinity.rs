//! How often a user turned to an author: small counters by week. Workers add to them, the ranking reads them.
//!
//! A row counts one author's week. Additions commute and read nothing. The reader applies the decay, and rows expire by
//! themselves.

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Change, EXPIRES, Key, Query, Table, Write};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a week's row: `n` counts points.
    pub mod attribute {
        N = "n",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "affinity",
    table: Table::Relationships,
    pk: "affinity#<from>",
    sk: "<week>#<to>",
    attributes: attribute::ALL,
    of: Of::Two,
    summary: "How much one user turned to another in one week: first likes 1, comments 2, direct messages 2. It is removed after nine weeks.",
}];

/// How many weeks count, the present one included. By then a count has decayed to an eleventh.
pub const WEEKS: u64 = 8;
/// The half-life of a count, in weeks.
pub const HALF_LIFE_WEEKS: f64 = 2.0;

const WEEK_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// What a user did that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Liked a post of theirs for the first time.
    Like,
    /// Commented on a post of theirs.
    Comment,
    /// Wrote to them.
    Message,
}

impl Deed {
    /// How many points it counts.
    #[must_use]
    pub fn points(self) -> i64 {
        match self {
            Deed::Like => 1,
            Deed::Comment | Deed::Message => 2,
        }
    }
}

/// The week of a time, counted from 1970.
#[must_use]
pub fn week(at_ms: u64) -> u64 {
    at_ms / WEEK_MS
}

fn partition(user: &Handle) -> String {
    format!("affinity#{user}")
}

/// The key of the row that counts a week of `user` towards `author`.
fn key(user: &Handle, week: u64, author: &Handle) -> Key {
    Key::new(partition(user), format!("{week:05}#{author}"))
}

/// The write that counts a deed of `user` towards `author`.
#[must_use]
pub fn count(user: &Handle, author: &Handle, deed: Deed, at_ms: u64) -> Write {
    let week = week(at_ms);
    let expires = (week + WEEKS + 1) * WEEK_MS / 1000;
    let changes = vec![Change::Add(attribute::N, deed.points()), Change::Set(EXPIRES, expires.into())];
    Write::update(Table::Relationships, key(user, week, author), changes)
}

/// The rows of a user that still count, oldest week first, at most `limit`.
#[must_use]
pub fn query(user: &Handle, now_ms: u64, limit: usize) -> Query {
    let oldest = (week(now_ms) + 1).saturating_sub(WEEKS);
    Query::prefix(Table::Relationships, partition(user), "", limit)
        .newest_first()
        .above(format!("{oldest:05}"))
}

/// Week and author of a row's `sk`.
#[must_use]
pub fn split(sk: &str) -> Option<(u64, Handle)> {
    let (week, author) = sk.split_once('#')?;
    Some((week.parse().ok()?, author.parse().ok()?))
}

/// What points of a past week are worth now, in hundredths of a point.
#[must_use]
pub fn worth(points: u64, weeks_ago: u64) -> u32 {
    #[expect(clippy::cast_precision_loss, reason = "points are few and weeks are under ten")]
    let worth = 100.0 * points as f64 * (-(weeks_ago as f64) / HALF_LIFE_WEEKS).exp2();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is never negative"
    )]
    let hundredths = worth.round() as u32;
    hundredths
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    #[test]
    fn eight_weeks_count_the_present_one_included() {
        let now = 100 * WEEK_MS + WEEK_MS / 2;
        let (Bound::Excluded(above) | Bound::Included(above)) = query(&"ann".parse().unwrap(), now, 7).from
        else {
            panic!("all weeks there are");
        };
        let counts = |week: u64| format!("{week:05}#bob") > above;
        assert!(counts(100) && counts(93) && !counts(92), "{above}");
        let halves = [0, 1, 2, 4, 7].map(|weeks_ago| worth(100, weeks_ago));
        assert_eq!(halves, [10_000, 7_071, 5_000, 2_500, 884]);
        assert_eq!(worth(u64::MAX, 0), u32::MAX);
    }

    #[test]
    fn a_deed_is_found_where_it_was_counted() {
        let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        for (deed, points) in [(Deed::Like, 1), (Deed::Comment, 2), (Deed::Message, 2)] {
            let write = count(&ann, &bob, deed, 100 * WEEK_MS);
            assert_eq!(write.key.pk, query(&ann, 0, 1).pk);
            assert_eq!(split(&write.key.sk), Some((100, bob.clone())));
            assert_eq!(deed.points(), points);
        }
    }
}
