//! Whom the user follows.

use super::source::Source;
use crate::shelf::MAX_LISTED;

/// The most follows that count: nobody reads more authors.
const MOST: usize = 16_000;

pub(super) const SOURCE: Source = Source {
    tag: 1,
    newest: MAX_LISTED,
    hints: None,
    authors: |_, _, follows, authors| {
        authors.extend(follows.all.as_deref().unwrap_or_default().iter().take(MOST));
    },
};
