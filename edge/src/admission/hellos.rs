//! How many hellos may ask the tables: a rate that is never passed, and as many at once as the tables answer quickly.
//!
//! After a start, or when a cache is empty, all clients come back together, and each reads the tables some five times.
//! Those that find no place soon are told when to come, each another time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soundoff_common::lock::lock;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bucket::{Pace, Rate};

/// How many hellos ask at once after a start.
const FIRST_LIMIT: f64 = 16.0;
const LEAST_LIMIT: f64 = 4.0;
const MOST_LIMIT: f64 = 1024.0;
/// An answer is slow when it takes more than this many times the quickest.
const SLOW_TIMES: u32 = 3;
/// Nor is one slow that takes less than this: a process that is busy itself answers so.
const SLOW_AT_LEAST: Duration = Duration::from_millis(50);
/// What a slow answer leaves of the limit.
const LEFT: f64 = 0.7;
/// By how much the limit grows while all of as many as may ask are answered quickly.
const MORE: f64 = 4.0;
/// How much of the difference the quickest answer that is remembered moves towards each answer: it may become slower for
/// good.
const FORGETS: u32 = 5_000;
/// For how long a hello waits for its place.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait that a client is told.
const LONGEST_MS: u64 = 5 * 60_000;

/// The hellos of one edge.
#[derive(Debug)]
pub(crate) struct Hellos {
    rate: Rate,
    /// Of those that are admitted.
    pace: Mutex<Pace>,
    /// Of those that are told to come later, so that each has a time of its own.
    later: Mutex<Pace>,
    slots: Arc<Mutex<Slots>>,
}

/// Who asks at this moment, and who waits for that.
#[derive(Debug)]
struct Slots {
    limit: f64,
    busy: usize,
    waiting: VecDeque<oneshot::Sender<Slot>>,
    /// The quickest answer, slowly forgotten.
    quickest: Option<Duration>,
    /// When the limit was last lowered: the answers of those who had asked before say nothing new.
    lowered: Option<Instant>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Mutex<Slots>>,
    /// Absent when nobody has used it.
    begun: Option<Instant>,
}

impl Hellos {
    pub(crate) fn new(per_second: u32) -> Self {
        let slots =
            Slots { limit: FIRST_LIMIT, busy: 0, waiting: VecDeque::new(), quickest: None, lowered: None };
        Self {
            // A tenth of a second's may come at once.
            rate: Rate::new(per_second, per_second / 10),
            pace: Mutex::default(),
            later: Mutex::default(),
            slots: Arc::new(Mutex::new(slots)),
        }
    }

    /// Waits for a place at the tables.
    ///
    /// # Errors
    /// When it takes too long: in how many milliseconds the client may come again.
    pub(crate) async fn admit(&self, now_ns: u64) -> Result<Slot, u64> {
        let wait = lock(&self.pace).claim(now_ns, self.rate, PATIENCE);
        let Some(wait) = wait else { return Err(self.later_ms(now_ns)) };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let turn = {
            let mut slots = lock(&self.slots);
            if slots.has_room() {
                slots.busy += 1;
                return Ok(Slot { slots: self.slots.clone(), begun: Some(Instant::now()) });
            }
            let (sender, turn) = oneshot::channel();
            slots.waiting.push_back(sender);
            turn
        };
        match tokio::time::timeout(PATIENCE - wait, turn).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(self.later_ms(now_ns + u64::try_from(PATIENCE.as_nanos()).unwrap_or(0))),
        }
    }

    /// When one more client finds a place, in milliseconds.
    pub(crate) fn later_ms(&self, now_ns: u64) -> u64 {
        let longest = Duration::from_millis(LONGEST_MS);
        let wait = lock(&self.later).claim(now_ns, self.rate, longest).unwrap_or(longest);
        u64::try_from(wait.as_millis()).unwrap_or(LONGEST_MS)
    }

    /// How many hellos may ask at once, and how many wait.
    pub(crate) fn figures(&self) -> (f64, usize) {
        let slots = lock(&self.slots);
        (slots.limit, slots.waiting.len())
    }
}

impl Slots {
    fn has_room(&self) -> bool {
        (self.busy as f64) < self.limit
    }

