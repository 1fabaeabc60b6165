//! The places of what moves slowly: uploads in progress, and pictures that are being sent. Nobody holds all of them.
//!
//! A user and a household have a share. When a share of a household is full, or all places are taken, the slowest
//! gives way: the one of the fullest household that has moved nothing to speak of for longest. So
//! places that are held by reading or sending slowly cost others nothing, from however many addresses that is done,
//! and many people behind one address have the whole share as long as they are quick.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use soundoff_common::counts::Counts;
use soundoff_common::lock::lock;
use soundoff_common::protocol::{Handle, millis};
use tokio_util::sync::CancellationToken;

/// Moving so many bytes …
const STRIDE: u64 = 64 * 1024;
/// … should not take longer than this while others wait for a place.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) all: usize,
    pub(crate) per_household: usize,
    /// Where it is known who the user is.
    pub(crate) per_user: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The user's share is taken.
    User,
    /// The household's share is taken, by others who are quick.
    Household,
    /// All are taken, by others who are quick.
    All,
}

/// Places. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Places {
    shares: Shares,
    began: Instant,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Seat>,
    households: Counts<IpAddr>,
    users: Counts<Handle>,
}

struct Seat {
    household: IpAddr,
    user: Option<Handle>,
    /// When it has moved a stride, in milliseconds since the places began.
    moved_at: Arc<AtomicU64>,
    gives_way: CancellationToken,
}

/// A place, given back when dropped.
pub(crate) struct Place {
    id: u64,
    places: Places,
    moved: u64,
    moved_at: Arc<AtomicU64>,
    /// Whether somebody gave way for it.
    pub(crate) is_anothers: bool,
}

impl Places {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, began: Instant::now(), taken: Arc::default() }
    }

    /// A place for one more, until the [`Place`] is dropped. When it goes to somebody else before, `gives_way` is
    /// cancelled.
    pub(crate) fn take(
        &self,
        household: IpAddr,
        user: Option<&Handle>,
        gives_way: CancellationToken,
    ) -> Result<Place, Full> {
        let now = self.now();
        let mut taken = lock(&self.taken);
        if user.is_some_and(|user| taken.users.of(user) >= self.shares.per_user) {
            return Err(Full::User);
        }
        let mut is_anothers = false;
        if taken.households.of(&household) >= self.shares.per_household {
            is_anothers = taken.make_room(now, |seat| seat.household == household);
            if !is_anothers {
                return Err(Full::Household);
            }
        }
        if taken.seats.len() >= self.shares.all {
            is_anothers = taken.make_room(now, |_| true);
            if !is_anothers {
                return Err(Full::All);
            }
        }
        let moved_at = Arc::new(AtomicU64::new(now));
        let seat = Seat { household, user: user.cloned(), moved_at: moved_at.clone(), gives_way };
        Ok(Place { id: taken.sit(seat), places: self.clone(), moved: 0, moved_at, is_anothers })
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

impl Taken {
    fn sit(&mut self, seat: Seat) -> u64 {
        self.households.add(seat.household);
        if let Some(user) = &seat.user {
            self.users.add(user.clone());
        }
        self.next += 1;
        self.seats.insert(self.next, seat);
        self.next
    }

    /// Frees a place, if it was not freed before.
    fn leave(&mut self, id: u64) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        self.households.remove(&seat.household);
        if let Some(user) = &seat.user {
            self.users.remove(user);
        }
        Some(seat)
    }

    /// Lets one of these seats give way, if one is slow; returns whether one did.
    fn make_room(&mut self, now: u64, among: impl Fn(&Seat) -> bool) -> bool {
        let waited = |seat: &Seat| now.saturating_sub(seat.moved_at.load(Ordering::Relaxed));
        let slow = self.seats.iter().filter(|(_, seat)| among(seat) && waited(seat) >= millis(PATIENCE));
        let slowest = slow.max_by_key(|(_, seat)| (self.households.of(&seat.household), waited(seat)));
        let Some(id) = slowest.map(|(id, _)| *id) else { return false };
        if let Some(seat) = self.leave(id) {
            seat.gives_way.cancel();
        }
        true
    }
}

