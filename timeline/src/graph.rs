//! What this process remembers of follows and author lists. People and groups have small numbers instead of names.
//!
//! All of it can be read again, from the cache or from the tables. So when it is full, it is cleared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use soundoff_common::model::posts::News;
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::name::{Name, group_of};
use crate::rings::{RINGS, Rings, ring_of};
use crate::shelf::{Listed, MAX_LISTED, Shelf, Slot};

/// How many of a user's newest follows lead to friends of friends.
pub(crate) const NEWEST_FOLLOWS: usize = 16;
/// The most bytes held, about; above that everything is forgotten.
const MAX_BYTES: usize = 1 << 30;
/// The bytes of a person beside their lists: the name, the map's entry, suggestions.
const PERSON_BYTES: usize = 280;

/// Whom somebody follows.
#[derive(Debug, Clone)]
pub(crate) struct Follows {
    /// The account's `follows_version` that this is the list of.
    pub(crate) version: u64,
    /// The newest follows, newest first.
    pub(crate) newest: Box<[Slot]>,
    /// All follows, sorted; `None` when only the newest were read.
    pub(crate) all: Option<Box<[Slot]>>,
    /// The groups that they are in, sorted; none when only the newest follows were read.
    pub(crate) groups: Box<[Slot]>,
}

impl Follows {
    /// From all follows, newest first, and all groups.
    pub(crate) fn whole(version: u64, slots: Vec<Slot>, mut groups: Vec<Slot>) -> Self {
        groups.sort_unstable();
        let newest = slots[..slots.len().min(NEWEST_FOLLOWS)].into();
        let mut all = slots;
        all.sort_unstable();
        all.dedup();
        Self { version, newest, all: Some(all.into()), groups: groups.into() }
    }

    fn bytes(&self) -> usize {
        64 + 4 * (self.newest.len() + self.all.as_ref().map_or(0, |all| all.len()) + self.groups.len())
    }
}

/// Authors whom a source has named, remembered for a while.
#[derive(Debug)]
struct Suggested {
    source: u8,
    /// The version of the user's own follows, and the time, in milliseconds since 1970.
    version: u64,
    at: u64,
    authors: Box<[Slot]>,
}

#[derive(Debug)]
struct Person {
    name: Name,
    /// When the follows were last seen to be the account's.
    checked_at: u64,
    follows: Option<Arc<Follows>>,
    suggested: Vec<Suggested>,
}

/// What decides whether an author's list must be read. Kept apart, because for most authors a computation needs nothing
/// else.
#[derive(Debug, Clone, Copy)]
struct Age {
    /// When the tables were read for the list, in milliseconds since 1970; 0: it must be read.
    read_at: u64,
    ring: u8,
}

/// An author's list as it was read.
#[derive(Debug)]
pub(crate) struct ListRead {
    pub(crate) author: Slot,
    /// Newest first.
    pub(crate) posts: Vec<Listed>,
    /// When the tables were read for it, in milliseconds since 1970.
    pub(crate) read_at: u64,
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    slots: HashMap<Handle, Slot>,
    groups: HashMap<Ulid, Slot>,
    people: Vec<Person>,
    ages: Vec<Age>,
    shelf: Shelf,
    /// The newest rings that were read: all their notes are in the lists.
    rings: Option<Rings>,
    /// For each ring a time: lists that were read before it may lack notes that the ring has lost.
    floors: [u64; RINGS],
    follow_bytes: usize,
}

impl Graph {
    /// The number of a person, a new one if they have none. Numbers are valid until [`Graph::make_room`] is called.
    pub(crate) fn slot(&mut self, handle: &Handle) -> Slot {
        if let Some(slot) = self.slots.get(handle) {
            return *slot;
        }
        let slot = self.add(Name::User(handle.clone()));
        self.slots.insert(handle.clone(), slot);
        slot
    }

    /// The number of a group or a person, likewise.
    pub(crate) fn slot_of(&mut self, name: &Name) -> Slot {
        let id = match name {
            Name::User(handle) => return self.slot(handle),
            Name::Group(id, _) => *id,
        };
        if let Some(slot) = self.groups.get(&id) {
            return *slot;
        }
        let slot = self.add(name.clone());
        self.groups.insert(id, slot);
        slot
    }

    fn add(&mut self, name: Name) -> Slot {
        let slot = Slot::try_from(self.people.len()).expect("memory ends before numbers do");
        let ring = u8::try_from(ring_of(name.as_str())).expect("there are fewer rings");
        self.people.push(Person { name, checked_at: 0, follows: None, suggested: Vec::new() });
        self.ages.push(Age { read_at: 0, ring });
        slot
    }

    pub(crate) fn known(&self, handle: &Handle) -> Option<Slot> {
        self.slots.get(handle).copied()
    }

