//! Ranking: scores, order, and no long runs of one author. Pure functions.

use std::collections::VecDeque;

use crate::radix::{self, ROOM, Table};
use crate::weights::{Parts, Scorer};

/// The most items in one ranking.
const MOST: usize = 1 << 14;

/// What ranking needs of an item.
#[derive(Debug, Clone, Copy)]
pub struct Rankable {
    /// When the post was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// A number for its author.
    pub author: u16,
    /// Its likes, and its comments twice.
    pub engagement: u32,
    /// How much the reader interacts with its author, in hundredths of a point.
    pub affinity: u32,
}

/// An item in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ranked {
    /// The item's index.
    pub index: u16,
    /// What its score is made of.
    pub parts: Parts,
}

/// What ranking needs, reusable.
#[derive(Debug, Default)]
pub struct RankScratch {
    /// By index.
    scored: Vec<Ranked>,
    /// Items as numbers: the better an item, the smaller its number. See [`key`].
    keys: Vec<u64>,
    table: Table,
    /// Items that wait until an item of another author has come, best first. All are from one author: see [`arrange`].
    waiting: VecDeque<u64>,
}

/// Ranks items, which are sorted newest first: by score, of equals the newer first, and at most `in_a_row` of one
/// author in a row while there is an item of another author. Posts' ages count as of `now_ms`.
///
/// # Panics
/// When there are more than 16,384 items.
pub fn rank(
    items: &[Rankable],
    now_ms: u64,
    scorer: &Scorer,
    in_a_row: usize,
    scratch: &mut RankScratch,
    out: &mut Vec<Ranked>,
) {
    assert!(items.len() <= MOST, "{} items", items.len());
    let RankScratch { scored, keys, table, waiting } = scratch;
    scored.resize(items.len(), Ranked::default());
    keys.resize(items.len(), 0);
    let mut best = 0;
    for (index, (item, (scored, as_key))) in (0..).zip(items.iter().zip(scored.iter_mut().zip(&mut *keys))) {
        let age_ms = now_ms.saturating_sub(item.created_ms);
        let parts = scorer.parts(age_ms, item.affinity, item.engagement);
        *scored = Ranked { index, parts };
        *as_key = key(parts.score(), index, item.author);
        best = best.max(parts.score());
    }
    let keys = if best >> radix::BITS == 0 && keys.len() < ROOM {
        table.sort(keys.iter().copied(), inverted_score)
    } else {
        keys.sort_unstable();
        keys
    };
    out.clear();
    out.reserve(items.len());
    arrange(keys, author, in_a_row, waiting, |keys| out.extend(keys.iter().map(|key| scored[index(*key)])));
}

/// An item as a number, which is smaller for a better item: its inverted score, its index, and, for [`arrange`], its
/// author.
fn key(score: u32, index: u16, author: u16) -> u64 {
    u64::from(!score) << 32 | u64::from(index) << 16 | u64::from(author)
}

fn inverted_score(key: u64) -> u64 {
    key >> 32
}

fn index(key: u64) -> usize {
    (key >> 16) as usize % (1 << 16)
}

#[expect(clippy::cast_possible_truncation, reason = "cut out where `key` put it")]
fn author(key: u64) -> u16 {
    key as u16
}

/// Takes items best first: each time the best item that makes no run of one author longer than `in_a_row`.
///
/// Only items of one author can wait at a time: they wait because their author's run is full, one item of another
/// author ends it, and then they come first again, because they are better than all that is left.
pub(crate) fn arrange<I: Copy>(
    mut ordered: &[I],
    author: impl Fn(I) -> u16,
    in_a_row: usize,
    waiting: &mut VecDeque<I>,
    mut take: impl FnMut(&[I]),
) {
    let mut run = Run { author: None, length: 0, most: in_a_row };
    loop {
        let (free, rest) = ordered.split_at(run.add_until_full(ordered, &author));
        take(free);
        if rest.is_empty() {
            break;
        }
        ordered = take_until_none_waits(rest, &author, &mut run, waiting, &mut take);
    }
    waiting.drain(..).for_each(|item| take(&[item]));
}

