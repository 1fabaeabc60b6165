//! The places of sockets that have not said `hello`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use soundoff_common::lock::lock;
use soundoff_common::web::address::household;

use crate::connection::Connection;

/// A socket, and the household that it comes from, if that is known.
type Waiting = (Option<IpAddr>, Arc<Connection>);

/// Sockets that may not have said `hello` yet, oldest first. They can never fill an edge: from some number on, the
/// oldest of the addresses that have the most of them must go.
#[derive(Debug)]
pub(crate) struct Lobby {
    waiting: Mutex<VecDeque<Waiting>>,
    share: usize,
}

impl Lobby {
    /// For an edge with `max_sockets` places. While no more than a sixteenth of them is taken by sockets without
    /// `hello`, nobody must go; they never take more than twice that.
    pub(crate) fn new(max_sockets: usize) -> Self {
        let share = (max_sockets / 16).max(8).min(max_sockets / 4).max(1);
        Self { waiting: Mutex::default(), share }
    }

    /// Lets a new socket wait here; returns those that must go.
    pub(crate) fn enter(&self, connection: Arc<Connection>, from: Option<IpAddr>) -> Vec<Arc<Connection>> {
        let mut waiting = lock(&self.waiting);
        waiting.push_back((from.map(household), connection));
        if waiting.len() <= 2 * self.share {
            return Vec::new();
        }
        // Not with each new socket: looking through all of them is paid by at least half as many.
        waiting.retain(|(_, connection)| connection.is_silent());
        let mut gone = Vec::new();
        if waiting.len() > self.share {
            let mut places = places(&waiting, self.share);
            let mut kept = VecDeque::with_capacity(self.share);
            while let Some((from, connection)) = waiting.pop_back() {
                let left = places.get_mut(&from).filter(|left| **left > 0);
                match left {
                    Some(left) => {
                        *left -= 1;
                        kept.push_front((from, connection));
                    }
                    None => gone.push(connection),
                }
            }
            *waiting = kept;
        }
        gone
    }

    /// Forgets sockets that have said `hello`, or are gone.
    pub(crate) fn tidy(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(_, connection)| connection.is_silent());
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
    }
}

/// How many of `share` places each household gets: all that it wants, as long as no other one has fewer.
fn places(waiting: &VecDeque<Waiting>, share: usize) -> HashMap<Option<IpAddr>, usize> {
    let mut places: HashMap<Option<IpAddr>, usize> = HashMap::new();
    waiting.iter().for_each(|(from, _)| *places.entry(*from).or_default() += 1);
    let mut smallest_first: Vec<&mut usize> = places.values_mut().collect();
    smallest_first.sort_unstable();
    let (mut left, count) = (share, smallest_first.len());
    for (at, wanted) in smallest_first.into_iter().enumerate() {
        *wanted = (*wanted).min(left.div_ceil(count - at));
        left -= *wanted;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(id: u64) -> Arc<Connection> {
        Arc::new(Connection::new(id, 0, Arc::default()))
    }

    fn address(n: u8) -> Option<IpAddr> {
        Some([192, 0, 2, n].into())
    }

    #[test]
    fn the_oldest_of_those_with_the_most_must_go() {
        let lobby = Lobby::new(160);
        let mut gone = Vec::new();
        let mut enter = |from: Option<IpAddr>, id| gone.extend(lobby.enter(socket(id), from));
        for id in 0..3 {
            enter(address(1), id);
        }
        for id in 10..100 {
            enter(address(2), id);
        }
        for id in 3..5 {
            enter(address(1), id);
        }
        let mut ids: Vec<u64> = gone.iter().map(|connection| connection.id).collect();
        assert!(ids.iter().all(|id| *id >= 10), "those of one with few may stay: {ids:?}");
        ids.sort_unstable();
        assert_eq!(ids, (10..10 + ids.len() as u64).collect::<Vec<_>>(), "the oldest go");
        assert!(lock(&lobby.waiting).len() <= 20);
    }

    #[test]
    fn places_are_shared_so_that_who_wants_few_gets_them() {
        let of = |counts: &[usize], share| {
            let all = counts.iter().zip(1..).flat_map(|(count, n)| std::iter::repeat_n(address(n), *count));
            let waiting = all.map(|from| (from, socket(0))).collect();
            let places = places(&waiting, share);
            (1..).take(counts.len()).map(|n| places[&address(n)]).collect::<Vec<_>>()
        };
        assert_eq!(of(&[100], 10), [10]);
        assert_eq!(of(&[100, 3], 10), [7, 3]);
        assert_eq!(of(&[100, 3, 100], 11), [4, 3, 4]);
        assert_eq!(of(&[1; 20], 5).iter().sum::<usize>(), 5);
    }
}
