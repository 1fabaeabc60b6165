//! The newest posts of many author lists: a chronological timeline.
//!
//! It needs no heap, and reads no list that has nothing to give. It adds up the lists' counts to find the latest set
//! time that enough posts are newer than. Then it takes just those posts, whose number in each list is that list's
//! count, and sorts them. `cargo bench -p soundoff-timeline --bench precompute` measures it.

use ulid::Ulid;

use crate::radix::{self, ROOM, Table};
use crate::shelf::{BANDS, Listed, MAX_LISTED, Room, Shelf, Slot};

/// One post of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Index into the authors that were merged.
    pub author: u16,
    /// The post.
    pub post: Listed,
}

/// What merging needs, reusable.
#[derive(Debug, Default)]
pub struct Scratch {
    room: Room,
    table: Table,
    /// The keys of posts when the table has no room for them.
    many: Vec<u64>,
    /// The posts of two readers in turn: those of one are read while those of the other are found.
    found: [Found; 2],
}

/// The posts of one reader, not yet read: each one's author's index, and its place.
type Found = Vec<(u16, u32)>;

/// One reader's newest posts, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Picks<'m> {
    shelf: &'m Shelf,
    found: &'m [(u16, u32)],
}

impl<'m> Picks<'m> {
    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.found.is_empty()
    }

    /// Reads them.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Pick> + use<'m> {
        let Self { shelf, found } = self;
        found.iter().map(|(author, place)| Pick { author: *author, post: shelf.at(*place) })
    }
}

/// The half of a key that says a post's age: smaller when it is newer. The other half is its position among the
/// candidates.
fn age(key: u64) -> u64 {
    key >> 32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn at(key: u64) -> u32 {
    key as u32
}

/// Finds the newest `limit` posts of the authors of each reader: calls `done` with the reader's index and the posts,
/// reader after reader. A reader must not name an author twice.
///
/// A merge waits for memory nearly all the time. So memory is prefetched: the heads of the next reader's lists before
/// this reader's heads are read, and this reader's posts, which are read after the next reader's posts have been found.
///
/// # Panics
/// When a reader has more than 65,536 authors.
pub fn newest(
    shelf: &Shelf,
    readers: &[&[Slot]],
    limit: usize,
    scratch: &mut Scratch,
    mut done: impl FnMut(usize, Picks<'_>),
) {
    for (reader, authors) in readers.iter().enumerate() {
        if let Some(next) = readers.get(reader + 1) {
            shelf.prefetch_heads(next);
        }
        find(shelf, authors, limit, scratch);
        let [found, before] = &mut scratch.found;
        if let Some(reader) = reader.checked_sub(1) {
            done(reader, Picks { shelf, found: before });
        }
        std::mem::swap(found, before);
    }
    if let Some(last) = readers.len().checked_sub(1) {
        done(last, Picks { shelf, found: &scratch.found[1] });
    }
}

/// Finds the places of a reader's newest posts, and prefetches them.
fn find(shelf: &Shelf, authors: &[Slot], limit: usize, scratch: &mut Scratch) {
    assert!(authors.len() <= 1 << 16, "{} authors", authors.len());
    let Scratch { room, table, many, found: [found, _] } = scratch;
    let (band, most) = band(shelf, authors, limit);
    let candidates = shelf.candidates(authors, band, most, room);
    let id = |key: u64| shelf.at(candidates.place(at(key)).1).id;
    let keys = if candidates.ticks.len() < ROOM {
        sorted(candidates.ticks, table, id)
    } else {
        sorted_many(candidates.ticks, limit, many, id)
    };
    found.clear();
    found.extend(keys[..limit.min(keys.len())].iter().map(|key| candidates.place(at(*key))));
    shelf.prefetch_posts(found.iter().map(|(_, place)| *place));
}

/// The latest set time that at least `limit` posts are as new as, or the last one when there are fewer posts; and the
/// most posts that are as new as it.
fn band(shelf: &Shelf, authors: &[Slot], limit: usize) -> (usize, usize) {
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    let sums = shelf.sums(authors);
    let band = sums.iter().position(|sum| *sum >= limit).unwrap_or(BANDS - 1);
    let most = if sums[band] == u16::MAX { authors.len() * MAX_LISTED } else { usize::from(sums[band]) };
    (band, most)
}

/// The keys of posts made at these times, the newest first.
fn sorted<'t>(ticks: &[u32], table: &'t mut Table, id: impl Fn(u64) -> Ulid) -> &'t [u64] {
    let newest = ticks.iter().copied().max().unwrap_or(0);
    let oldest = ticks.iter().copied().min().unwrap_or(0);
    // Ages are shifted so that the largest one fills the key from its highest bit on: the table sorts by the highest
    // bits.
    let shift = 32 + (newest - oldest).leading_zeros();
    let key = |(at, tick): (usize, &u32)| u64::from(newest - *tick) << (shift & 63) | at as u64;
    let bits = |key: u64| key >> (u64::BITS - radix::BITS);
    let keys = table.sort(ticks.iter().enumerate().map(key), bits);
    order_equals(keys, bits, id);
    keys
}

