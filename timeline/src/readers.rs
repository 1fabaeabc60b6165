//! Users, and the authors whose posts are their candidates.

use std::sync::Arc;

use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::telemetry::Metrics;

use crate::follow_lists::{FollowLists, Wanted};
use crate::graph::{Follows, Graph};
use crate::measure::stage;
use crate::memory::Memory;
use crate::shelf::{Listed, MAX_LISTED, Shelf, Slot};
use crate::sources::{SOURCES, Source};

/// A user and whom they read.
pub(crate) struct Reader {
    pub(crate) slot: Slot,
    pub(crate) follows_version: u64,
    /// How many authors, the first ones, have all their listed posts as candidates.
    pub(crate) whole: usize,
    pub(crate) authors: Vec<Slot>,
    /// The tag of the source that named each author.
    pub(crate) sources: Vec<u8>,
    /// How many posts of each other author are candidates.
    newest: Vec<usize>,
}

impl Reader {
    /// The authors of all sources, for a user with these follows. Suggestions are no older than `oldest`.
    fn new(graph: &Graph, slot: Slot, follows: &Follows, oldest: u64) -> Self {
        let (mut authors, mut sources, mut newest) = (Vec::new(), Vec::new(), Vec::new());
        let mut named = |source: &Source| {
            match graph.suggested(slot, source.tag, follows.version, oldest) {
                Some(suggested) => authors.extend_from_slice(suggested),
                None => (source.authors)(graph, slot, follows, &mut authors),
            }
            sources.resize(authors.len(), source.tag);
            authors.len()
        };
        let takes_all = |source: &&Source| source.newest >= MAX_LISTED;
        let whole = SOURCES.iter().filter(takes_all).map(&mut named).last().unwrap_or(0);
        for source in SOURCES.iter().filter(|source| !takes_all(source)) {
            newest.resize(named(source) - whole, source.newest);
        }
        Self { slot, follows_version: follows.version, whole, authors, sources, newest }
    }

    /// Adds the posts of the authors who have only a few posts as candidates.
    pub(crate) fn add_few(&self, shelf: &Shelf, picks: &mut Vec<(Listed, usize)>) {
        for (author, newest) in (self.whole..).zip(&self.newest) {
            let listed = (0..*newest).map_while(|position| shelf.get(self.authors[author], position));
            picks.extend(listed.map(|listed| (listed, author)));
        }
    }
}

/// Finds out whom users read.
pub(crate) struct Readers {
    memory: Arc<Memory>,
    follows: FollowLists,
    metrics: Metrics,
}

impl Readers {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> Self {
        let follows = FollowLists::new(memory, world);
        Self { memory: memory.clone(), follows, metrics: world.metrics.clone() }
    }

    /// The users with their sources' authors, from follows that are as their accounts say. The caller keeps the
    /// numbers.
    pub(crate) async fn of(&self, wanted: &[Wanted], started: u64) -> Result<Vec<Reader>, Failure> {
        let _time = stage(&self.metrics, "follows");
        let all_follows = self.follows.know(wanted, started).await?;
        let users: Vec<(Slot, Arc<Follows>)> = {
            let graph = self.memory.graph();
            let users = wanted.iter().zip(all_follows);
            users.filter_map(|((user, _), follows)| Some((graph.known(user)?, follows))).collect()
        };
        let oldest = started.saturating_sub(self.memory.hints_age_ms);
        for source in SOURCES {
            if let Some(whom) = source.hints {
                self.know_suggested(source, whom, &users, (started, oldest)).await?;
            }
        }
        let graph = self.memory.graph();
        Ok(users.iter().map(|(slot, follows)| Reader::new(&graph, *slot, follows, oldest)).collect())
    }

    /// Brings the authors whom a source of hints names for some users into the memory, where what is there is not newer
    /// than `oldest`.
    async fn know_suggested(
        &self,
        source: &Source,
        whom: fn(&Follows) -> &[Slot],
        users: &[(Slot, Arc<Follows>)],
        (started, oldest): (u64, u64),
    ) -> Result<(), Failure> {
        let (stale, friends) = {
            let graph: &Graph = &self.memory.graph();
            let is_stale = |(slot, follows): &&(Slot, Arc<Follows>)| {
                graph.suggested(*slot, source.tag, follows.version, oldest).is_none()
            };
            let stale: Vec<_> = users.iter().filter(is_stale).collect();
            let friends = graph.distinct(stale.iter().flat_map(|(_, follows)| whom(follows)).copied());
            (stale, friends)
        };
        if stale.is_empty() {
            return Ok(());
        }
        self.follows.know_newest(&friends, started).await?;
        let mut graph = self.memory.graph_mut();
        for (slot, follows) in stale {
            let mut authors = Vec::new();
            (source.authors)(&graph, *slot, follows, &mut authors);
            graph.suggest(*slot, source.tag, follows.version, started, authors);
        }
        Ok(())
    }
}
