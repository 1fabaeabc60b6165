//! What a source of candidates is.

use crate::graph::{Follows, Graph};
use crate::shelf::Slot;

/// A group of authors whose posts are candidates.
#[derive(Debug)]
pub(crate) struct Source {
    /// Names it in the cache.
    pub(crate) tag: u8,
    /// How many posts of each author are candidates, the newest.
    pub(crate) newest: usize,
    /// For a source that only hints at relevance: whose newest follows must be in the memory before `authors` is
    /// called. The result of `authors` is remembered for a while. `None`: it is called every time, and needs only the
    /// user's own follows.
    pub(crate) hints: Option<fn(&Follows) -> &[Slot]>,
    /// Adds the authors for a user and their follows.
    pub(crate) authors: fn(&Graph, Slot, &Follows, &mut Vec<Slot>),
}
