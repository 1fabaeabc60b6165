//! Author lists in memory, laid out for [`crate::merge`].
//!
//! A merge needs to know how many posts of a list are newer than some set times, then when exactly those few posts were
//! made, and then the ids and engagements of the posts that it picks. So a list's head is one cache line: [`BANDS`]
//! counts of one byte each, and the times of its first posts. The times of the other posts are in an array of their
//! own, and so are ids and engagements, so that no cache line is read needlessly.

use ulid::Ulid;

use crate::prefetch::prefetch;

/// The most posts in one author's list: the newest ones.
pub const MAX_LISTED: usize = 100;
/// How many counts a list has: one for each set time.
pub(crate) const BANDS: usize = 32;
/// How long ago the first set time is, in milliseconds. Each later one is [`BAND_RATIO`] times as long ago; all posts
/// are newer than the last one.
const FIRST_BAND_MS: f64 = 300_000.0;
const BAND_RATIO: f64 = 1.35;
/// The start of 2020, in milliseconds since 1970. Older posts count as from then.
const BASE_MS: u64 = 1_577_836_800_000;
/// A tick is 2^8 milliseconds, so that 34 years fit into a `u32`. Posts of the same tick are ordered by their ids.
const TICK_BITS: u32 = 8;
/// The sizes of the places for lists, in posts.
const SIZES: [usize; 10] = [4, 8, 12, 16, 24, 32, 48, 64, 80, MAX_LISTED];

/// One post of an author's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its id, which also says when it was made.
    pub id: Ulid,
    /// Its likes, and its comments twice.
    pub engagement: u32,
}

/// The number of a list.
pub type Slot = u32;

/// How many posts' times a list's head has.
const FIRST: usize = 7;
/// How many numbers of a head are copied at once, wanted or not: the times, and the number behind them.
const AT_ONCE: usize = FIRST + 1;

/// What a merge reads first, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Head {
    /// How many posts are at least as new as each set time. The last count is the list's length.
    counts: [u8; BANDS],
    /// When the newest posts were made, and, as the last number, where the list begins in `ticks` and `posts`. They are
    /// in one array because copying eight numbers is less work than copying seven.
    first: [u32; AT_ONCE],
}

const EMPTY: Head = Head { counts: [0; BANDS], first: [0; AT_ONCE] };

impl Head {
    fn begin(&self) -> u32 {
        self.first[FIRST]
    }

    fn len(&self) -> usize {
        usize::from(self.counts[BANDS - 1])
    }
}

/// A post in memory. The id is in two halves, because a `u128` would have to be aligned to 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Stored {
    high: u64,
    low: u64,
    engagement: u32,
}

/// The lists.
#[derive(Debug)]
pub struct Shelf {
    heads: Vec<Head>,
    /// When posts were made.
    ticks: Vec<u32>,
    posts: Vec<Stored>,
    /// Free places of each size, which lists have left.
    free: [Vec<u32>; SIZES.len()],
    /// The set times, newest first.
    bands: [u32; BANDS],
    calibrated_ms: u64,
}

impl Default for Shelf {
    fn default() -> Self {
        let (heads, ticks, posts, free) = Default::default();
        let mut shelf = Self { heads, ticks, posts, free, bands: [0; BANDS], calibrated_ms: 0 };
        shelf.calibrate(0);
        shelf
    }
}

/// Room for [`Candidates`], reusable.
#[derive(Debug, Default)]
pub(crate) struct Room {
    ticks: Vec<u32>,
    lists: Vec<u16>,
    offsets: Vec<u32>,
}

impl Room {
    /// Slices of these lengths. The room never shrinks, so it is cleared only for a reader who needs more than any
    /// before.
    fn of(&mut self, posts: usize, lists: usize) -> (&mut [u32], &mut [u16], &mut [u32]) {
        if self.ticks.len() < posts || self.lists.len() < posts {
            self.ticks.resize(posts, 0);
            self.lists.resize(posts, 0);
        }
        self.offsets.resize(lists, 0);
        (&mut self.ticks[..posts], &mut self.lists[..posts], &mut self.offsets)
    }
}

/// The posts of some lists that are at least as new as a set time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates<'r> {
    /// When each post was made.
    pub(crate) ticks: &'r [u32],
    /// Which list each post is from.
    lists: &'r [u16],
    /// For each list, what to add to a post's position here to get its place in memory.
    offsets: &'r [u32],
}

impl Candidates<'_> {
    /// The list of a post, and its place in memory for [`Shelf::at`].
    pub(crate) fn place(self, at: u32) -> (u16, u32) {
        let list = self.lists[at as usize];
        (list, self.offsets[usize::from(list)].wrapping_add(at))
    }
}

