//! Authors whom several of the user's newest follows have recently followed.

use std::cmp::Reverse;

use super::source::Source;
use crate::graph::{Follows, Graph};
use crate::shelf::Slot;

/// How many of the user's follows must follow an author.
const PATHS: usize = 2;
/// The most authors.
const AUTHORS: usize = 8;

pub(super) const SOURCE: Source =
    Source { tag: 3, newest: 2, hints: Some(|follows| &follows.newest), authors };

fn authors(graph: &Graph, user: Slot, mine: &Follows, authors: &mut Vec<Slot>) {
    let followed = mine.all.as_deref().unwrap_or_default();
    let theirs = mine.newest.iter().filter_map(|friend| graph.follows(*friend));
    let mut reached: Vec<Slot> = theirs.flat_map(|follows| follows.newest.iter().copied()).collect();
    reached.sort_unstable();
    let known = |author: Slot| author == user || followed.binary_search(&author).is_ok();
    let paths = reached.chunk_by(|a, b| a == b).filter(|paths| paths.len() >= PATHS && !known(paths[0]));
    let mut often: Vec<(Reverse<usize>, &str, Slot)> =
        paths.map(|paths| (Reverse(paths.len()), graph.name(paths[0]).as_str(), paths[0])).collect();
    often.sort_unstable();
    authors.extend(often.into_iter().take(AUTHORS).map(|(_, _, author)| author));
}