    /// The number of a group or a person.
    pub(crate) fn known_as(&self, name: &Name) -> Option<Slot> {
        match name {
            Name::User(handle) => self.known(handle),
            Name::Group(id, _) => self.groups.get(id).copied(),
        }
    }

    pub(crate) fn name(&self, slot: Slot) -> &Name {
        &self.people[slot as usize].name
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// See [`Shelf::calibrate`].
    pub(crate) fn calibrate(&mut self, now_ms: u64) {
        self.shelf.calibrate(now_ms);
    }

    pub(crate) fn follows(&self, slot: Slot) -> Option<&Arc<Follows>> {
        self.people[slot as usize].follows.as_ref()
    }

    /// When the follows were last seen to be the account's, in milliseconds since 1970.
    pub(crate) fn follows_checked_at(&self, slot: Slot) -> u64 {
        self.people[slot as usize].checked_at
    }

    /// Stores the follows that were read at `at`, unless later ones are stored already.
    pub(crate) fn set_follows(&mut self, slot: Slot, follows: Arc<Follows>, at: u64) {
        let person = &mut self.people[slot as usize];
        if person.follows.as_ref().is_some_and(|known| known.version > follows.version) {
            return;
        }
        self.follow_bytes += follows.bytes();
        self.follow_bytes -= person.follows.as_ref().map_or(0, |follows| follows.bytes());
        person.follows = Some(follows);
        person.checked_at = person.checked_at.max(at);
    }

    /// Notes that the follows were still the account's at `at`.
    pub(crate) fn checked_follows(&mut self, slot: Slot, at: u64) {
        let person = &mut self.people[slot as usize];
        person.checked_at = person.checked_at.max(at);
    }

    /// The authors whom a source has named for a user, if it did so for these follows and later than `oldest`.
    pub(crate) fn suggested(&self, slot: Slot, source: u8, version: u64, oldest: u64) -> Option<&[Slot]> {
        let mut suggested = self.people[slot as usize].suggested.iter();
        let suggested = suggested.find(|suggested| suggested.source == source)?;
        (suggested.version == version && suggested.at > oldest).then_some(&*suggested.authors)
    }

    pub(crate) fn suggest(&mut self, slot: Slot, source: u8, version: u64, at: u64, authors: Vec<Slot>) {
        let suggested = &mut self.people[slot as usize].suggested;
        suggested.retain(|suggested| suggested.source != source);
        suggested.push(Suggested { source, version, at, authors: authors.into() });
    }

    /// Each of some people once.
    pub(crate) fn distinct(&self, people: impl Iterator<Item = Slot>) -> Vec<Slot> {
        let mut seen = vec![0_u64; self.people.len().div_ceil(64)];
        let is_new = |slot: &Slot| {
            let (word, bit) = (&mut seen[*slot as usize / 64], 1 << (slot % 64));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        };
        people.filter(is_new).collect()
    }

    /// The authors whose lists must be read: there is no list, it may lack notes that the rings have lost, or its
    /// counts are older than `oldest`.
    pub(crate) fn without_list(&self, authors: &[Slot], oldest: u64) -> Vec<Slot> {
        let floors = self.floors.map(|floor| floor.max(oldest).max(1));
        let must_be_read = |slot: &Slot| {
            let Age { read_at, ring } = self.ages[*slot as usize];
            read_at < floors[usize::from(ring)]
        };
        authors.iter().copied().filter(must_be_read).collect()
    }

    /// Whether the rings have all that has happened since an author's list was read.
    pub(crate) fn can_be_corrected(&self, author: Slot, read_at: u64, skew: u64) -> bool {
        let ring = usize::from(self.ages[author as usize].ring);
        let whole = self.rings.as_ref().map_or(0, |rings| rings.since(ring).saturating_add(skew));
        read_at >= whole.max(self.floors[ring])
    }

    /// Replaces lists that were read earlier. The new ones are corrected at once by the newest rings, which have all
    /// that has happened since a list was read.
    pub(crate) fn set_lists(&mut self, lists: &[ListRead], skew: u64) {
        let mut put = HashSet::new();
        let mut oldest = u64::MAX;
        for ListRead { author, posts, read_at } in lists {
            if *read_at < self.ages[*author as usize].read_at {
                continue;
            }
            // A list that cannot be corrected is good enough once: it was read after the caller's work began.
            let lasts = self.can_be_corrected(*author, *read_at, skew);
            self.ages[*author as usize].read_at = if lasts { *read_at } else { 0 };
            self.shelf.put(*author, posts);
            put.insert(*author);
            oldest = oldest.min(*read_at);
        }
        if let Some(rings) = self.rings.take() {
            self.put_in(&rings, oldest.saturating_sub(skew), |author| put.contains(&author));
            self.rings = Some(rings);
        }
    }

    /// Puts the rings' notes into all lists, unless newer rings were put in already. Lists that may lack notes which a
    /// ring has lost must be read again.
    pub(crate) fn correct(&mut self, rings: &Rings, skew: u64) {
        let right_at = self.rings.as_ref().map_or(0, |rings| rings.read_at);
        if rings.read_at <= right_at {
            return;
        }
        for (ring, floor) in self.floors.iter_mut().enumerate() {
            let whole = rings.since(ring).saturating_add(skew);
            if whole > right_at {
                *floor = whole.max(*floor);
            }
        }
        self.put_in(rings, right_at.saturating_sub(skew), |_| true);
        self.rings = Some(rings.clone());
    }

    /// Puts what was noted at `from` or later into the lists of the authors that `is_meant` accepts.
    fn put_in(&mut self, rings: &Rings, from: u64, is_meant: impl Fn(Slot) -> bool) {
        let notes: Vec<_> = rings.notes(from).collect();
        // A deletion may be noted before the post that it deletes: the deletion counts.
        let gone = notes.iter().filter(|note| note.2 == News::Deleted);
        let gone: HashSet<Ulid> = gone.map(|note| note.1).collect();
        for (author, post, _) in notes {
            let slot = match group_of(author) {
                None => self.slots.get(author),
                Some(group) => self.groups.get(&group),
            };
            if let Some(slot) = slot.copied()
                && is_meant(slot)
                && self.ages[slot as usize].read_at > 0
            {
                self.note(slot, post, gone.contains(&post));
            }
        }
    }

    fn note(&mut self, slot: Slot, post: Ulid, gone: bool) {
        let mut listed: Vec<Listed> =
            (0..self.shelf.len(slot)).filter_map(|at| self.shelf.get(slot, at)).collect();
        match (listed.binary_search_by(|known| post.cmp(&known.id)), gone) {
            (Ok(at), true) => {
                if listed.len() == MAX_LISTED {
                    // Another post moves up, and only the tables know which.
                    self.ages[slot as usize].read_at = 0;
                }
                listed.remove(at);
            }
            (Err(at), false) => listed.insert(at, Listed { id: post, engagement: 0 }),
            _ => return,
        }
        listed.truncate(MAX_LISTED);
        self.shelf.put(slot, &listed);
    }

    fn bytes(&self) -> usize {
        self.people.len() * PERSON_BYTES + self.follow_bytes + self.shelf.bytes()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes() > MAX_BYTES
    }

    /// Forgets everything when there is too much. Numbers from before are invalid then.
    pub(crate) fn make_room(&mut self) {
        if self.is_full() {
            tracing::info!(
                bytes = self.bytes(),
                "the memory of follows and author lists is full and is cleared"
            );
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn ids(graph: &Graph, slot: Slot) -> Vec<u128> {
        (0..graph.shelf.len(slot)).map(|at| graph.shelf.get(slot, at).unwrap().id.0).collect()
    }

    fn read(author: Slot, posts: impl IntoIterator<Item = u128>, read_at: u64) -> [ListRead; 1] {
        let listed = |id| Listed { id: Ulid(id), engagement: 0 };
        [ListRead { author, posts: posts.into_iter().map(listed).collect(), read_at }]
    }

    fn has_list(graph: &Graph, author: Slot, oldest: u64) -> bool {
        graph.without_list(&[author], oldest).is_empty()
    }

    #[test]
    fn notes_correct_lists_and_a_full_list_that_lost_a_post_is_read_again() {
        let mut graph = Graph::default();
        let alice = graph.slot(&"alice".parse().unwrap());
        let created = |post, at| ("alice", post, News::Created, at);
        let deleted = |post, at| ("alice", post, News::Deleted, at);
        graph.set_lists(&read(alice, [5, 3], 10 * MINUTE), 0);
        assert!(has_list(&graph, alice, 10 * MINUTE));
        assert!(!has_list(&graph, alice, 11 * MINUTE), "its counts are too old");
        let rings =
            [created(1, MINUTE), deleted(7, 11 * MINUTE), created(6, 11 * MINUTE), created(7, 11 * MINUTE)];
        graph.correct(&Rings::of(9 * MINUTE, &[]), 0);
        graph.correct(&Rings::of(12 * MINUTE, &rings), 0);
        assert_eq!(
            ids(&graph, alice),
            [6, 5, 3],
            "7 is gone, in whatever order the notes came; 1 is older than the list"
        );
        graph.correct(&Rings::of(13 * MINUTE, &[deleted(5, 12 * MINUTE)]), 0);
        assert_eq!(ids(&graph, alice), [6, 3]);
        assert!(has_list(&graph, alice, 10 * MINUTE), "it is still complete");

        graph.set_lists(&read(alice, (100..200).rev(), 14 * MINUTE), 0);
        graph.correct(&Rings::of(15 * MINUTE, &[created(200, 14 * MINUTE)]), 0);
        assert_eq!((ids(&graph, alice)[0], ids(&graph, alice).len()), (200, 100));
        assert!(has_list(&graph, alice, 0));
        graph.correct(&Rings::of(16 * MINUTE, &[deleted(150, 15 * MINUTE)]), 0);
        assert!(!has_list(&graph, alice, 0), "the tables know which one moves up");
    }

    #[test]
    fn newer_lists_and_follows_are_not_overwritten() {
        let mut graph = Graph::default();
        let alice = graph.slot(&"alice".parse().unwrap());
        graph.set_lists(&read(alice, [5], 10 * MINUTE), 0);
        let older = [("alice", 5, News::Created, 12 * MINUTE - 3)];
        let newer = [older[0], ("alice", 5, News::Deleted, 12 * MINUTE - 1)];
        graph.correct(&Rings::of(12 * MINUTE, &newer), 0);
        graph.set_lists(&read(alice, [5, 4], 11 * MINUTE), 0);
        assert_eq!(ids(&graph, alice), [4], "a slow read gets what has happened since");
        graph.set_lists(&read(alice, [5], 10 * MINUTE), 0);
        assert_eq!(ids(&graph, alice), [4], "an earlier read");
        graph.correct(&Rings::of(12 * MINUTE - 2, &older), 0);
        assert_eq!(ids(&graph, alice), [4], "earlier rings");
        graph.set_lists(&read(alice, [6], 13 * MINUTE), 0);
        assert_eq!(ids(&graph, alice), [6]);

        let follows = |version, slots| Arc::new(Follows::whole(version, slots, Vec::new()));
        graph.set_follows(alice, follows(3, vec![7]), MINUTE);
        graph.set_follows(alice, follows(2, vec![8, 9]), MINUTE);
        assert_eq!(graph.follows(alice).unwrap().newest[..], [7], "earlier");
        graph.set_follows(alice, follows(4, vec![8, 9]), MINUTE);
        assert_eq!(graph.follows(alice).unwrap().newest[..], [8, 9]);
    }

    #[test]
    fn lists_from_before_a_ring_lost_notes_are_read_again() {
        let mut graph = Graph::default();
        let [alice, bob] = ["alice", "bob"].map(|name| graph.slot(&name.parse().unwrap()));
        assert_ne!(ring_of("alice"), ring_of("bob"));
        assert!(!has_list(&graph, alice, 0), "never read");
        graph.correct(&Rings::of(10 * MINUTE, &[]), 0);
        graph.set_lists(&read(alice, [], 10 * MINUTE), 0);
        graph.set_lists(&read(bob, [], 10 * MINUTE), 0);
        assert!(has_list(&graph, alice, 0) && has_list(&graph, bob, 0));
        let lost = |since| Rings::of(since + MINUTE, &[]).complete_since(ring_of("alice"), since);
        graph.correct(&lost(10 * MINUTE), 0);
        assert!(has_list(&graph, alice, 0), "lost it before the lists were read");
        graph.correct(&lost(12 * MINUTE), 0);
        assert!(!has_list(&graph, alice, 0) && has_list(&graph, bob, 0));
        assert!(!graph.can_be_corrected(alice, 12 * MINUTE - 1, 0));
        assert!(graph.can_be_corrected(alice, 12 * MINUTE, 0));
        graph.set_lists(&read(alice, [3], 12 * MINUTE + 5), 6);
        assert_eq!(ids(&graph, alice), [3], "good enough for the caller");
        assert!(!has_list(&graph, alice, 0), "clocks differ: others must read it again");
        graph.set_lists(&read(alice, [3], 12 * MINUTE + 6), 6);
        assert!(has_list(&graph, alice, 0));
    }

    #[test]
    fn suggestions_hold_for_the_follows_they_were_made_from_and_for_a_while() {
        let mut graph = Graph::default();
        let alice = graph.slot(&"alice".parse().unwrap());
        assert_eq!(graph.suggested(alice, 3, 1, 0), None);
        graph.suggest(alice, 3, 1, MINUTE, vec![7]);
        graph.suggest(alice, 4, 1, MINUTE, vec![8]);
        assert_eq!(graph.suggested(alice, 3, 1, MINUTE - 1), Some(&[7][..]));
        assert_eq!(graph.suggested(alice, 4, 1, MINUTE - 1), Some(&[8][..]));
        assert_eq!(graph.suggested(alice, 3, 2, MINUTE - 1), None, "other follows");
        assert_eq!(graph.suggested(alice, 3, 1, MINUTE), None, "too old");
        graph.suggest(alice, 3, 2, 2 * MINUTE, vec![9]);
        assert_eq!(graph.suggested(alice, 3, 2, MINUTE), Some(&[9][..]));
        assert_eq!(graph.distinct([alice, 0, 0, alice].into_iter()), [alice]);
    }
}
