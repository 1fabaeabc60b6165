//! What has been posted and deleted recently, in a few rings in the cache that all processes share.
//!
//! An author list in memory or in the cache is from when it was read; with the rings' notes since then it is up to
//! date. So a list need not be read again when its author posts, and a fetch learns what is new since a computation
//! from the same number of keys for five thousand follows as for ten. A ring says since when it is complete: what is
//! older must be read from the tables.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use soundoff_common::model::posts::News;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Cached, Swap};
use soundoff_common::protocol::steady_ms;
use ulid::Ulid;

use crate::name::Name;

/// How many rings there are; an author's notes are all in one.
pub(crate) const RINGS: usize = 32;
/// The most notes of a ring: the oldest are dropped.
const CAPACITY: usize = 1_000;
/// Bytes of a note: when it was noted (u64), the post (u128), what happened to it, the handle's length, the handle
/// padded to 30.
const NOTE: usize = 8 + 16 + 1 + 1 + 30;
/// Bytes before the first note: since when the ring is complete (u64).
const HEAD: usize = 8;
const TTL: Duration = Duration::from_secs(24 * 3_600);
/// How often a write that lost a race is tried again.
const TRIES: u32 = 50;
/// How much later than its time a note may be written, in milliseconds. Readers look this much further back, and a
/// writer that was later writes the note again.
const LATE_MS: u64 = 1_000;

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) author: Name,
    pub(crate) post: Ulid,
    pub(crate) news: News,
}

/// The ring of an author.
pub(crate) fn ring_of(author: &str) -> usize {
    crc32fast::hash(author.as_bytes()) as usize % RINGS
}

fn key(ring: usize) -> String {
    format!("r:{ring}")
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn encode(note: &Note, at: u64) -> [u8; NOTE] {
    let mut bytes = [0; NOTE];
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    bytes[8..24].copy_from_slice(&note.post.0.to_le_bytes());
    bytes[24] = u8::from(note.news == News::Deleted);
    let handle = note.author.as_str().as_bytes();
    bytes[25] = u8::try_from(handle.len()).expect("a name is at most 30 bytes");
    bytes[26..26 + handle.len()].copy_from_slice(handle);
    bytes
}

/// The author, as text, the post, and what happened to it.
fn decode(bytes: &[u8]) -> Option<(&str, Ulid, News)> {
    let post = u128::from_le_bytes(bytes.get(8..24)?.try_into().ok()?);
    let news = if bytes[24] == 0 { News::Created } else { News::Deleted };
    let author = std::str::from_utf8(bytes.get(26..26 + usize::from(bytes[25]))?).ok()?;
    Some((author, Ulid(post), news))
}

/// The rings as they were at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Rings {
    /// The time just before they were read, in milliseconds since 1970. What was noted before it is in them.
    pub(crate) read_at: u64,
    rings: Vec<Bytes>,
}

impl Rings {
    /// Reads all rings. A missing ring is made, complete from now on.
    pub(crate) async fn read(cache: &dyn Cache) -> Result<Self, Unavailable> {
        let (read, missing) = Self::look(cache).await?;
        if missing.is_empty() {
            return Ok(read);
        }
        // The time is taken after they were found missing: no note that was lost with them is newer.
        let empty = Bytes::copy_from_slice(&steady_ms().to_le_bytes());
        let swap = |ring| Swap { key: key(ring), seen: None, value: empty.clone() };
        // A ring that another process has made meanwhile is just as good.
        cache.swap_many(missing.into_iter().map(swap).collect(), TTL).await?;
        Ok(Self::look(cache).await?.0)
    }

    /// The rings, and which of them are missing: those are never complete.
    async fn look(cache: &dyn Cache) -> Result<(Self, Vec<usize>), Unavailable> {
        let read_at = steady_ms();
        let found = cache.get_many(&(0..RINGS).map(key).collect::<Vec<_>>()).await?;
        let mut missing = Vec::new();
        let whole = |(ring, cached): (usize, Option<Cached>)| {
            cached.map(|cached| cached.value).filter(|ring| ring.len() >= HEAD).unwrap_or_else(|| {
                missing.push(ring);
                Bytes::from_static(&[0xff; HEAD])
            })
        };
        let rings = found.into_iter().enumerate().map(whole).collect();
        Ok((Self { read_at, rings }, missing))
    }

