//! What goes together in one request: bodies in packs, and whose each pack is.
//!
//! SQS calls the user of a message its group. On a standard queue it prefers groups that are quiet to one that has much
//! in flight, and a message without a group is like a group of its own. A pack of one user's bodies names that user; one
//! of several users' has no group. So who sends much of what gathers has packs of their own, and the others share packs
//! that wait for nobody's backlog.

use std::collections::HashMap;

use soundoff_common::ports::queues::QueueError;
use soundoff_common::protocol::Handle;
use tokio::sync::oneshot;

use super::wire::{self, CHUNK};

/// How many bytes of bodies one request carries, so that they are 256 KiB with their headers; a single message may be
/// larger, see [`wire`].
const REQUEST: usize = 255 * 1024;
/// The bytes of a pack's header before its lengths, rounded up.
const HEADER: usize = 64;
/// Who sends more than one of so many parts of a request has packs of their own.
const MUCH: usize = 4;
/// But not for fewer bodies than this.
const FEW: usize = 4;
/// The group of what is nobody's; no user can be called so.
const NOBODY: &str = "-";

type Answer = oneshot::Sender<Result<(), QueueError>>;

/// A body that waits to be sent.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) body: String,
    pub(super) user: Option<Handle>,
    pub(super) answer: Answer,
}

/// Bodies in one message.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) members: Vec<Waiting>,
    /// Whose all of them are; `None` when they are several users'.
    pub(super) group: Option<String>,
}

/// The bodies of one request.
#[derive(Debug, Default)]
pub(super) struct Request {
    members: Vec<Waiting>,
    bytes: usize,
}

impl Request {
    /// Whether one more body of this weight goes with the others.
    pub(super) fn has_room(&self, weight: usize) -> bool {
        self.members.is_empty() || self.bytes + weight <= REQUEST
    }

    pub(super) fn add(&mut self, waiting: Waiting) {
        self.bytes += wire::weight(&waiting.body);
        self.members.push(waiting);
    }

    /// Packs the bodies.
    pub(super) fn packs(self) -> Vec<Pack> {
        let mut counts: HashMap<Option<&Handle>, usize> = HashMap::new();
        for waiting in &self.members {
            *counts.entry(waiting.user.as_ref()).or_default() += 1;
        }
        let least = FEW.max(self.members.len() / MUCH + 1);
        let much: Vec<_> = counts.into_iter().filter(|(_, count)| *count >= least).collect();
        let much: Vec<Option<Handle>> = much.into_iter().map(|(user, _)| user.cloned()).collect();
        let mut lines: Vec<Vec<Waiting>> = (0..=much.len()).map(|_| Vec::new()).collect();
        for waiting in self.members {
            // The last line is everybody else's.
            let line = much.iter().position(|user| *user == waiting.user).unwrap_or(much.len());
            lines[line].push(waiting);
        }
        lines.into_iter().flat_map(packed).collect()
    }
}

/// Bodies in as few packs as their order allows.
fn packed(members: Vec<Waiting>) -> Vec<Pack> {
    let (mut packs, mut open, mut filled) = (Vec::new(), Vec::new(), HEADER);
    for waiting in members {
        let weight = wire::weight(&waiting.body);
        if !open.is_empty() && filled + weight > CHUNK {
            packs.push(Pack::of(std::mem::take(&mut open)));
            filled = HEADER;
        }
        filled += weight;
        open.push(waiting);
    }
    if !open.is_empty() {
        packs.push(Pack::of(open));
    }
    packs
}

impl Pack {
    fn of(members: Vec<Waiting>) -> Self {
        let first = members.first().and_then(|first| first.user.as_ref());
        let is_one = members.iter().all(|waiting| waiting.user.as_ref() == first);
        let group = is_one.then(|| first.map_or(NOBODY, Handle::as_str).to_owned());
        Self { members, group }
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::queues::MAX_BODY_BYTES;

    use super::*;

    fn waiting(user: Option<&str>, body: String) -> Waiting {
        Waiting { body, user: user.map(|user| user.parse().unwrap()), answer: oneshot::channel().0 }
    }

    /// What goes into one request, as group and number of members of each pack.
    fn packs(
        bodies: impl IntoIterator<Item = (Option<&'static str>, usize)>,
    ) -> Vec<(Option<String>, usize)> {
        let mut request = Request::default();
        for (user, bytes) in bodies {
            if !request.has_room(bytes) {
                break;
            }
            request.add(waiting(user, "x".repeat(bytes)));
        }
        let packs = request.packs();
        assert!(packs.iter().all(|pack| {
            let weights: usize = pack.members.iter().map(|member| wire::weight(&member.body)).sum();
            pack.members.len() == 1 || weights + HEADER <= CHUNK
        }));
        let mut found: Vec<_> = packs.into_iter().map(|pack| (pack.group, pack.members.len())).collect();
        found.sort();
        found
    }

    #[test]
    fn who_sends_much_has_packs_of_their_own() {
        let greedy = (0..90).map(|_| (Some("greedy"), 200));
        let others = ["ann", "bob", "eve"].map(|user| (Some(user), 200));
        assert_eq!(packs(greedy.chain(others)), [(None, 3), (Some("greedy".to_owned()), 90)]);
        assert_eq!(packs([(Some("ann"), 200)]), [(Some("ann".to_owned()), 1)]);
        assert_eq!(packs([(None, 200), (None, 200)]), [(Some("-".to_owned()), 2)]);
        let few = [(Some("ann"), 9), (Some("ann"), 9), (Some("bob"), 9)];
        assert_eq!(packs(few), [(None, 3)], "a pack more for so little is not worth it");
        let crowd = ["ann", "bob", "eve", "fred", "gina"].iter().cycle().take(50);
        assert_eq!(packs(crowd.map(|user| (Some(*user), 9))), [(None, 50)], "nobody sends much");
    }

    #[test]
    fn packs_and_requests_are_bounded() {
        let found = packs((0..9).map(|n| (Some(if n % 2 == 0 { "ann" } else { "bob" }), 40_000)));
        assert_eq!(found.iter().map(|(_, count)| count).sum::<usize>(), 6, "{found:?}");
        assert_eq!(packs([(Some("ann"), MAX_BODY_BYTES), (Some("ann"), 9)]), [(Some("ann".to_owned()), 1)]);
    }
}
