//! A list of scored posts: what pages are taken from.

use std::cmp::Reverse;
use std::collections::VecDeque;

use ulid::Ulid;

use crate::format::{Kind, Record, Timeline, Writer};
use crate::name::Name;
use crate::rank::arrange;
use crate::weights::Parts;

/// One post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) post: Ulid,
    /// Index into the list's authors.
    pub(crate) author: u16,
    pub(crate) parts: Parts,
}

/// One of the authors of a list, or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) name: Name,
    /// The tag of the source that named it.
    pub(crate) source: u8,
}

/// Scored posts in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// The time that the scores are of, in milliseconds since 1970.
    pub(crate) computed_at: u64,
    /// The version of the reader's follows that it was made from.
    pub(crate) follows_version: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) authors: Vec<Author>,
}

impl Listing {
    /// The list that a ranked timeline holds.
    pub(crate) fn of(timeline: &Timeline) -> Self {
        let entry =
            |record: Record| Entry { post: record.post, author: record.author, parts: record.parts() };
        // Every name is valid: we wrote the timeline, and it was checked when it was read.
        let author = |(source, name): (u8, &str)| Some(Author { name: Name::parse(name)?, source });
        Self {
            computed_at: timeline.version(),
            follows_version: timeline.follows_version(),
            entries: timeline.records().map(entry).collect(),
            authors: timeline.authors().filter_map(author).collect(),
        }
    }

    /// The list as the cache keeps it for the next pages.
    pub(crate) fn write(&self) -> Timeline {
        let mut writer =
            Writer::new(Kind::Ranked, self.computed_at, self.follows_version, self.entries.len());
        for entry in &self.entries {
            writer.record(Record::ranked(entry.post, entry.author, entry.parts));
        }
        self.authors.iter().for_each(|author| writer.author(author.source, author.name.as_str()));
        writer.finish()
    }

    /// Adds an author; returns the index.
    pub(crate) fn add_author(&mut self, name: &Name, source: u8) -> u16 {
        self.authors.push(Author { name: name.clone(), source });
        u16::try_from(self.authors.len() - 1).expect("lists are shorter")
    }

    /// Sorts entries: best first, of equals the newer first, and at most `in_a_row` of one author in a row while
    /// another is left.
    pub(crate) fn arrange(&mut self, in_a_row: usize) {
        self.entries.sort_unstable_by_key(|entry| Reverse((entry.parts.score(), entry.post)));
        let ordered = std::mem::take(&mut self.entries);
        let author = |entry: Entry| entry.author;
        arrange(&ordered, author, in_a_row, &mut VecDeque::new(), |entries| {
            self.entries.extend_from_slice(entries);
        });
    }
}
