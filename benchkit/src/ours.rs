//! Our contender: the functions that the pipeline runs, on the same files as the other contenders.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::time::Instant;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use soundoff_timeline::merge::{self, Pick, newest};
use soundoff_timeline::rank::{RankScratch, Rankable, Ranked, rank};
use soundoff_timeline::shelf::{Listed, MAX_LISTED, Shelf};
use soundoff_timeline::weights::{Scorer, Weights};
use ulid::Ulid;

use crate::files::{Files, NOW_MS, number, write};
use crate::usage::{cpu_seconds, peak_mb, resident_mb};

/// How many items a timeline has.
pub const ITEMS: usize = 100;
/// At most this many items of one author may follow each other.
pub const IN_A_ROW: usize = 2;
/// Users in one batch, as many as a message of the pipeline has.
const USERS_AT_ONCE: usize = 500;

/// Everything that is read, as the pipeline holds it in memory.
struct Input {
    shelf: Shelf,
    follow_begins: Vec<u32>,
    follows: Vec<u32>,
    affinity_begins: Vec<u32>,
    affinities: Vec<u32>,
}

impl Input {
    fn read(files: &Files) -> anyhow::Result<Self> {
        let engagement = files.numbers("post_engagement")?;
        let ago_ms = files.numbers("post_ago_ms")?;
        let mut shelf = Shelf::default();
        let mut lists = files.open("lists")?;
        for (author, length) in (0..).zip(files.numbers("list_lengths")?) {
            let mut posts = Vec::with_capacity(length as usize);
            for _ in 0..length {
                let post = number(&mut lists)?;
                let made = NOW_MS - u64::from(ago_ms[post as usize]);
                let id = Ulid::from_parts(made, u128::from(post));
                posts.push(Listed { id, engagement: engagement[post as usize] });
            }
            posts.truncate(MAX_LISTED);
            shelf.put(author, &posts);
        }
        shelf.calibrate(NOW_MS);
        Ok(Self {
            shelf,
            follow_begins: files.numbers("follow_begins")?,
            follows: files.numbers("follows")?,
            affinity_begins: files.numbers("affinity_begins")?,
            affinities: files.numbers("affinities")?,
        })
    }

    fn users(&self) -> usize {
        self.follow_begins.len() - 1
    }

    fn follows(&self, user: usize) -> &[u32] {
        &self.follows[self.follow_begins[user] as usize..self.follow_begins[user + 1] as usize]
    }

    fn affinities(&self, user: usize) -> &[u32] {
        &self.affinities[2 * self.affinity_begins[user] as usize..2 * self.affinity_begins[user + 1] as usize]
    }
}

/// The reusable buffers of one thread.
#[derive(Default)]
struct Scratch {
    merge: merge::Scratch,
    rank: RankScratch,
    items: Vec<Rankable>,
    posts: Vec<u32>,
    ranked: Vec<Ranked>,
    /// By place among the follows.
    affinity: Vec<u32>,
}

/// One user's timeline: post numbers, newest first, and the same posts ranked, with the parts of their scores.
struct Made<'a> {
    posts: &'a [u32],
    ranked: &'a [Ranked],
}

/// Computes the timelines of some users as the pipeline's two stages do: TLC, then Personalization.
fn compute(
    input: &Input,
    users: Range<usize>,
    scorer: &Scorer,
    scratch: &mut Scratch,
    mut done: impl FnMut(&Made),
) {
    let Scratch { merge, rank: rank_scratch, items, posts, ranked, affinity } = scratch;
    let readers: Vec<&[u32]> = users.clone().map(|user| input.follows(user)).collect();
    newest(&input.shelf, &readers, ITEMS, merge, |reader, picks| {
        affinity.clear();
        affinity.resize(readers[reader].len(), 0);
        for pair in input.affinities(users.start + reader).chunks_exact(2) {
            affinity[pair[0] as usize] = pair[1];
        }
        let item = |Pick { author, post }: Pick| Rankable {
            created_ms: post.id.timestamp_ms(),
            author,
            engagement: post.engagement,
            affinity: affinity[usize::from(author)],
        };
        items.clear();
        items.extend(picks.iter().map(item));
        posts.clear();
        posts.extend(picks.iter().map(|pick| pick.post.id.random() as u32));
        rank(items, NOW_MS, scorer, IN_A_ROW, rank_scratch, ranked);
        done(&Made { posts, ranked });
    });
}

