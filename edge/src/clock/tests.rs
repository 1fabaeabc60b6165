use std::sync::atomic::{AtomicI64, Ordering};

use soundoff_common::ports::memory::MemoryTables;

use super::*;

/// Wall clocks that a test sets, in milliseconds ahead of the true one.
#[derive(Clone, Default)]
struct Off(Arc<AtomicI64>);

impl Off {
    fn wall(&self) -> Wall {
        let off = self.clone();
        Box::new(move || off.now())
    }

    fn now(&self) -> u64 {
        now_ms().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, off: i64) {
        self.0.store(off, Ordering::Relaxed);
    }
}

/// Processes on the same tables.
#[derive(Default)]
struct World {
    tables: Arc<MemoryTables>,
}

impl World {
    async fn alone(&self, off: &Off) -> Arc<Clock> {
        Clock::alone_by(self.tables.clone(), Metrics::new(), off.wall()).await.unwrap()
    }

    async fn starts(&self, off: &Off, stop: &CancellationToken) -> Arc<Clock> {
        let clock = Clock::among_others_by(self.tables.clone(), Metrics::new(), off.wall()).await.unwrap();
        tokio::spawn(clock.clone().keep(stop.clone()));
        clock
    }

    fn mark(&self) -> u64 {
        self.tables.peek(Table::Entities, key(MARK_SK)).unwrap().number(mark::MARK).unwrap()
    }
}

fn off(ms: i64) -> Off {
    let off = Off::default();
    off.set(ms);
    off
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn mids_rise_over_restarts_whatever_the_clock_was() {
    let (world, mut last) = (World::default(), Ulid(0));
    for ms in [0, HOUR, 0, 0, -HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR, 0, 10_000, 0] {
        let off = off(ms);
        let clock = world.alone(&off).await;
        for _ in 0..100 {
            let mid = clock.mid(off.now());
            assert!(mid > last, "{mid} after {last} at {ms} ms off");
            assert!(mid.timestamp_ms() < world.mark(), "the mark is ahead of every mid");
            last = mid;
        }
    }
}

#[tokio::test]
async fn starts_push_the_time_of_mids_nowhere() {
    let (world, right) = (World::default(), Off::default());
    for _ in 0..100 {
        let clock = world.alone(&right).await;
        clock.mid(right.now());
    }
    let ahead = world.mark().saturating_sub(right.now());
    assert!(ahead < RESERVED_MS + 1_000, "the mark is {ahead} ms ahead");
}

#[tokio::test]
async fn a_clock_that_is_set_back_while_it_runs_stops_no_mids_and_turns_none_back() {
    let (world, off, stop) = (World::default(), Off::default(), CancellationToken::new());
    let clock = world.alone(&off).await;
    tokio::spawn(clock.clone().keep(stop.clone()));
    let mut last = clock.mid(off.now());
    for ms in [-HOUR, HOUR, 0, 365 * 24 * HOUR, 0] {
        off.set(ms);
        let since = last.timestamp_ms();
        // It stands still for a beat at most, and goes on.
        until("the time of mids goes on", || {
            let mid = clock.mid(off.now());
            assert!(mid > last);
            last = mid;
            mid.timestamp_ms() > since + 100
        })
        .await;
    }
    stop.cancel();
}

#[tokio::test]
async fn two_processes_half_a_minute_apart_give_mids_in_the_order_of_time() {
    let (world, stop) = (World::default(), CancellationToken::new());
    let offs = [off(0), off(30_000)];
    let clocks = [world.starts(&offs[0], &stop).await, world.starts(&offs[1], &stop).await];
    until("both are ready", || clocks.iter().all(|clock| clock.unready().is_none())).await;
    let apart = || clocks[0].mids.time(offs[0].now()).abs_diff(clocks[1].mids.time(offs[1].now()));
    until("they agree", || apart() < 100).await;
    let mut last = Ulid(0);
    for turn in 0..20 {
        let at = turn % 2;
        let mid = clocks[at].mid(offs[at].now());
        assert!(mid > last, "{mid} after {last}");
        last = mid;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    // A client that moves at once says what it was told.
    for turn in 0..1_000 {
        let at = turn % 2;
        clocks[at].hear(last);
        let mid = clocks[at].mid(offs[at].now());
        assert!(mid > last, "{mid} after {last}");
        last = mid;
    }
    stop.cancel();
}

#[tokio::test]
async fn a_process_with_a_wrong_clock_is_not_ready_and_says_why() {
    let (world, stop) = (World::default(), CancellationToken::new());
    let offs = [off(0), off(0), off(0)];
    let mut clocks = Vec::new();
    for off in &offs {
        clocks.push(world.starts(off, &stop).await);
    }
    until("all are ready", || clocks.iter().all(|clock| clock.unready().is_none())).await;
    offs[1].set(2 * HOUR);
    until("one is not", || clocks[1].unready().is_some()).await;
    let reason = clocks[1].unready().unwrap();
    assert!(reason.starts_with("the clock is +7") && reason.contains("s from the other edges'"), "{reason}");
    assert!((clocks[1].metrics.edge_clock_skew_seconds.get() - 7_200.0).abs() < 5.0);
    assert!(clocks[0].unready().is_none() && clocks[2].unready().is_none());
    assert!(world.mark() < now_ms() + HOUR as u64, "it moves the mark for nobody");
    offs[1].set(0);
    until("it is ready again", || clocks[1].unready().is_none()).await;
    let items = || world.tables.all().len();
    stop.cancel();
    until("rows go with their processes", || items() == 1).await;
}
