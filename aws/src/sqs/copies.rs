//! Which members were sent anew as which message, so that an ack by the old receipt removes the new one: bounded, the
//! oldest forgotten first.

use std::collections::{HashMap, HashSet, VecDeque};

use super::packs::Part;

/// How many are remembered of each kind.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Copies {
    of: HashMap<(String, usize), String>,
    order: VecDeque<(String, usize)>,
    void: HashSet<String>,
    voids: VecDeque<String>,
    /// Members that were acked while they were on their way: each is taken out when it has arrived or failed to.
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

    /// A member is acked that is on its way.
    pub(super) fn acked_early(&mut self, part: &Part) {
        self.early.insert((part.id.clone(), part.index));
    }

    /// Whether a member that is on its way no more was acked meanwhile.
    pub(super) fn was_acked(&mut self, part: &Part) -> bool {
        self.early.remove(&(part.id.clone(), part.index))
    }

    /// An acked member's copy, which is void from now.
    pub(super) fn acked(&mut self, part: &Part) -> Option<String> {
        let copy = self.of.get(&(part.id.clone(), part.index))?.clone();
        self.void(copy.clone());
        Some(copy)
    }

    /// A copy that nobody is to see.
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
