//! Remembers which members were sent again as which message (the *copy*), so that an ack by the old receipt removes the
//! copy. Bounded: the oldest are discarded first.

use std::collections::{HashMap, HashSet, VecDeque};

use super::part::Part;

/// How many entries of each kind are remembered.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Copies {
    of: HashMap<(String, usize), String>,
    order: VecDeque<(String, usize)>,
    void: HashSet<String>,
    voids: VecDeque<String>,
    /// Members that were acked while they were being sent again: each is removed when that has succeeded or failed.
    early: HashSet<(String, usize)>,
}

impl Copies {
    pub(super) fn made(&mut self, part: &Part, copy: String) {
        let key = (part.id.clone(), part.index);
        self.order.push_back(key.clone());
        self.of.insert(key, copy);
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.of.remove(&oldest);
            }
        }
    }

    /// Records that a member was acked while it is being sent again.
    pub(super) fn acked_early(&mut self, part: &Part) {
        self.early.insert((part.id.clone(), part.index));
    }

    /// Whether a member was acked while it was being sent again.
    pub(super) fn was_acked(&mut self, part: &Part) -> bool {
        self.early.remove(&(part.id.clone(), part.index))
    }

    /// The copy of an acked member; it is void from now on.
    pub(super) fn acked(&mut self, part: &Part) -> Option<String> {
        let copy = self.of.get(&(part.id.clone(), part.index))?.clone();
        self.void(copy.clone());
        Some(copy)
    }

    /// Marks a copy as void: it must not be handed out.
    pub(super) fn void(&mut self, copy: String) {
        if self.void.insert(copy.clone()) {
            self.voids.push_back(copy);
        }
        while self.voids.len() > MOST {
            if let Some(oldest) = self.voids.pop_front() {
                self.void.remove(&oldest);
            }
        }
    }

    pub(super) fn is_void(&self, id: &str) -> bool {
        self.void.contains(id)
    }
}