    /// Rings as read at `read_at`, with these notes, each with its time.
    #[cfg(test)]
    pub(crate) fn of(read_at: u64, notes: &[(&str, u128, News, u64)]) -> Self {
        let mut rings = vec![Bytes::copy_from_slice(&[0; HEAD]); RINGS];
        for (author, post, news, at) in notes {
            let note = Note { author: Name::parse(author).unwrap(), post: Ulid(*post), news: *news };
            let ring = &mut rings[ring_of(author)];
            *ring = grown(Some(ring), std::iter::once(&note), *at);
        }
        Self { read_at, rings }
    }

    /// The same rings, but one has lost what is older than `since`.
    #[cfg(test)]
    pub(crate) fn complete_since(mut self, ring: usize, since: u64) -> Self {
        self.rings[ring] = Bytes::copy_from_slice(&since.to_le_bytes());
        self
    }

    /// Since when a ring is complete, in milliseconds since 1970.
    pub(crate) fn since(&self, ring: usize) -> u64 {
        number(&self.rings[ring])
    }

    /// Since when all of them are complete.
    pub(crate) fn all_since(&self) -> u64 {
        (0..RINGS).map(|ring| self.since(ring)).max().unwrap_or(u64::MAX)
    }

    /// What was noted at `from` or later, and some of what was noted just before: author, post, what happened to it.
    pub(crate) fn notes(&self, from: u64) -> impl Iterator<Item = (&str, Ulid, News)> {
        let from = from.saturating_sub(LATE_MS);
        self.rings.iter().flat_map(move |ring| {
            let notes = ring[HEAD..].chunks_exact(NOTE).rev();
            notes.take_while(move |note| number(note) >= from).filter_map(decode)
        })
    }
}

