use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

const NOW: u64 = 1_790_000_000_000;
const HOUR: i64 = 3_600_000;

/// A process with a wall clock of its own, and a row in the tables.
struct Process {
    off: i64,
    started: u64,
    course: Course,
    row: Row,
    shift: i64,
}

/// Processes, and the true time in milliseconds since the beginning. Rows are read as they are in the tables, which is
/// long after they were written.
struct World {
    true_ms: u64,
    rows: Vec<Row>,
    processes: Vec<Process>,
    random: StdRng,
}

impl World {
    fn new(off: &[i64]) -> Self {
        let (rows, processes, random) = (Vec::new(), Vec::new(), StdRng::seed_from_u64(1));
        let mut world = Self { true_ms: 0, rows, processes, random };
        off.iter().for_each(|off| world.start(*off));
        world
    }

    fn wall(&self, off: i64) -> u64 {
        (NOW + self.true_ms).saturating_add_signed(off)
    }

    fn start(&mut self, off: i64) {
        let at = Moment { wall: self.wall(off), steady: 0 };
        let course = Course::begin(at.wall, at, &self.rows);
        let row = Row { sk: format!("p#{}", self.processes.len()), n: 0, wall: 0, time: 0 };
        self.processes.push(Process { off, started: self.true_ms, course, row, shift: 0 });
    }

    fn time(&self, n: usize) -> u64 {
        self.wall(self.processes[n].off).saturating_add_signed(self.processes[n].shift)
    }

    fn beat(&mut self, n: usize) {
        let at = Moment {
            wall: self.wall(self.processes[n].off),
            steady: self.true_ms - self.processes[n].started,
        };
        let others: Vec<Row> =
            self.rows.iter().filter(|row| row.sk != self.processes[n].row.sk).cloned().collect();
        let process = &mut self.processes[n];
        process.shift = process.course.go_on(at, Some(&others));
        process.row.n += 1;
        let time = self.time(n);
        let process = &mut self.processes[n];
        (process.row.wall, process.row.time) = (at.wall, time);
        let row = process.row.clone();
        self.rows.retain(|other| other.sk != row.sk);
        self.rows.push(row);
    }

    /// Lets all beat about every two seconds, each at moments of its own; checks that no time of mids goes back.
    fn run(&mut self, seconds: u64) {
        let end = self.true_ms + seconds * 1000;
        let mut next: Vec<u64> = self.processes.iter().map(|_| self.true_ms).collect();
        let mut last: Vec<u64> = (0..next.len()).map(|_| 0).collect();
        while self.true_ms < end {
            for n in 0..next.len() {
                if next[n] <= self.true_ms {
                    self.beat(n);
                    assert!(self.time(n) + 2 >= last[n], "the time of {n} went back from {}", last[n]);
                    last[n] = self.time(n);
                    next[n] = self.true_ms + self.random.random_range(1500..2500);
                }
            }
            self.true_ms += 1;
        }
    }

    fn standings(&self) -> Vec<Standing> {
        self.processes.iter().map(|process| process.course.standing).collect()
    }

    fn apart(&self) -> u64 {
        let times = || (0..self.processes.len()).map(|n| self.time(n));
        times().max().unwrap() - times().min().unwrap()
    }
}

use Standing::{Comparing, Far, Near};

#[test]
fn a_clock_without_others_is_followed_forward_and_never_back() {
    let mut world = World::new(&[0]);
    world.run(10);
    for off in [HOUR, 365 * 24 * HOUR] {
        world.processes[0].off = off;
        world.run(10);
        assert_eq!((world.processes[0].shift, world.standings()), (0, vec![Near]));
    }
    let before = world.time(0);
    world.processes[0].off = -365 * 24 * HOUR;
    world.beat(0);
    assert!(world.time(0).abs_diff(before) < 5, "it goes on where it was");
    world.run(100);
    let gained = world.time(0) - before;
    assert!((99_000..100_000).contains(&gained), "it goes on a little slower: {gained} ms");
}

#[test]
fn two_clocks_half_a_minute_apart_agree_to_milliseconds_with_the_fastest() {
    let mut world = World::new(&[0, 30_000]);
    world.run(120);
    assert_eq!(world.standings(), [Near, Near]);
    assert!(world.apart() < 100, "{} ms apart", world.apart());
    assert!(world.time(1) - NOW - world.true_ms >= 30_000);
    assert!((29_000..30_500).contains(&world.processes[1].course.skew), "{}", world.processes[1].course.skew);
    assert!((-30_500..-29_000).contains(&world.processes[0].course.skew));
}

#[test]
fn of_many_the_one_that_is_wrong_gives_way_and_moves_nobody() {
    for wrong in [HOUR, -HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR, 31_500, -31_500] {
        let mut world = World::new(&[0, 20, -20]);
        world.run(20);
        assert_eq!(world.standings(), [Near; 3]);
        world.processes[1].off = wrong;
        world.run(30);
        assert_eq!(world.standings(), [Near, Far, Near], "{wrong} ms off");
        assert!(world.apart() < 200, "{} ms apart", world.apart());
        assert!(world.time(0).abs_diff(NOW + world.true_ms) < 500, "the others are where they were");
        world.processes[1].off = 0;
        world.run(30);
        assert_eq!(world.standings(), [Near; 3], "set right again");
    }
}

#[test]
fn of_two_the_one_that_came_later_or_was_set_gives_way() {
    let mut world = World::new(&[0]);
    world.run(10);
    world.start(HOUR);
    world.run(20);
    assert_eq!(world.standings(), [Near, Far]);
    world.processes[1].off = 0;
    world.run(20);
    assert_eq!(world.standings(), [Near, Near]);
    world.processes[0].off = -HOUR;
    world.run(20);
    assert_eq!(world.standings(), [Far, Near]);
}

#[test]
fn rows_of_the_dead_say_nothing() {
    let mut world = World::new(&[5 * HOUR, 6 * HOUR]);
    world.run(20);
    world.processes.clear();
    world.true_ms += 20 * HOUR as u64;
    world.start(0);
    assert_eq!(world.standings(), [Comparing]);
    world.run(10);
    assert_eq!(world.standings(), [Near]);
    assert!(world.processes[0].course.peers.gone(10_000).next().is_none());
    let gone: Vec<_> = world.processes[0].course.peers.gone(700_000).map(|(sk, _)| sk.to_owned()).collect();
    assert_eq!(gone, ["p#1"], "and are taken away: another has the name of the first");
}

#[test]
fn one_whose_row_no_longer_changes_is_not_counted() {
    let mut world = World::new(&[0, 0, HOUR]);
    world.run(20);
    assert_eq!(world.standings(), [Near, Near, Far]);
    world.processes.remove(0);
    world.run(20);
    // Of the two that are left, the one that was near stays.
    assert_eq!(world.standings(), [Near, Far]);
}
