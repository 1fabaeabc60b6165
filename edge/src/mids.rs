//! Message ids (mids): ULIDs that strictly rise within one edge, over its restarts too.
//!
//! Their time is the wall clock's plus a shift, which the [`clock`](crate::clock) keeps. The *mark* lies ahead of that:
//! it is in the tables before a mid near it is given, and every mid is below it. So who reads the mark knows a time
//! that no mid of any earlier process has reached.

use std::sync::Mutex;

use rand::Rng as _;
use soundoff_common::lock::lock;
use ulid::Ulid;

/// How far beyond their present time the mark is reserved, in milliseconds.
pub(crate) const RESERVED_MS: u64 = 5_000;
/// When less than this is left below the mark, more is reserved, in milliseconds.
const LEAST_MS: u64 = 3_000;
/// How far ahead of this edge's time a mid that a client names may be, in milliseconds: edges are closer together than
/// that, and a client that makes mids up gains nothing by less.
const NAMED_MS: u64 = 1_000;

#[derive(Debug)]
struct Given {
    /// The last id that was given.
    last: u128,
    /// No id reaches this time, in milliseconds since 1970.
    mark: u64,
    /// What is added to the wall clock, in milliseconds.
    shift: i64,
}

impl Given {
    fn time(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.shift)
    }
}

/// The least id of a millisecond.
fn first_of(ms: u64) -> u128 {
    u128::from(ms) << 80
}

/// Random bits below the milliseconds. The top one stays clear, so that successors have room below the next
/// millisecond's ids.
fn random() -> u128 {
    rand::rng().random::<u128>() >> 49
}

/// Gives mids.
#[derive(Debug)]
pub(crate) struct Mids(Mutex<Given>);

impl Mids {
    /// Begins above all ids below `mark`, at the time `now_ms` and a shift. It gives none before [`Self::reserved`].
    pub(crate) fn begin(mark: u64, shift: i64) -> Self {
        Self(Mutex::new(Given { last: first_of(mark) | random(), mark, shift }))
    }

    /// The next id. While the clock stands still, goes back or has reached the mark, it is the successor of the last.
    pub(crate) fn next(&self, now_ms: u64) -> Ulid {
        let random = random();
        let mut given = lock(&self.0);
        let time = given.time(now_ms);
        let fresh = first_of(time) | random;
        given.last = if fresh > given.last && time < given.mark { fresh } else { given.last + 1 };
        Ulid(given.last)
    }

    /// The time of mids at `now_ms`, in milliseconds since 1970. It never goes back, if the shift is kept so.
    pub(crate) fn time(&self, now_ms: u64) -> u64 {
        lock(&self.0).time(now_ms)
    }

    /// Sets what is added to the wall clock.
    pub(crate) fn shift(&self, by: i64) {
        lock(&self.0).shift = by;
    }

    /// The mark that should be reserved now, if the present one is near.
    pub(crate) fn wanted(&self, now_ms: u64) -> Option<u64> {
        let given = lock(&self.0);
        let time = given.time(now_ms);
        (time + LEAST_MS > given.mark).then_some(time + RESERVED_MS)
    }

    /// Notes that the tables hold this mark.
    pub(crate) fn reserved(&self, mark: u64) {
        let mut given = lock(&self.0);
        given.mark = given.mark.max(mark);
    }

    /// Whether new ids have the clock's time; if not, they still wait for it at the mark of an earlier process.
    pub(crate) fn has_caught_up(&self, now_ms: u64) -> bool {
        let given = lock(&self.0);
        first_of(given.time(now_ms) + 1) > given.last
    }

    /// Goes on above an id that a client says it was told, by this edge or another.
    pub(crate) fn hear(&self, told: Ulid, now_ms: u64) {
        let mut given = lock(&self.0);
        let nearest = given.mark.min(given.time(now_ms) + NAMED_MS);
        if told.timestamp_ms() < nearest {
            given.last = given.last.max(told.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn begun(mark: u64) -> Mids {
        let mids = Mids::begin(mark, 0);
        mids.reserved(NOW + RESERVED_MS);
        mids
    }

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let mids = begun(0);
        let mut last = Ulid(0);
        for now in [5, 5, 5, 6, 3, 0, 7, NOW, NOW + 9 * RESERVED_MS, 1].into_iter().flat_map(|ms| [ms; 500]) {
            let mid = mids.next(now);
            assert!(mid > last, "{mid} after {last}");
            assert!(mid.timestamp_ms() < NOW + RESERVED_MS, "{mid} has reached the mark");
            last = mid;
        }
    }

    #[test]
    fn ids_have_the_time_of_the_clock_and_its_shift() {
        let mids = begun(0);
        assert_eq!(mids.next(NOW).timestamp_ms(), NOW);
        mids.shift(2_000);
        assert_eq!((mids.next(NOW).timestamp_ms(), mids.time(NOW)), (NOW + 2_000, NOW + 2_000));
        mids.shift(-7);
        assert_eq!(mids.next(NOW + 2_008).timestamp_ms(), NOW + 2_001);
    }

    #[test]
    fn an_id_is_above_all_that_were_given_before_the_start() {
        let mark = NOW + 1_000;
        let mids = Mids::begin(mark, 0);
        mids.reserved(mark + 1);
        assert!(!mids.has_caught_up(NOW) && mids.has_caught_up(mark));
        let (first, second) = (mids.next(NOW), mids.next(NOW));
        assert!(first.0 > first_of(mark) && second.0 == first.0 + 1 && second.0 < first_of(mark + 1));
        mids.reserved(NOW + 2 * RESERVED_MS);
        assert_eq!(mids.next(mark + 1).timestamp_ms(), mark + 1, "the clock has caught up");
        let other = Mids::begin(mark, 0);
        other.reserved(mark + 1);
        assert_ne!(other.next(NOW), first, "two processes that begin at the same mark");
    }

    #[test]
    fn the_mark_is_reserved_before_it_is_near() {
        let mids = begun(0);
        assert_eq!(mids.wanted(NOW + RESERVED_MS - LEAST_MS), None);
        let near = NOW + RESERVED_MS - LEAST_MS + 1;
        assert_eq!(mids.wanted(near), Some(near + RESERVED_MS));
        mids.reserved(near + RESERVED_MS);
        assert_eq!(mids.wanted(near), None);
        mids.reserved(near);
        assert_eq!(mids.wanted(near), None, "a mark never goes back");
        mids.shift(LEAST_MS as i64);
        assert_eq!(mids.wanted(near), Some(near + LEAST_MS + RESERVED_MS), "the shift counts");
    }

    #[test]
    fn a_client_s_last_id_is_gone_on_from_and_pushes_the_clock_nowhere() {
        let mids = begun(0);
        let told = Ulid(first_of(NOW + NAMED_MS - 1) | random());
        mids.hear(told, NOW);
        assert_eq!(mids.next(NOW).0, told.0 + 1);
        for far in [NOW + NAMED_MS, NOW + 86_400_000, (1 << 48) - 1] {
            mids.hear(Ulid(first_of(far)), NOW);
            assert_eq!(mids.next(NOW).timestamp_ms(), NOW + NAMED_MS - 1, "{far}");
        }
        mids.hear(Ulid(first_of(NOW - 5)), NOW);
        assert_eq!(mids.next(NOW + NAMED_MS).timestamp_ms(), NOW + NAMED_MS, "an older one changes nothing");
        let near = begun(0);
        let mark = NOW + RESERVED_MS;
        near.hear(Ulid(first_of(mark)), mark - 1);
        assert!(near.next(mark - 1).timestamp_ms() < mark, "nothing reaches the mark");
    }
}