/// When a post was made, in ticks.
fn tick(id: Ulid) -> u32 {
    u32::try_from(id.timestamp_ms().saturating_sub(BASE_MS) >> TICK_BITS).unwrap_or(u32::MAX)
}

/// How many of `ticks`, which are sorted newest first, are at least as new as each set time.
fn counted(bands: &[u32; BANDS], ticks: &[u32]) -> [u8; BANDS] {
    bands.map(|since| u8::try_from(ticks.partition_point(|tick| *tick >= since)).unwrap_or(u8::MAX))
}

/// The smallest of [`SIZES`] that has room for `posts` posts, as an index.
fn size(posts: usize) -> usize {
    SIZES.partition_point(|size| *size < posts)
}

impl Shelf {
    /// Renews the set times that posts are counted by, relative to `now_ms` (milliseconds since 1970). Results are
    /// correct without it, but the older the set times are, the more posts a merge reads needlessly. Reads every post's
    /// time once.
    pub fn calibrate(&mut self, now_ms: u64) {
        for (band, since) in self.bands.iter_mut().enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, is not negative"
            )]
            let ago = (FIRST_BAND_MS * BAND_RATIO.powi(i32::try_from(band).unwrap_or(0))) as u64;
            let at = now_ms.saturating_sub(ago).saturating_sub(BASE_MS) >> TICK_BITS;
            *since = u32::try_from(at).unwrap_or(u32::MAX);
        }
        self.bands[BANDS - 1] = 0;
        self.calibrated_ms = now_ms;
        for head in &mut self.heads {
            let begin = head.begin() as usize;
            head.counts = counted(&self.bands, &self.ticks[begin..begin + head.len()]);
        }
    }

    /// When the set times were renewed, in milliseconds since 1970.
    pub(crate) fn calibrated_ms(&self) -> u64 {
        self.calibrated_ms
    }

    /// Replaces an author's list. `posts` are sorted newest first.
    ///
    /// # Panics
    /// When it is longer than [`MAX_LISTED`], or the shelf has more posts than a `u32` counts: memory ends long before.
    pub fn put(&mut self, slot: Slot, posts: &[Listed]) {
        assert!(posts.len() <= MAX_LISTED, "a list of {} posts", posts.len());
        debug_assert!(posts.is_sorted_by(|a, b| a.id > b.id), "a list is newest first");
        let at = slot as usize;
        if self.heads.len() <= at {
            self.heads.resize(at + 1, EMPTY);
        }
        let begin = self.place(self.heads[at], posts.len());
        for (to, Listed { id, engagement }) in (begin..).zip(posts) {
            self.ticks[to] = tick(*id);
            #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
            let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
            self.posts[to] = Stored { high, low, engagement: *engagement };
        }
        let ticks = &self.ticks[begin..begin + posts.len()];
        let mut head = Head { counts: counted(&self.bands, ticks), ..EMPTY };
        head.first.iter_mut().zip(ticks).for_each(|(first, tick)| *first = *tick);
        head.first[FIRST] = u32::try_from(begin).expect("memory ends before numbers do");
        self.heads[at] = head;
    }

    /// The place of a list of `posts` posts: its old place if the size is right, else a free one, else a new one at the
    /// end.
    fn place(&mut self, before: Head, posts: usize) -> usize {
        if before.len() > 0 {
            if posts > 0 && size(before.len()) == size(posts) {
                return before.begin() as usize;
            }
            self.free[size(before.len())].push(before.begin());
        }
        if posts == 0 {
            return 0;
        }
        let left = self.free[size(posts)].pop();
        left.map_or_else(
            || {
                let end = self.ticks.len();
                self.ticks.resize(end + SIZES[size(posts)], 0);
                self.posts.resize(self.ticks.len(), Stored { high: 0, low: 0, engagement: 0 });
                end
            },
            |left| left as usize,
        )
    }

    /// A post of a list; position 0 is the newest.
    #[must_use]
    pub fn get(&self, slot: Slot, position: usize) -> Option<Listed> {
        if position >= self.len(slot) {
            return None;
        }
        Some(self.at(self.heads[slot as usize].begin() + u32::try_from(position).ok()?))
    }

    /// The post at a place.
    pub(crate) fn at(&self, place: u32) -> Listed {
        let Stored { high, low, engagement } = self.posts[place as usize];
        Listed { id: Ulid(u128::from(high) << 64 | u128::from(low)), engagement }
    }

    /// How many posts a list has; 0 if it was never put.
    #[must_use]
    pub fn len(&self, slot: Slot) -> usize {
        self.heads.get(slot as usize).map_or(0, Head::len)
    }

    /// Prefetches the heads of lists.
    pub(crate) fn prefetch_heads(&self, slots: &[Slot]) {
        slots.iter().filter_map(|slot| self.heads.get(*slot as usize)).for_each(prefetch);
    }

    /// Prefetches posts.
    pub(crate) fn prefetch_posts(&self, places: impl Iterator<Item = u32>) {
        for post in places.filter_map(|place| self.posts.get(place as usize)) {
            // Some posts are in two cache lines.
            prefetch(&post.high);
            prefetch(&post.engagement);
        }
    }

    /// How many posts of all these lists are at least as new as each set time; 65,535 stands for that number or more.
    ///
    /// Not inlined: where the compiler sees how the sums are used, it splits them into single numbers, and the whole
    /// merge takes twice the time. Here they stay in a few wide registers.
    #[inline(never)]
    pub(crate) fn sums(&self, slots: &[Slot]) -> [u16; BANDS] {
        let mut sums = [0; BANDS];
        for head in slots.iter().filter_map(|slot| self.heads.get(*slot as usize)) {
            add(&mut sums, &head.counts);
        }
        sums
    }

    /// All posts of at most 65,536 lists that are at least as new as the set time `band`: at most `most` posts.
    ///
    /// Few lists have more than [`FIRST`] such posts. So the first [`AT_ONCE`] numbers of each head are copied whether
    /// they are wanted or not, and those of the next list overwrite the ones that are not. So the processor has no
    /// branch to guess for a list's length, and a wrong guess costs more than copying some posts.
    #[expect(clippy::cast_possible_truncation, reason = "callers pass no more lists and posts than fit")]
    pub(crate) fn candidates<'r>(
        &self,
        slots: &[Slot],
        band: usize,
        most: usize,
        room: &'r mut Room,
    ) -> Candidates<'r> {
        let (ticks, lists, offsets) = room.of(most + AT_ONCE, slots.len());
        let mut count = 0;
        for (list, (slot, offset)) in slots.iter().zip(&mut *offsets).enumerate() {
            let Some(head) = self.heads.get(*slot as usize) else { continue };
            let list = list as u16;
            let (ticks, lists) = (&mut ticks[count..], &mut lists[count..]);
            if let (Some(ticks), Some(lists)) = (ticks.first_chunk_mut(), lists.first_chunk_mut()) {
                *ticks = head.first;
                *lists = [list; AT_ONCE];
            }
            let wanted = usize::from(head.counts[band]);
            if wanted > FIRST {
                self.copy_more(head, &mut ticks[..wanted]);
                lists[..wanted].fill(list);
            }
            *offset = head.begin().wrapping_sub(count as u32);
            count += wanted;
        }
        Candidates { ticks: &ticks[..count], lists: &lists[..count], offsets }
    }

    /// Copies the times of a list's posts when there are more than its head has.
    #[cold]
    #[inline(never)]
    fn copy_more(&self, head: &Head, ticks: &mut [u32]) {
        let begin = head.begin() as usize;
        ticks.copy_from_slice(&self.ticks[begin..begin + ticks.len()]);
    }

    /// About how many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.heads.len() * size_of::<Head>() + self.ticks.len() * (4 + size_of::<Stored>())
    }
}