impl Place {
    /// Says that so many bytes more have moved.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.moved += bytes;
        if self.moved >= STRIDE {
            self.moved = 0;
            self.moved_at.store(self.places.now(), Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.taken).leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: Shares = Shares { all: 8, per_household: 4, per_user: 2 };

    fn home(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// Places that began long ago, so that some may have waited.
    fn places() -> Places {
        let began = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        Places { began, ..Places::new(SHARES) }
    }

    struct Taker {
        place: Place,
        gives_way: CancellationToken,
    }

    impl Taker {
        fn waits_for(&self, ms: u64) {
            self.place.moved_at.store(self.place.places.now() - ms, Ordering::Relaxed);
        }

        fn gave_way(&self) -> bool {
            self.gives_way.is_cancelled()
        }
    }

    fn take(places: &Places, n: u8, user: Option<&Handle>) -> Result<Taker, Full> {
        let gives_way = CancellationToken::new();
        places.take(home(n), user, gives_way.clone()).map(|place| Taker { place, gives_way })
    }

    fn taken(places: &Places, n: u8) -> Taker {
        take(places, n, None).unwrap_or_else(|full| panic!("{full:?}"))
    }

    #[test]
    fn shares_hold_and_come_back() {
        let places = places();
        let (ann, ben) = ("ann".parse().unwrap(), "ben".parse().unwrap());
        let anns: Vec<_> = (1..3).map(|n| take(&places, n, Some(&ann)).ok().unwrap()).collect();
        assert_eq!(take(&places, 3, Some(&ann)).err(), Some(Full::User), "from whatever address");
        let _bens: Vec<_> = (0..2).map(|_| take(&places, 1, Some(&ben)).ok().unwrap()).collect();
        let ones = taken(&places, 1);
        assert_eq!(take(&places, 1, None).err(), Some(Full::Household));
        let _threes: Vec<_> = (0..3).map(|_| taken(&places, 3)).collect();
        assert_eq!(take(&places, 4, None).err(), Some(Full::All));
        drop(ones);
        drop(taken(&places, 4));
        drop(anns);
        assert!(take(&places, 1, Some(&ann)).is_ok());
    }

    #[test]
    fn the_slow_give_way_the_fullest_household_first_and_the_quick_do_not() {
        let places = places();
        let mut ones: Vec<_> = (0..4).map(|_| taken(&places, 1)).collect();
        let others: Vec<_> = (2..6).map(|n| taken(&places, n)).collect();
        ones.iter().for_each(|one| one.waits_for(1900));
        assert_eq!(take(&places, 9, None).err(), Some(Full::All), "nobody is slow");
        // The others have waited longer, and each is alone at home.
        others.iter().for_each(|other| other.waits_for(9000));
        for (one, ms) in ones.iter().zip([3000, 5000, 4000, 100]) {
            one.waits_for(ms);
        }
        ones[2].place.moved(STRIDE);
        ones[0].place.moved(STRIDE - 1);
        let second = taken(&places, 9);
        assert!(ones[1].gave_way() && !ones[0].gave_way());
        // What gave way is given back once.
        drop(ones.remove(1));
        let third = taken(&places, 9);
        assert!(ones[0].gave_way() && !ones[1].gave_way());
        let fourth = taken(&places, 9);
        assert_eq!(others.iter().filter(|other| other.gave_way()).count(), 1, "of the fullest, none is slow");
        drop((second, third, fourth, ones, others));
        let left = lock(&places.taken);
        assert!(left.seats.is_empty() && left.households.is_empty() && left.users.is_empty());
    }

    #[test]
    fn within_a_household_the_slow_give_way_to_the_others() {
        let places = places();
        let ones: Vec<_> = (0..4).map(|_| taken(&places, 1)).collect();
        let other = taken(&places, 2);
        other.waits_for(9000);
        assert_eq!(take(&places, 1, None).err(), Some(Full::Household), "others keep theirs");
        ones[3].waits_for(2000);
        let _neighbour = taken(&places, 1);
        assert!(ones[3].gave_way() && !other.gave_way());
    }
}
