//! Whom the user follows.

use super::Source;
use crate::shelf::MAX_LISTED;

/// The most follows that are looked at, by number: nobody reads more authors than that.
const MOST: usize = 16_000;

pub(super) const SOURCE: Source = Source {
    tag: 1,
    newest: MAX_LISTED,
    hints: None,
    authors: |_, _, follows, authors| {
        authors.extend(follows.all.as_deref().unwrap_or_default().iter().take(MOST));
    },
};