/// The same for posts that the table has no room for. Only the newest `limit` of them need be sorted.
fn sorted_many<'m>(
    ticks: &[u32],
    limit: usize,
    many: &'m mut Vec<u64>,
    id: impl Fn(u64) -> Ulid,
) -> &'m [u64] {
    many.clear();
    many.extend((0..).zip(ticks).map(|(at, tick): (u32, &u32)| u64::from(!tick) << 32 | u64::from(at)));
    let mut keys = &mut many[..];
    if keys.len() > 2 * limit && limit > 0 {
        // The set times are too far apart for these authors: most candidates are not wanted and need not be sorted,
        // except those that were made in the same tick as the last wanted one.
        let (_, last, after) = keys.select_nth_unstable(limit - 1);
        let last = age(*last);
        let same = after.iter().filter(|key| age(**key) == last).count();
        keys.select_nth_unstable(limit - 1 + same);
        keys = &mut keys[..limit + same];
    }
    keys.sort_unstable();
    order_equals(keys, age, id);
    keys
}

/// Sorts posts, newest first, which are sorted already except for those of the same `bits`. Posts of one tick are
/// ordered by their ids.
fn order_equals(keys: &mut [u64], bits: impl Fn(u64) -> u64, id: impl Fn(u64) -> Ulid) {
    if keys.is_sorted_by(|a, b| age(*a) < age(*b)) {
        return;
    }
    for run in keys.chunk_by_mut(|a, b| bits(*a) == bits(*b)).filter(|run| run.len() > 1) {
        run.sort_unstable_by(|a, b| age(*a).cmp(&age(*b)).then_with(|| id(*b).cmp(&id(*a))));
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    /// Posts of the last `ms` milliseconds: when that is short, many share a tick.
    fn list(random: &mut StdRng, ms: u64) -> Vec<Listed> {
        let count = if random.random_bool(0.3) { 0 } else { random.random_range(0..=MAX_LISTED) };
        let id = |random: &mut StdRng| Ulid::from_parts(NOW - random.random_range(0..ms), random.random());
        let mut posts: Vec<Listed> =
            (0..count).map(|n| Listed { id: id(random), engagement: n as u32 }).collect();
        posts.sort_unstable_by_key(|post| Reverse(post.id));
        posts.dedup_by_key(|post| post.id);
        posts
    }

    /// One reader's posts, merged between two other readers.
    fn one(shelf: &Shelf, authors: &[Slot], limit: usize, scratch: &mut Scratch) -> Vec<Pick> {
        let (mut merged, mut order) = (Vec::new(), Vec::new());
        let half = &authors[authors.len() / 2..];
        newest(shelf, &[half, authors, &[]], limit, scratch, |reader, picks| {
            order.push(reader);
            if reader == 1 {
                merged = picks.iter().collect();
            }
        });
        assert_eq!(order, [0, 1, 2]);
        merged
    }

    #[test]
    fn a_merge_gives_what_sorting_everything_gives() {
        let mut random = StdRng::seed_from_u64(2);
        let mut scratch = Scratch::default();
        for round in 0..3_000 {
            let span = [1, 300, 60_000, 86_400_000, 1 << 40][round % 5];
            let mut shelf = Shelf::default();
            if round % 3 > 0 {
                shelf.calibrate(NOW - [0, 3_600_000][round % 2]);
            }
            let authors: Vec<Slot> = (0..random.random_range(0..30)).map(|n| 3 * n).collect();
            let lists: Vec<Vec<Listed>> = authors.iter().map(|_| list(&mut random, span)).collect();
            for (slot, list) in authors.iter().zip(&lists) {
                shelf.put(*slot, list);
            }
            if round % 7 == 0 {
                shelf.calibrate(NOW);
            }
            let mut expected: Vec<Listed> = lists.iter().flatten().copied().collect();
            expected.sort_by_key(|post| Reverse(post.id));
            let limit = [0, 1, 20, 100, 1_000, 70_000][random.random_range(0..6)];
            expected.truncate(limit);
            let picks = one(&shelf, &authors, limit, &mut scratch);
            let found: Vec<Listed> = picks.iter().map(|pick| pick.post).collect();
            assert!(picks.iter().all(|pick| lists[usize::from(pick.author)].contains(&pick.post)));
            assert_eq!(found, expected, "round {round}: {} authors, limit {limit}", authors.len());
        }
    }

    #[test]
    fn thousands_of_busy_authors_and_authors_without_a_list_are_merged() {
        let mut shelf = Shelf::default();
        let authors: Vec<Slot> = (0..2_000).collect();
        for slot in 0..1_500_u32 {
            let id = |n: u64| Ulid::from_parts(NOW - 7 * n, u128::from(slot));
            let posts: Vec<Listed> = (0..100).map(|n| Listed { id: id(n), engagement: 0 }).collect();
            shelf.put(slot, &posts);
        }
        shelf.calibrate(NOW);
        let mut scratch = Scratch::default();
        let picks = one(&shelf, &authors, 100, &mut scratch);
        assert!(picks.iter().map(|pick| pick.author).eq((1_400..1_500).rev()));
        assert!(picks.iter().all(|pick| shelf.get(u32::from(pick.author), 0) == Some(pick.post)));
    }
}
