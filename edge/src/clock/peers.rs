//! The rows of other processes, as they are seen to change. Without I/O.

use std::collections::{HashMap, VecDeque};

use super::moment::difference;

/// How long after its last change a row counts as a live process's, in milliseconds.
const FRESH_MS: u64 = 10_000;
/// After how long without a change a row is taken away, in milliseconds.
const GONE_MS: u64 = 600_000;
/// Of how many changes the wall clock of another is estimated.
const SAMPLES: usize = 8;

/// What a process says of itself.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its range key.
    pub(super) sk: String,
    /// Rises with every change.
    pub(super) n: u64,
    /// Its wall clock at the change, in milliseconds since 1970.
    pub(super) wall: u64,
    /// The time of its mids at the change, in milliseconds since 1970.
    pub(super) time: u64,
}

/// A row as it was seen to change. Times are relative to this process's steady clock, so that setting the wall clock
/// changes nothing here.
#[derive(Debug)]
struct Peer {
    n: u64,
    looked: u64,
    changed: u64,
    walls: VecDeque<i64>,
    time: i64,
}

/// The other processes.
#[derive(Debug, Default)]
pub(super) struct Peers {
    seen: HashMap<String, Peer>,
    has_looked: bool,
}

impl Peers {
    /// Takes in all rows as they were read at `steady`. A row tells something only when it is new or has changed since
    /// the last look: how old the others are, nobody knows.
    pub(super) fn look(&mut self, rows: &[Row], steady: u64) {
        for row in rows {
            let unknown = Peer { n: row.n, looked: steady, changed: steady, walls: VecDeque::new(), time: i64::MIN };
            let is_new = self.has_looked && !self.seen.contains_key(&row.sk);
            let peer = self.seen.entry(row.sk.clone()).or_insert(unknown);
            peer.looked = steady;
            if is_new || peer.n != row.n {
                (peer.n, peer.changed) = (row.n, steady);
                // What was read is some moments old, so each of these is too low, and the highest is the nearest.
                peer.time = peer.time.max(difference(row.time, steady));
                peer.walls.push_back(difference(row.wall, steady));
                if peer.walls.len() > SAMPLES {
                    peer.walls.pop_front();
                }
            }
        }
        self.has_looked = true;
        self.seen.retain(|_, peer| peer.looked == steady);
    }

    /// The rows that nobody has changed for long, with the number of their last change: their processes are dead.
    pub(super) fn gone(&self, steady: u64) -> impl Iterator<Item = (&str, u64)> {
        let gone = self.seen.iter().filter(move |(_, peer)| steady >= peer.changed + GONE_MS);
        gone.map(|(sk, peer)| (sk.as_str(), peer.n))
    }

    fn alive(&self, steady: u64) -> impl Iterator<Item = &Peer> {
        self.seen.values().filter(move |peer| !peer.walls.is_empty() && steady < peer.changed + FRESH_MS)
    }

    /// The wall clocks of those that are alive, as they are now.
    pub(super) fn walls(&self, steady: u64) -> Vec<u64> {
        let highest = |peer: &Peer| peer.walls.iter().copied().max().unwrap_or(0);
        self.alive(steady).map(|peer| steady.saturating_add_signed(highest(peer))).collect()
    }

    /// The highest time of mids among those that are alive, as it is now.
    pub(super) fn time(&self, steady: u64) -> Option<u64> {
        self.alive(steady).map(|peer| steady.saturating_add_signed(peer.time)).max()
    }
}
