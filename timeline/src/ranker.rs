//! From a chronological timeline to a ranked one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::affinities::Affinities;
use crate::format::{Kind, Record, Timeline, Writer};
use crate::listing::{Entry, Listing};
use crate::rank::{RankScratch, Rankable, Ranked, rank};
use crate::weights::{Parts, Scorer, Weights};

/// Ranks by the weights that operators have chosen. One for each process: its tables take some time to make.
pub(crate) struct Ranker {
    pub(crate) scorer: Scorer,
    /// How many items of one author may follow each other.
    pub(crate) in_a_row: usize,
}

/// What ranking needs, reusable.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    items: Vec<Rankable>,
    ranked: Vec<Ranked>,
    rank: RankScratch,
}

impl Ranker {
    pub(crate) fn new(weights: &Weights) -> Arc<Self> {
        Arc::new(Self { scorer: Scorer::new(weights), in_a_row: weights.in_a_row })
    }

    /// The ranked timeline of a chronological one.
    pub(crate) fn ranked(
        &self,
        timeline: &Timeline,
        affinities: &Affinities,
        scratch: &mut Scratch,
    ) -> Timeline {
        let mut writer =
            Writer::new(Kind::Ranked, timeline.version(), timeline.follows_version(), timeline.len());
        let posts: Vec<Record> = timeline.records().collect();
        for Ranked { index, parts } in self.rank(timeline, affinities, self.in_a_row, scratch) {
            let Record { post, author, .. } = posts[usize::from(*index)];
            writer.record(Record::ranked(post, author, *parts));
        }
        writer.authors_of(timeline);
        writer.finish()
    }

    /// Scores a chronological timeline and leaves it in its order.
    pub(crate) fn scored(&self, timeline: &Timeline, affinities: &Affinities) -> Listing {
        let mut scratch = Scratch::default();
        let ranked = self.rank(timeline, affinities, usize::MAX, &mut scratch);
        let parts: HashMap<u16, Parts> = ranked.iter().map(|ranked| (ranked.index, ranked.parts)).collect();
        let entries = timeline.records().zip(0..).map(|(record, index)| Entry {
            post: record.post,
            author: record.author,
            parts: parts[&index],
        });
        Listing { entries: entries.collect(), ..Listing::of(timeline) }
    }

    /// Ranks a chronological timeline as of its version; returns each record's index and parts, best first.
    fn rank<'s>(
        &self,
        timeline: &Timeline,
        affinities: &Affinities,
        in_a_row: usize,
        scratch: &'s mut Scratch,
    ) -> &'s [Ranked] {
        let affinity = |(_, author): (u8, &str)| affinities.get(author).copied().unwrap_or(0);
        let by_author: Vec<u32> = if affinities.is_empty() {
            vec![0; usize::from(u16::MAX).min(timeline.len())]
        } else {
            timeline.authors().map(affinity).collect()
        };
        let Scratch { items, ranked, rank: scratch } = scratch;
        items.clear();
        items.extend(timeline.records().map(|record| Rankable {
            created_ms: record.post.timestamp_ms(),
            author: record.author,
            engagement: record.engagement(),
            affinity: by_author[usize::from(record.author)],
        }));
        rank(items, timeline.version(), &self.scorer, in_a_row, scratch, ranked);
        ranked
    }
}
