//! Author lists side by side in memory, laid out for [`crate::merge`].
//!
//! Merging asks of a list how many of its posts are newer than some set times, then when exactly those few were made, and of the ones that
//! are picked what they are. So a list's head is one cache line: [`BANDS`] counts of a byte each, and when its first posts were made.
//! The times of the others lie by themselves, and so do the ids and engagements, so that no line is read in vain.

use ulid::Ulid;

use crate::prefetch::prefetch;

/// The most posts of one author that are listed, the newest.
pub const MAX_LISTED: usize = 100;
/// How many counts a list has, one for each of the set times.
pub(crate) const BANDS: usize = 32;
/// How long ago the first of the set times is, in milliseconds; each later one is so many times as long ago, and the last is never.
const FIRST_BAND_MS: f64 = 300_000.0;
const BAND_RATIO: f64 = 1.35;
/// 2020 began then, in milliseconds since 1970. Posts from before it count as from then.
const BASE_MS: u64 = 1_577_836_800_000;
/// A tick is 2^8 milliseconds, so that 34 years fit a `u32`. What falls into one tick is told apart by its id.
const TICK_BITS: u32 = 8;
/// Into which sizes lists' places are cut, in posts.
const SIZES: [usize; 10] = [4, 8, 12, 16, 24, 32, 48, 64, 80, MAX_LISTED];

/// One post of an author's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its id, and so when it was made.
    pub id: Ulid,
    /// How much people have had to do with it: likes, and comments twice.
    pub engagement: u32,
}

/// The number of a list.
pub type Slot = u32;

/// How many times of posts have room in a list's head.
const FIRST: usize = 7;
/// How many posts of a list are told at once, wanted or not: those, and what lies behind them.
const AT_ONCE: usize = FIRST + 1;

/// What merging looks at first, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Head {
    /// How many posts are at least as new as each of the set times; as new as the last one are all.
    counts: [u8; BANDS],
    /// When the newest posts were made, and last of all where the list begins in `ticks` and `posts`: side by side, as copying eight
    /// numbers is less work than copying seven.
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

/// A post as it lies in memory: an id in two halves, as a whole one would have to be aligned to 16 bytes.
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
    /// Places of each size that lists have left.
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

/// Room for what is told of posts, reusable.
#[derive(Debug, Default)]
pub(crate) struct Room {
    ticks: Vec<u32>,
    lists: Vec<u16>,
    offsets: Vec<u32>,
}

impl Room {
    /// Of each kind as much as is told at most. What grows stays: only a reader of more than any before has room cleared.
    fn of(&mut self, posts: usize, lists: usize) -> (&mut [u32], &mut [u16], &mut [u32]) {
        if self.ticks.len() < posts || self.lists.len() < posts {
            self.ticks.resize(posts, 0);
            self.lists.resize(posts, 0);
        }
        self.offsets.resize(lists, 0);
        (&mut self.ticks[..posts], &mut self.lists[..posts], &mut self.offsets)
    }
}

/// What is told of some lists' posts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'r> {
    /// When each was made.
    pub(crate) ticks: &'r [u32],
    /// Which list each is of.
    lists: &'r [u16],
    /// What leads from a post's place here to its place in memory, by list.
    offsets: &'r [u32],
}

impl Told<'_> {
    /// The list that a post is of, and where it lies, for [`Shelf::at`].
    pub(crate) fn place(self, at: u32) -> (u16, u32) {
        let list = self.lists[at as usize];
        (list, self.offsets[usize::from(list)].wrapping_add(at))
    }
}

/// When a post was made, in ticks.
fn tick(id: Ulid) -> u32 {
    u32::try_from(id.timestamp_ms().saturating_sub(BASE_MS) >> TICK_BITS).unwrap_or(u32::MAX)
}

/// How many of some times, newest first, are at least as new as each of the set ones.
fn counted(bands: &[u32; BANDS], ticks: &[u32]) -> [u8; BANDS] {
    bands.map(|since| u8::try_from(ticks.partition_point(|tick| *tick >= since)).unwrap_or(u8::MAX))
}

/// The smallest size that has room for so many posts.
fn size(posts: usize) -> usize {
    SIZES.partition_point(|size| *size < posts)
}

