//! The newest posts of many author lists: what a chronological timeline is made of.
//!
//! No heap, and no list is read that has nothing to give. The lists' counts are added up, which tells the latest of the set times that
//! enough posts are newer than; then just those posts are taken, as each list's count says how many they are, and sorted.
//! `cargo bench -p soundoff-timeline --bench precompute` measures it.

use std::cmp::Reverse;

use ulid::Ulid;

use crate::shelf::{BANDS, Listed, Shelf, Slot};

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
    /// A post as a number that is smaller the newer it is: its time inverted, its author's index, its position in the author's list.
    keys: Vec<u64>,
    /// Of two readers in turn: one is read while the other is found.
    found: [Found; 2],
    picks: Vec<Pick>,
}

/// The posts of one reader, not yet read.
#[derive(Debug, Default)]
struct Found {
    authors: Vec<u16>,
    places: Vec<u32>,
}

fn key(tick: u32, author: usize, position: usize) -> u64 {
    u64::from(!tick) << 32 | (author as u64) << 8 | position as u64
}

/// The part of a key that tells the time.
fn tick(key: u64) -> u64 {
    key >> 32
}

/// The author's index and the position in their list.
#[expect(clippy::cast_possible_truncation, reason = "each is cut out where `key` put it")]
fn parts(key: u64) -> (u16, u8) {
    ((key >> 8) as u16, key as u8)
}

/// For each of some readers the newest `limit` posts of the authors that they read, newest first: `done` is given the reader's index
/// and the posts, reader after reader. No author may be named twice by one reader.
///
/// Nearly all the time of a merge is waiting for memory, so it is asked in advance: for the heads of the next reader's lists before
/// this one's are looked at, and for this one's posts, which are read after the next one's have been found.
///
/// # Panics
/// When a reader has more than 65,536 authors.
pub fn newest(
    shelf: &Shelf,
    readers: &[&[Slot]],
    limit: usize,
    scratch: &mut Scratch,
    mut done: impl FnMut(usize, &[Pick]),
) {
    let Scratch { keys, found: [found, before], picks } = scratch;
    for (reader, authors) in readers.iter().enumerate() {
        if let Some(next) = readers.get(reader + 1) {
            shelf.prefetch_heads(next);
        }
        find(shelf, authors, limit, keys, found);
        if let Some(reader) = reader.checked_sub(1) {
            done(reader, read(shelf, before, picks));
        }
        std::mem::swap(found, before);
    }
    if let Some(last) = readers.len().checked_sub(1) {
        done(last, read(shelf, before, picks));
    }
}

/// Finds where a reader's newest posts lie, and asks memory for them.
fn find(shelf: &Shelf, authors: &[Slot], limit: usize, keys: &mut Vec<u64>, found: &mut Found) {
    assert!(authors.len() <= 1 << 16, "{} authors", authors.len());
    let band = band(shelf, authors, limit);
    let taken = shelf.keys(authors, band, key, keys);
    let mut keys = &mut keys[..taken];
    if keys.len() > 2 * limit && limit > 0 {
        // The times are set too far apart for these authors: most of what was taken is not wanted, and need not be sorted. What was
        // made in the same tick as the last that is wanted may be.
        let (_, last, after) = keys.select_nth_unstable(limit - 1);
        let last = tick(*last);
        let same = after.iter().filter(|key| tick(**key) == last).count();
        keys.select_nth_unstable(limit - 1 + same);
        keys = &mut keys[..limit + same];
    }
    keys.sort_unstable();
    let place = |key: u64| {
        let (author, position) = parts(key);
        shelf.place_of(authors[usize::from(author)], position)
    };
    tell_apart(keys, |key| shelf.at(place(key)).id);
    let keys = &keys[..limit.min(keys.len())];
    found.authors.clear();
    found.authors.extend(keys.iter().map(|key| parts(*key).0));
    found.places.clear();
    found.places.extend(keys.iter().map(|key| place(*key)));
    shelf.prefetch_posts(&found.places);
}

fn read<'p>(shelf: &Shelf, found: &Found, picks: &'p mut Vec<Pick>) -> &'p [Pick] {
    picks.clear();
    let places = found.authors.iter().zip(&found.places);
    picks.extend(places.map(|(author, place)| Pick { author: *author, post: shelf.at(*place) }));
    picks
}

/// The latest set time that at least `limit` posts are as new as; the last one when there are fewer.
fn band(shelf: &Shelf, authors: &[Slot], limit: usize) -> usize {
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    shelf.sums(authors).iter().position(|sum| *sum >= limit).unwrap_or(BANDS - 1)
}

/// Puts posts of one tick in the order of their ids, newest first.
fn tell_apart(keys: &mut [u64], id: impl Fn(u64) -> Ulid) {
    if keys.windows(2).all(|pair| tick(pair[0]) != tick(pair[1])) {
        return;
    }
    for run in keys.chunk_by_mut(|a, b| tick(*a) == tick(*b)).filter(|run| run.len() > 1) {
        run.sort_unstable_by_key(|key| Reverse(id(*key)));
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::shelf::MAX_LISTED;

    const NOW: u64 = 1_790_000_000_000;

    /// Posts of the last `ms` milliseconds, so that many share a tick when it is short.
    fn list(random: &mut StdRng, ms: u64) -> Vec<Listed> {
        let count = if random.random_bool(0.3) { 0 } else { random.random_range(0..=MAX_LISTED) };
        let id = |random: &mut StdRng| Ulid::from_parts(NOW - random.random_range(0..ms), random.random());
        let mut posts: Vec<Listed> =
            (0..count).map(|n| Listed { id: id(random), engagement: n as u32 }).collect();
        posts.sort_unstable_by_key(|post| Reverse(post.id));
        posts.dedup_by_key(|post| post.id);
        posts
    }

    /// One reader's, merged between two others'.
    fn one(shelf: &Shelf, authors: &[Slot], limit: usize, scratch: &mut Scratch) -> Vec<Pick> {
        let (mut merged, mut order) = (Vec::new(), Vec::new());
        let half = &authors[authors.len() / 2..];
        newest(shelf, &[half, authors, &[]], limit, scratch, |reader, picks| {
            order.push(reader);
            if reader == 1 {
                merged = picks.to_vec();
            }
        });
        assert_eq!(order, [0, 1, 2]);
        merged
    }

    #[test]
    fn what_is_merged_is_what_sorting_everything_gives() {
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
    fn thousands_of_busy_authors_and_ones_without_a_list_are_merged_too() {
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