    /// Learns from an answer that took so long, to somebody who asked at `begun`.
    fn learn(&mut self, took: Duration, begun: Instant) {
        let quickest = self
            .quickest
            .map_or(took, |known| if took < known { took } else { known + (took - known) / FORGETS });
        self.quickest = Some(quickest);
        if took > (quickest * SLOW_TIMES).max(SLOW_AT_LEAST) {
            if self.lowered.is_none_or(|lowered| begun > lowered) {
                self.limit = (self.limit * LEFT).max(LEAST_LIMIT);
                self.lowered = Some(Instant::now());
            }
        } else if self.busy as f64 + 1.0 >= self.limit {
            // All that may ask do: perhaps more could. Until the first slow answer the limit doubles with each round of
            // answers, and then it grows by a few.
            let more = if self.lowered.is_none() { 1.0 } else { MORE / self.limit };
            self.limit = (self.limit + more).min(MOST_LIMIT);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = lock(&self.slots);
        slots.busy -= 1;
        if let Some(begun) = self.begun {
            slots.learn(begun.elapsed(), begun);
        }
        let mut given = Vec::new();
        while slots.has_room()
            && let Some(next) = slots.waiting.pop_front()
        {
            // Those that do not wait any more are passed over.
            if !next.is_closed() {
                slots.busy += 1;
                given.push(next);
            }
        }
        drop(slots);
        for next in given {
            let slot = Slot { slots: self.slots.clone(), begun: Some(Instant::now()) };
            if let Err(mut untaken) = next.send(slot) {
                // The next one has it.
                untaken.begun = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// An edge's clock.
    fn ns(since: Instant) -> u64 {
        u64::try_from(since.elapsed().as_nanos()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_never_passed_and_each_that_is_sent_away_has_another_time() {
        let (hellos, begun) = (Arc::new(Hellos::new(100)), Instant::now());
        let ask = |n: u64| {
            let hellos = hellos.clone();
            tokio::spawn(async move {
                let admitted = hellos.admit(ns(begun)).await;
                (n, admitted.map(|slot| (begun.elapsed(), drop(slot)).0))
            })
        };
        let answers = futures_util::future::join_all((0..1000).map(ask)).await;
        let (mut admitted, mut told) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer.unwrap().1 {
                Ok(at) => admitted.push(at),
                Err(wait_ms) => told.push(wait_ms),
            }
        }
        assert!((300..=320).contains(&admitted.len()), "{} within three seconds", admitted.len());
        admitted.sort_unstable();
        assert!(admitted.windows(111).all(|hundred| hundred[110] - hundred[0] >= Duration::from_millis(990)));
        told.sort_unstable();
        assert!(told.windows(2).filter(|two| two[0] == two[1]).count() <= 20, "{told:?}");
        assert!(told[told.len() - 1] >= 6_000, "so many need as long: {:?}", told.last());
    }

    /// Tables that serve ten at once, and the others after them.
    #[tokio::test(start_paused = true)]
    async fn fewer_ask_at_once_when_the_tables_slow_down_and_more_when_they_do_not() {
        let hellos = Arc::new(Hellos::new(1_000_000));
        let (tables, begun) = (Arc::new(tokio::sync::Semaphore::new(10)), Instant::now());
        let served = |count: usize, takes_ms: u64| {
            let (hellos, tables) = (hellos.clone(), tables.clone());
            async move {
                let one = |_| {
                    let (hellos, tables) = (hellos.clone(), tables.clone());
                    async move {
                        let Ok(_slot) = hellos.admit(ns(begun)).await else { return 0 };
                        let _place = tables.acquire().await.unwrap();
                        tokio::time::sleep(Duration::from_millis(takes_ms)).await;
                        1
                    }
                };
                futures_util::future::join_all((0..count).map(one)).await.into_iter().sum::<usize>()
            }
        };
        assert_eq!(served(500, 20).await, 500);
        let (limit, waiting) = hellos.figures();
        assert!((10.0..60.0).contains(&limit) && waiting == 0, "{limit}: about as many as the tables serve");
        tables.add_permits(990);
        assert_eq!(served(20_000, 20).await, 20_000);
        assert!(hellos.figures().0 > 150.0, "{:?}: they serve more", hellos.figures());
        tables.forget_permits(990);
        for _ in 0..2 {
            served(20_000, 20).await;
        }
        assert!(hellos.figures().0 < 100.0, "{:?}: they do so no longer", hellos.figures());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_nobody_waits_for_any_more_goes_to_the_next() {
        let hellos = Hellos::new(1_000_000);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(hellos.admit(0).await.unwrap());
        }
        let mut gone = Box::pin(hellos.admit(0));
        let mut stays = Box::pin(hellos.admit(0));
        assert!(futures_util::poll!(&mut gone).is_pending() && futures_util::poll!(&mut stays).is_pending());
        drop(gone);
        drop(held.pop());
        assert!(stays.await.is_ok());
        let late = hellos.admit(SECOND).await;
        assert!(late.is_ok(), "and is free again");
        drop(late);
        held.push(hellos.admit(SECOND).await.unwrap());
        while hellos.figures().0 > held.len() as f64 {
            held.push(hellos.admit(SECOND).await.unwrap());
        }
        let told = hellos.admit(SECOND).await.unwrap_err();
        assert!(told <= LONGEST_MS, "after its patience: {told}");
    }
}