impl Shelf {
    /// Sets the times that posts are counted by, as seen from `now_ms` (milliseconds since 1970). Nothing is wrong without it, but
    /// merging looks at more posts than it must the older they are. Reads every post's time once.
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

    /// As of when the set times are.
    pub(crate) fn calibrated_ms(&self) -> u64 {
        self.calibrated_ms
    }

    /// Puts an author's list, newest first, in place of the one that was there.
    ///
    /// # Panics
    /// When it is longer than [`MAX_LISTED`] or the whole holds more posts than a `u32` counts: memory ends long before.
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

    /// Where a list of `posts` goes: where it was if it has the room, else where another has left, else at the end.
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

    /// A post of a list; 0 is the newest.
    #[must_use]
    pub fn get(&self, slot: Slot, position: usize) -> Option<Listed> {
        if position >= self.len(slot) {
            return None;
        }
        Some(self.at(self.heads[slot as usize].begin() + u32::try_from(position).ok()?))
    }

    /// The post that lies there.
    pub(crate) fn at(&self, place: u32) -> Listed {
        let Stored { high, low, engagement } = self.posts[place as usize];
        Listed { id: Ulid(u128::from(high) << 64 | u128::from(low)), engagement }
    }

    /// How many posts a list has; none if it was never put.
    #[must_use]
    pub fn len(&self, slot: Slot) -> usize {
        self.heads.get(slot as usize).map_or(0, Head::len)
    }

    /// Asks memory for what merging looks at first.
    pub(crate) fn prefetch_heads(&self, slots: &[Slot]) {
        slots.iter().filter_map(|slot| self.heads.get(*slot as usize)).for_each(prefetch);
    }

    /// Asks memory for posts.
    pub(crate) fn prefetch_posts(&self, places: impl Iterator<Item = u32>) {
        for post in places.filter_map(|place| self.posts.get(place as usize)) {
            // Some lie across two lines.
            prefetch(&post.high);
            prefetch(&post.engagement);
        }
    }

    /// Of the lists together, how many posts are at least as new as each of the set times; 65,535 stands for that and more.
    ///
    /// Not inlined: where the compiler sees what becomes of the sums it takes them apart into single numbers, at twice the time of the
    /// whole merge. Here they stay in a few wide registers.
    #[inline(never)]
    pub(crate) fn sums(&self, slots: &[Slot]) -> [u16; BANDS] {
        let mut sums = [0; BANDS];
        for head in slots.iter().filter_map(|slot| self.heads.get(*slot as usize)) {
            add(&mut sums, &head.counts);
        }
        sums
    }

    /// Of some lists, 65,536 at most, tells every post that is at least as new as a set time: `most` posts at most.
    ///
    /// Few lists have more than [`FIRST`] such posts. So that many are told whether they are wanted or not, and the next list's overwrite
    /// those that are not: nothing is to be guessed about how long a list is, and a wrong guess costs more than some posts.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "lists and posts are counted in as much at the callers'"
    )]
    pub(crate) fn tell<'r>(&self, slots: &[Slot], band: usize, most: usize, room: &'r mut Room) -> Told<'r> {
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
                self.tell_more(head, &mut ticks[..wanted]);
                lists[..wanted].fill(list);
            }
            *offset = head.begin().wrapping_sub(count as u32);
            count += wanted;
        }
        Told { ticks: &ticks[..count], lists: &lists[..count], offsets }
    }

    /// Tells when those of a list's posts were made that its head has no room for.
    #[cold]
    #[inline(never)]
    fn tell_more(&self, head: &Head, ticks: &mut [u32]) {
        let begin = head.begin() as usize;
        ticks.copy_from_slice(&self.ticks[begin..begin + ticks.len()]);
    }

    /// Bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.heads.len() * size_of::<Head>() + self.ticks.len() * (4 + size_of::<Stored>())
    }
}

/// Adds a list's counts to the sums, in a form that becomes a few instructions on many numbers at once.
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
    fn lists_are_read_back_as_put_whatever_was_there_before() {
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
        // Places are used again: no more than each list's largest, rounded up, and what was left over between sizes.
        assert!(shelf.bytes() < 40 * SIZES.iter().sum::<usize>() * 40, "{}", shelf.bytes());
    }
}
