//! Where candidates come from. A new source is a file here and a line in [`SOURCES`].

mod follows;
mod friends_of_friends;
mod own;

use crate::graph::{Follows, Graph};
use crate::shelf::Slot;

/// A group of authors whose posts are candidates.
#[derive(Debug)]
pub(crate) struct Source {
    /// Names it in the cache.
    pub(crate) tag: u8,
    /// How many posts of each author are candidates, the newest.
    pub(crate) newest: usize,
    /// For one that only hints at relevance: whose newest follows must be known before `authors` is asked. What it answers is
    /// remembered for a while. `None`: it is asked every time, and needs nobody's follows but the user's own.
    pub(crate) hints: Option<fn(&Follows) -> &[Slot]>,
    /// Adds the authors for a user and their follows.
    pub(crate) authors: fn(&Graph, Slot, &Follows, &mut Vec<Slot>),
}

/// All sources. An author whom several name counts for the first.
pub(crate) const SOURCES: [Source; 3] = [follows::SOURCE, own::SOURCE, friends_of_friends::SOURCE];

/// The tags of authors whom the user follows, and of the user.
pub(crate) const FOLLOWED: u8 = follows::SOURCE.tag;
pub(crate) const OWN: u8 = own::SOURCE.tag;