/// What a timeline adds to the checksum: each item times its place.
fn sum(made: &Made) -> u64 {
    let posts = made.posts.iter().copied();
    let ranked = made.ranked.iter().map(|ranked| u32::from(ranked.index) << 18 | ranked.parts.score());
    by_place(1, posts).wrapping_add(by_place(1_000, ranked))
}

fn by_place(first: u64, items: impl Iterator<Item = u32>) -> u64 {
    items.zip(first..).fold(0, |sum, (item, place)| sum.wrapping_add(place * u64::from(item)))
}

/// Timelines, and their checksum.
type Done = (usize, u64);

fn round(input: &Input, scorer: &Scorer) -> Done {
    let batches: Vec<usize> = (0..input.users()).step_by(USERS_AT_ONCE).collect();
    let batch = |scratch: &mut Scratch, first: usize| -> Done {
        let users = first..(first + USERS_AT_ONCE).min(input.users());
        let (mut items, mut all) = (0, 0_u64);
        compute(input, users, scorer, scratch, |made| {
            items += made.posts.len();
            all = all.wrapping_add(sum(made));
        });
        (items, all)
    };
    let add = |a: Done, b: Done| (a.0 + b.0, a.1.wrapping_add(b.1));
    batches.into_par_iter().map_init(Scratch::default, batch).reduce(|| (0, 0), add)
}

/// Measures `rounds` computations of everybody's timeline on `threads` threads, and prints each: wall seconds, CPU
/// seconds, most memory ever, memory before the first round, items, checksum.
///
/// # Errors
/// The files cannot be read.
pub fn measure(files: &Files, threads: usize, rounds: usize) -> anyhow::Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let input = Input::read(files)?;
    let loaded_mb = resident_mb();
    let scorer = Scorer::new(&Weights { in_a_row: IN_A_ROW, ..Weights::default() });
    for _ in 0..rounds {
        let (begun, before) = (Instant::now(), cpu_seconds()?);
        let (items, checksum) = round(&input, &scorer);
        let cpu = cpu_seconds()? - before;
        let wall = begun.elapsed().as_secs_f64();
        println!("{wall} {cpu} {} {loaded_mb} {items} {checksum}", peak_mb());
    }
    Ok(())
}

/// Writes every timeline: `chronological` holds post numbers, `ranked` indexes and parts of scores, `lengths` the
/// number of items of each user.
///
/// # Errors
/// The files cannot be read or written.
pub fn write_down(files: &Files) -> anyhow::Result<()> {
    let input = Input::read(files)?;
    let scorer = Scorer::new(&Weights { in_a_row: IN_A_ROW, ..Weights::default() });
    let create = |name: &str| -> anyhow::Result<_> {
        Ok(BufWriter::with_capacity(1 << 20, File::create(files.path(name))?))
    };
    let (mut chronological, mut ranked, mut lengths) =
        (create("ours_chronological")?, create("ours_ranked")?, create("ours_lengths")?);
    let mut scratch = Scratch::default();
    let (mut items, mut checksum) = (0, 0_u64);
    let mut failed = Ok(());
    compute(&input, 0..input.users(), &scorer, &mut scratch, |made| {
        items += made.posts.len();
        checksum = checksum.wrapping_add(sum(made));
        let ranked_rows = made.ranked.iter().flat_map(|Ranked { index, parts }| {
            let parts = [parts.age, parts.affinity, parts.popularity].map(u32::from);
            [made.posts[usize::from(*index)], parts[0], parts[1], parts[2]]
        });
        let written = write(&mut lengths, [made.posts.len() as u32])
            .and_then(|()| write(&mut chronological, made.posts.iter().copied()))
            .and_then(|()| write(&mut ranked, ranked_rows));
        if failed.is_ok() {
            failed = written;
        }
    });
    failed?;
    for file in [&mut chronological, &mut ranked, &mut lengths] {
        file.flush()?;
    }
    println!("{items} {checksum}");
    Ok(())
}
