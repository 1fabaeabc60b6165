//! A list of scored posts: what a page is cut from.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::affinities::Affinities;
use crate::format::{Kind, Record, Timeline, Writer};
use crate::rank::{RankScratch, Rankable, Ranked, arrange, rank};
use crate::weights::{Parts, Scorer};

/// One post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) post: Ulid,
    /// Index into the list's authors.
    pub(crate) author: u16,
    pub(crate) parts: Parts,
}

/// Whose posts a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) handle: Handle,
    /// The tag of the source that named them.
    pub(crate) source: u8,
}

/// Scored posts in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// As of when the scores are, in milliseconds since 1970.
    pub(crate) computed_at: u64,
    /// Which follows of the reader it is of.
    pub(crate) follows_version: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) authors: Vec<Author>,
}

impl Listing {
    /// The list that a ranked timeline holds.
    pub(crate) fn of(timeline: &Timeline) -> Self {
        let entry =
            |record: Record| Entry { post: record.post, author: record.author, parts: record.parts() };
        // What is no handle cannot be: the timeline was written by us and looked through when it was read.
        let author = |(source, handle): (u8, &str)| Some(Author { handle: handle.parse().ok()?, source });
        Self {
            computed_at: timeline.version(),
            follows_version: timeline.follows_version(),
            entries: timeline.records().map(entry).collect(),
            authors: timeline.authors().filter_map(author).collect(),
        }
    }

    /// The list as it is kept for its next pages.
    pub(crate) fn write(&self) -> Timeline {
        let mut writer =
            Writer::new(Kind::Ranked, self.computed_at, self.follows_version, self.entries.len());
        for entry in &self.entries {
            writer.record(Record::ranked(entry.post, entry.author, entry.parts));
        }
        self.authors.iter().for_each(|author| writer.author(author.source, author.handle.as_str()));
        writer.finish()
    }

    /// Adds an author; answers the index.
    pub(crate) fn add_author(&mut self, handle: &Handle, source: u8) -> u16 {
        self.authors.push(Author { handle: handle.clone(), source });
        u16::try_from(self.authors.len() - 1).expect("lists are shorter")
    }

    /// Best first, the newer first of equals, and no more than `in_a_row` of one author in a row as long as there is another.
    pub(crate) fn arrange(&mut self, in_a_row: usize) {
        self.entries.sort_unstable_by_key(|entry| Reverse((entry.parts.score(), entry.post)));
        let ordered = std::mem::take(&mut self.entries);
        let author = |entry: Entry| entry.author;
        arrange(&ordered, author, in_a_row, &mut VecDeque::new(), |entries| {
            self.entries.extend_from_slice(entries);
        });
    }
}

/// What ranking a chronological timeline needs, reusable.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    items: Vec<Rankable>,
    ranked: Vec<Ranked>,
    scratch: RankScratch,
}

impl Ranking {
    /// Ranks a chronological timeline as of its version; answers each record's index and parts, best first.
    pub(crate) fn rank(
        &mut self,
        timeline: &Timeline,
        affinities: &Affinities,
        scorer: &Scorer,
        in_a_row: usize,
    ) -> &[Ranked] {
        let affinity = |(_, author): (u8, &str)| affinities.get(author).copied().unwrap_or(0);
        let by_author: Vec<u32> = if affinities.is_empty() {
            vec![0; usize::from(u16::MAX).min(timeline.len())]
        } else {
            timeline.authors().map(affinity).collect()
        };
        self.items.clear();
        self.items.extend(timeline.records().map(|record| Rankable {
            created_ms: record.post.timestamp_ms(),
            author: record.author,
            engagement: record.engagement(),
            affinity: by_author[usize::from(record.author)],
        }));
        rank(&self.items, timeline.version(), scorer, in_a_row, &mut self.scratch, &mut self.ranked);
        &self.ranked
    }

    /// The ranked timeline of a chronological one.
    pub(crate) fn ranked(
        &mut self,
        timeline: &Timeline,
        affinities: &Affinities,
        scorer: &Scorer,
        in_a_row: usize,
    ) -> Timeline {
        let mut writer =
            Writer::new(Kind::Ranked, timeline.version(), timeline.follows_version(), timeline.len());
        let posts: Vec<Record> = timeline.records().collect();
        for Ranked { index, parts } in self.rank(timeline, affinities, scorer, in_a_row) {
            let Record { post, author, .. } = posts[usize::from(*index)];
            writer.record(Record::ranked(post, author, *parts));
        }
        writer.authors_of(timeline);
        writer.finish()
    }
}

/// Scores a chronological timeline and leaves it in its order.
pub(crate) fn scored(timeline: &Timeline, affinities: &Affinities, scorer: &Scorer) -> Listing {
    let mut ranking = Ranking::default();
    let ranked = ranking.rank(timeline, affinities, scorer, usize::MAX);
    let parts: HashMap<u16, Parts> = ranked.iter().map(|ranked| (ranked.index, ranked.parts)).collect();
    let entries = timeline.records().zip(0..).map(|(record, index)| Entry {
        post: record.post,
        author: record.author,
        parts: parts[&index],
    });
    Listing { entries: entries.collect(), ..Listing::of(timeline) }
}
