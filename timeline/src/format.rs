//! The format of a timeline in the cache: a head, records of fixed width, and the authors that they name.
//!
//! Numbers are little-endian. The head is [`HEAD`] bytes: format 1, kind, count of records (u16), count of authors
//! (u16), two bytes of zero, version (u64), the version of the follows it was made from (u64). A record is [`RECORD`]
//! bytes: the post's id (u128), its author's index (u16), and three u16: the parts of its score, or in a chronological
//! timeline its engagement (u32) and zero. An author is a byte that names the source, a byte of length, and the handle.

use bytes::Bytes;
use ulid::Ulid;

use crate::weights::Parts;

/// Bytes before the first record.
pub(crate) const HEAD: usize = 24;
/// Bytes of an item in the cache, without its share of the authors.
pub(crate) const RECORD: usize = 24;
const FORMAT: u8 = 1;

/// What the records of a timeline hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Newest first, with engagement.
    Chronological = 1,
    /// Best first, with the parts of the score.
    Ranked = 2,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) post: Ulid,
    pub(crate) author: u16,
    facts: [u16; 3],
}

impl Record {
    pub(crate) fn chronological(post: Ulid, author: u16, engagement: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let facts = [engagement as u16, (engagement >> 16) as u16, 0];
        Self { post, author, facts }
    }

    pub(crate) fn ranked(post: Ulid, author: u16, parts: Parts) -> Self {
        Self { post, author, facts: [parts.age, parts.affinity, parts.popularity] }
    }

    pub(crate) fn engagement(self) -> u32 {
        u32::from(self.facts[0]) | u32::from(self.facts[1]) << 16
    }

    pub(crate) fn parts(self) -> Parts {
        let [age, affinity, popularity] = self.facts;
        Parts { age, affinity, popularity }
    }
}

/// Writes a timeline.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    records: u16,
    authors: u16,
}

impl Writer {
    /// Begins a timeline. `version` is when its computation began, in milliseconds since 1970.
    pub(crate) fn new(kind: Kind, version: u64, follows_version: u64, records: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + records * (RECORD + 8));
        bytes.extend_from_slice(&[FORMAT, kind as u8, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&follows_version.to_le_bytes());
        Self { bytes, records: 0, authors: 0 }
    }

    /// Adds a record. All records come before the first author.
    pub(crate) fn record(&mut self, record: Record) {
        let Record { post, author, facts: [a, b, c] } = record;
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&post.0.to_le_bytes());
        for (at, number) in [author, a, b, c].into_iter().enumerate() {
            bytes[16 + 2 * at..18 + 2 * at].copy_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend_from_slice(&bytes);
        self.records += 1;
    }

    /// Adds the next author.
    pub(crate) fn author(&mut self, source: u8, handle: &str) {
        let len = u8::try_from(handle.len()).expect("a name is at most 30 bytes");
        self.bytes.extend_from_slice(&[source, len]);
        self.bytes.extend_from_slice(handle.as_bytes());
        self.authors += 1;
    }

    /// Adds all authors of another timeline.
    pub(crate) fn authors_of(&mut self, other: &Timeline) {
        self.bytes.extend_from_slice(&other.bytes[other.authors_at()..]);
        self.authors += other.authors;
    }

    pub(crate) fn finish(mut self) -> Timeline {
        self.bytes[2..4].copy_from_slice(&self.records.to_le_bytes());
        self.bytes[4..6].copy_from_slice(&self.authors.to_le_bytes());
        Timeline { bytes: self.bytes.into(), records: self.records, authors: self.authors }
    }
}

/// A timeline in the format of the cache, read in place.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    bytes: Bytes,
    records: u16,
    authors: u16,
}

impl Timeline {
    /// `None` when the bytes are no timeline of this format: callers then make a new one.
    pub(crate) fn read(bytes: Bytes, kind: Kind) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        if head[..2] != [FORMAT, kind as u8] {
            return None;
        }
        let count = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let (records, authors) = (count(2), count(4));
        let timeline = Self { records, authors, bytes };
        // Checked once, so that nothing below can fail.
        let sound = timeline.bytes.len() >= timeline.authors_at()
            && timeline.authors().count() == usize::from(authors)
            && timeline.records().all(|record| record.author < authors);
        sound.then_some(timeline)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// When its computation began, in milliseconds since 1970: of two timelines, the one with the larger version is
    /// newer.
    pub(crate) fn version(&self) -> u64 {
        self.number(8)
    }

    /// The version of the follows that it was made from.
    pub(crate) fn follows_version(&self) -> u64 {
        self.number(16)
    }

    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    fn authors_at(&self) -> usize {
        HEAD + usize::from(self.records) * RECORD
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.records)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.bytes[HEAD..self.authors_at()].chunks_exact(RECORD).map(|bytes| {
            let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            let post = u128::from_le_bytes(bytes[..16].try_into().expect("sixteen bytes"));
            Record { post: Ulid(post), author: number(16), facts: [number(18), number(20), number(22)] }
        })
    }

    /// Source and handle of each author, in the order of their indexes.
    pub(crate) fn authors(&self) -> impl Iterator<Item = (u8, &str)> {
        let mut rest = &self.bytes[self.authors_at()..];
        std::iter::from_fn(move || {
            let (&[source, len], after) = rest.split_first_chunk()?;
            let (handle, after) = after.split_at_checked(usize::from(len))?;
            rest = after;
            Some((source, std::str::from_utf8(handle).ok()?))
        })
    }
}

/// The version of a timeline of either kind; the rest is not checked.
pub(crate) fn version_of(bytes: &[u8]) -> Option<u64> {
    let version = bytes.get(8..16).filter(|_| bytes[0] == FORMAT)?;
    Some(u64::from_le_bytes(version.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_read_back_as_written_and_anything_else_is_none() {
        let parts = Parts { age: 1, affinity: 65_535, popularity: 3 };
        let mut writer = Writer::new(Kind::Ranked, 7, 9, 2);
        let records =
            [Record::ranked(Ulid(u128::MAX), 1, parts), Record::ranked(Ulid(5), 0, Parts::default())];
        records.into_iter().for_each(|record| writer.record(record));
        writer.author(1, "alice");
        writer.author(3, "bob");
        let written = writer.finish();
        let bytes = written.bytes().clone();
        assert_eq!(bytes.len(), HEAD + 2 * RECORD + 7 + 5);
        let read = Timeline::read(bytes.clone(), Kind::Ranked).unwrap();
        assert_eq!((read.version(), read.follows_version(), read.len()), (7, 9, 2));
        assert!(read.records().eq(records));
        assert!(read.authors().eq([(1, "alice"), (3, "bob")]));
        assert_eq!(version_of(&bytes), Some(7));
        assert_eq!(read.records().next().unwrap().parts(), parts);
        assert_eq!(Record::chronological(Ulid(1), 0, 0x1234_5678).engagement(), 0x1234_5678);
        assert!(Timeline::read(bytes.clone(), Kind::Chronological).is_none());
        for cut in 0..bytes.len() {
            assert!(Timeline::read(bytes.slice(..cut), Kind::Ranked).is_none(), "cut at {cut}");
        }
        let mut beyond = bytes.to_vec();
        beyond[HEAD + 16] = 2;
        assert!(Timeline::read(beyond.into(), Kind::Ranked).is_none(), "an author who is not there");
    }
}