/// Adds notes to their rings.
pub(crate) async fn append(cache: &dyn Cache, notes: &[Note]) -> Result<(), Unavailable> {
    let mut open: Vec<usize> = notes.iter().map(|note| ring_of(note.author.as_str())).collect();
    open.sort_unstable();
    open.dedup();
    for attempt in 0..TRIES {
        let now = steady_ms();
        let keys: Vec<String> = open.iter().map(|ring| key(*ring)).collect();
        let found = cache.get_many(&keys).await?;
        let swaps = open.iter().zip(keys).zip(&found).map(|((ring, key), found)| {
            let mine = notes.iter().filter(|note| ring_of(note.author.as_str()) == *ring);
            let value = grown(found.as_ref().map(|c| &c.value[..]), mine, now);
            Swap { key, seen: found.as_ref().map(|c| c.stamp), value }
        });
        let swapped = cache.swap_many(swaps.collect(), TTL).await?;
        let mut swapped = swapped.into_iter();
        let was_late = steady_ms().saturating_sub(now) >= LATE_MS;
        open.retain(|_| swapped.next() != Some(true) || was_late);
        if open.is_empty() {
            return Ok(());
        }
        let micros = rand::rng().random_range(0..200_u64 << attempt.min(6));
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
    Err(Unavailable(format!("lost {TRIES} races for the rings of recent posts")))
}

/// A ring with more notes; a note that it has already moves to its end. Its times never fall, whichever machine's clock
/// they come from, so that a reader may stop at the first note that is too old.
fn grown<'a>(old: Option<&[u8]>, notes: impl Iterator<Item = &'a Note>, now: u64) -> Bytes {
    let empty = now.to_le_bytes();
    let old = old.filter(|old| old.len() >= HEAD).unwrap_or(&empty);
    let (head, kept) = old.split_at(HEAD);
    let mut since = number(head);
    let last = kept.chunks_exact(NOTE).next_back().map_or(since, number);
    let mut body: Vec<u8> = Vec::with_capacity(kept.len() + NOTE);
    let new: Vec<[u8; NOTE]> = notes.map(|note| encode(note, now.max(last))).collect();
    let is_new = |known: &[u8]| new.iter().any(|new| known[8..] == new[8..]);
    kept.chunks_exact(NOTE).filter(|known| !is_new(known)).for_each(|known| body.extend_from_slice(known));
    for (at, note) in new.iter().enumerate() {
        if !new[..at].contains(note) {
            body.extend_from_slice(note);
        }
    }
    let surplus = (body.len() / NOTE).saturating_sub(CAPACITY);
    let (gone, body) = body.split_at(surplus * NOTE);
    if let Some(newest_gone) = gone.chunks_exact(NOTE).next_back() {
        since = since.max(number(newest_gone) + 1);
    }
    [&since.to_le_bytes()[..], body].concat().into()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::testing::TestCache;

    #[tokio::test]
    async fn a_note_that_is_written_late_is_seen_by_a_reader_that_read_meanwhile() {
        for takes in [5, LATE_MS + 50] {
            let cache = Arc::new(TestCache::default());
            Rings::read(&*cache).await.unwrap();
            let read = Arc::new(Mutex::new(None));
            let (reader, reading) = (cache.clone(), read.clone());
            cache.meanwhile(async move {
                tokio::time::sleep(Duration::from_millis(takes)).await;
                *reading.lock().unwrap() = Some(Rings::read(&*reader).await.unwrap());
            });
            append(&*cache, &[note("alice", 7, News::Created)]).await.unwrap();
            let meanwhile = read.lock().unwrap().take().unwrap();
            assert_eq!(meanwhile.notes(0).count(), 0, "it was not there yet");
            let after = Rings::read(&*cache).await.unwrap();
            let seen: Vec<_> = after.notes(meanwhile.read_at).collect();
            assert_eq!(seen, [("alice", Ulid(7), News::Created)], "{takes} ms");
        }
    }

    fn note(author: &str, post: u128, news: News) -> Note {
        Note { author: Name::parse(author).unwrap(), post: Ulid(post), news }
    }

    #[test]
    fn a_ring_keeps_the_newest_notes_and_says_since_when_it_is_complete() {
        let mut ring = grown(None, std::iter::empty(), 10);
        assert_eq!((number(&ring), ring.len()), (10, HEAD));
        let at = |post: u128| 20 + 10 * u64::try_from(post).unwrap();
        for post in 0..CAPACITY as u128 + 3 {
            let note = note("alice", post, News::Created);
            ring = grown(Some(&ring), [&note, &note].into_iter(), at(post));
            // Noted again, it is in the ring once, with the later time.
            ring = grown(Some(&ring), std::iter::once(&note), at(post) + 5);
        }
        assert_eq!(ring.len(), HEAD + CAPACITY * NOTE);
        let rings = Rings { read_at: 0, rings: vec![ring.clone()] };
        assert_eq!(rings.since(0), at(2) + 5 + 1, "one later than the newest that was dropped");
        let posts: Vec<u128> = rings.notes(0).map(|(_, post, _)| post.0).collect();
        assert!(posts.into_iter().eq((3..CAPACITY as u128 + 3).rev()));
        let last = at(CAPACITY as u128 + 2) + 5;
        assert_eq!(rings.notes(last + LATE_MS).count(), 1);
        assert_eq!(rings.notes(last + LATE_MS + 1).count(), 0);
        assert_eq!(rings.notes(last - 9 + LATE_MS).count(), 1);
        assert_eq!(rings.notes(last - 10 + LATE_MS).count(), 2);
        // With a clock that is behind, a note is still no older than the one before it.
        let late = note("bob", 1, News::Deleted);
        let ring = grown(Some(&ring), std::iter::once(&late), 5);
        let rings = Rings { read_at: 0, rings: vec![ring] };
        assert_eq!(rings.notes(last + LATE_MS).next(), Some(("bob", Ulid(1), News::Deleted)));
    }
}
