//! How the time of mids goes on: from the wall clock, a clock that cannot be set, and what others say. Without I/O.

use super::moment::{Moment, difference};
use super::peers::{Peers, Row};

/// How far a wall clock may be from the deployment's, in milliseconds: two that are this far off on either side are
/// [`CLOCKS_APART_MS`](soundoff_common::protocol::CLOCKS_APART_MS) apart, and everything still works.
pub(super) const SKEW_MS: u64 = soundoff_common::protocol::CLOCKS_APART_MS / 2;
/// How long a process that finds rows of others waits to see which of them are alive, in milliseconds.
const LISTENS_MS: u64 = 3_000;
/// Time that has run ahead of the wall clock loses one millisecond in this many. Clocks that waver would push each
/// other forward without end otherwise.
const EASES: u64 = 10_000;

/// What is known of this process's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not yet compared with others'.
    Comparing,
    /// It is near the deployment's, or there is no other.
    Near,
    /// It is too far from the deployment's.
    Far,
}

/// The course of one process.
#[derive(Debug)]
pub(super) struct Course {
    /// The time of mids at `at`.
    time: u64,
    at: Moment,
    begun: u64,
    /// Steady milliseconds that have not eased the time yet.
    owed: u64,
    /// The wall clock was near the deployment's, and nobody has set it since.
    trusted: bool,
    pub(super) standing: Standing,
    /// How far the wall clock is ahead of the deployment's, in milliseconds; 0 when there is no other.
    pub(super) skew: i64,
    pub(super) peers: Peers,
}

impl Course {
    /// Begins at a moment. `rows` are those of other processes, dead or alive.
    pub(super) fn begin(time: u64, at: Moment, rows: &[Row]) -> Self {
        let alone = rows.is_empty();
        let standing = if alone { Standing::Near } else { Standing::Comparing };
        let mut peers = Peers::default();
        peers.look(rows, at.steady);
        Self { time, at, begun: at.steady, owed: 0, trusted: alone, standing, skew: 0, peers }
    }

    /// Goes on to a moment, at which `rows` were read if they could be; returns what must be added to the wall clock.
    pub(super) fn go_on(&mut self, at: Moment, rows: Option<&[Row]>) -> i64 {
        let passed = at.steady.saturating_sub(self.at.steady);
        let expected = self.at.wall.saturating_add(passed);
        if at.wall.abs_diff(expected) > SKEW_MS {
            // Somebody has set it, to what is right or to what is wrong: it must be compared again.
            self.trusted = false;
        }
        if let Some(rows) = rows {
            self.peers.look(rows, at.steady);
        }
        self.judge(at);
        let steadily = self.time.saturating_add(passed);
        self.owed += passed;
        // Without the wall clock's word, time goes on by the steady clock alone.
        let own = match self.standing {
            Standing::Near if at.wall >= steadily => at.wall,
            Standing::Near => steadily - self.owed / EASES,
            Standing::Far | Standing::Comparing => steadily,
        };
        self.owed %= EASES;
        self.time = own.max(self.peers.time(at.steady).unwrap_or(0));
        self.at = at;
        difference(self.time, at.wall)
    }

    fn judge(&mut self, at: Moment) {
        let mut walls = self.peers.walls(at.steady);
        let others = walls.len();
        if others == 0 {
            self.skew = 0;
            if self.standing != Standing::Comparing || at.steady >= self.begun + LISTENS_MS {
                (self.standing, self.trusted) = (Standing::Near, true);
            }
            return;
        }
        if others > 1 {
            walls.push(at.wall);
        }
        walls.sort_unstable();
        self.skew = difference(at.wall, walls[walls.len() / 2]);
        let near = self.skew.unsigned_abs() <= SKEW_MS;
        // Of two that differ, nobody can say which is right: the one that came later, or was set, gives way.
        self.trusted = near || (others == 1 && self.trusted);
        self.standing = if self.trusted { Standing::Near } else { Standing::Far };
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