/// Adds a list's counts to the sums, written so that the compiler uses a few instructions on many numbers at once.
#[inline]
fn add(sums: &mut [u16; BANDS], counts: &[u8; BANDS]) {
    for band in 0..BANDS {
        sums[band] = sums[band].saturating_add(u16::from(counts[band]));
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn lists_are_read_back_as_they_were_put() {
        let mut random = StdRng::seed_from_u64(1);
        let mut shelf = Shelf::default();
        let mut plain = vec![Vec::new(); 40];
        for round in 0..4_000_u64 {
            let slot = random.random_range(0..plain.len());
            let mut ids: Vec<u128> =
                (0..random.random_range(0..=MAX_LISTED)).map(|_| random.random()).collect();
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
            plain[slot] =
                ids.into_iter().map(|id| Listed { id: Ulid(id), engagement: random.random() }).collect();
            shelf.put(slot as Slot, &plain[slot]);
            if round % 500 == 0 {
                shelf.calibrate(BASE_MS + random.random_range(0..1 << 40));
            }
        }
        for (slot, posts) in (0..).zip(&plain) {
            let read: Vec<Listed> = (0..).map_while(|position| shelf.get(slot, position)).collect();
            assert_eq!((&read, shelf.len(slot)), (posts, posts.len()));
        }
        assert_eq!((shelf.len(40), shelf.get(40, 0)), (0, None), "never put");
        // Places are used again: at most each list's largest place, rounded up, and what was left over between sizes.
        assert!(shelf.bytes() < 40 * SIZES.iter().sum::<usize>() * 40, "{}", shelf.bytes());
    }
}