/// Takes items, of which the first must wait, until none waits any more; returns the rest. This is a function of its
/// own because most items never wait.
#[inline(never)]
fn take_until_none_waits<'i, I: Copy>(
    mut ordered: &'i [I],
    author: &impl Fn(I) -> u16,
    run: &mut Run,
    waiting: &mut VecDeque<I>,
    take: &mut impl FnMut(&[I]),
) -> &'i [I] {
    while let Some((item, rest)) = ordered.split_first() {
        ordered = rest;
        if run.is_full_for(author(*item)) {
            waiting.push_back(*item);
            continue;
        }
        run.add(author(*item));
        take(&[*item]);
        while let Some(first) = waiting.pop_front_if(|first| !run.is_full_for(author(*first))) {
            run.add(author(first));
            take(&[first]);
        }
        if waiting.is_empty() {
            break;
        }
    }
    ordered
}

/// The author of the last items, and how many they are.
struct Run {
    author: Option<u16>,
    length: usize,
    most: usize,
}

impl Run {
    /// Adds items up to the first that it is full for; returns how many.
    fn add_until_full<I: Copy>(&mut self, items: &[I], author: impl Fn(I) -> u16) -> usize {
        let stop = items.iter().position(|item| {
            let is_full = self.is_full_for(author(*item));
            if !is_full {
                self.add(author(*item));
            }
            is_full
        });
        stop.unwrap_or(items.len())
    }

    fn is_full_for(&self, author: u16) -> bool {
        self.author == Some(author) && self.length >= self.most
    }

    fn add(&mut self, author: u16) {
        self.length = if self.author == Some(author) { self.length + 1 } else { 1 };
        self.author = Some(author);
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::weights::Weights;

    /// The same, written as in docs/timelines.md.
    fn plainly(items: &[Rankable], now_ms: u64, scorer: &Scorer, in_a_row: usize) -> Vec<Ranked> {
        let ranked = |(index, item): (u16, &Rankable)| {
            let age = scorer.age(now_ms.saturating_sub(item.created_ms));
            let (affinity, popularity) = (scorer.affinity(item.affinity), scorer.popularity(item.engagement));
            Ranked { index, parts: Parts { age, affinity, popularity } }
        };
        let mut rest: Vec<Ranked> = (0..).zip(items).map(ranked).collect();
        rest.sort_by_key(|ranked| (Reverse(ranked.parts.score()), ranked.index));
        let author = |ranked: &Ranked| items[usize::from(ranked.index)].author;
        let mut out: Vec<Ranked> = Vec::new();
        while !rest.is_empty() {
            let last = out.last().map(author);
            let run = out.iter().rev().take_while(|ranked| Some(author(ranked)) == last).count();
            let is_barred = |ranked: &Ranked| run >= in_a_row && Some(author(ranked)) == last;
            let next = rest.iter().position(|ranked| !is_barred(ranked)).unwrap_or(0);
            out.push(rest.remove(next));
        }
        out
    }

    fn few_or_many(random: &mut StdRng) -> u32 {
        let most = 10_000 >> random.random_range(0..14);
        random.random_range(0..most)
    }

    #[test]
    fn items_are_ranked_as_documented() {
        let mut random = StdRng::seed_from_u64(3);
        // With the heaviest weights, scores have more bits than the table sorts by.
        let heaviest = Weights { age: 16.0, affinity: 6.0, popularity: 6.0, ..Weights::default() };
        let scorers = [Weights::default(), heaviest].map(|weights| Scorer::new(&weights));
        let now_ms = 1_790_000_000_000;
        let (mut scratch, mut out) = (RankScratch::default(), Vec::new());
        for round in 0..2_000 {
            let authors = random.random_range(1..8);
            let item = |random: &mut StdRng| Rankable {
                created_ms: now_ms + 1_000 - random.random_range(0..400_000_000_u64 >> (round % 20)),
                author: random.random_range(0..authors),
                engagement: few_or_many(random),
                affinity: few_or_many(random),
            };
            let most = if round % 10 == 0 { 2 * ROOM } else { 120 };
            let items: Vec<Rankable> = (0..random.random_range(0..most)).map(|_| item(&mut random)).collect();
            let scorer = &scorers[usize::from(round % 3 == 0)];
            let in_a_row = [1, 2, 3, usize::MAX][round % 4];
            rank(&items, now_ms, scorer, in_a_row, &mut scratch, &mut out);
            assert_eq!(out, plainly(&items, now_ms, scorer, in_a_row), "round {round}, {in_a_row} in a row");
        }
    }
}
