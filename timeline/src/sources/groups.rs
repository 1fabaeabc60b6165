//! The groups that the user is in. Each is one more author.

use super::source::Source;
use crate::shelf::MAX_LISTED;

pub(super) const SOURCE: Source = Source {
    tag: 4,
    newest: MAX_LISTED,
    hints: None,
    authors: |_, _, follows, authors| authors.extend_from_slice(&follows.groups),
};
