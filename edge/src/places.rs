//! Who may hold connections and memory of the internal port.
//!
//! A connection that has brought no signed request is a *stranger*: anybody who reaches the port can open one, and a
//! probe of our health comes like this, too. One that has brought one is a *sender*. Each kind has its places, so that
//! strangers never take those of senders. When all are taken, the address that holds the most gives one back: so nobody
//! locks out others, only itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soundoff_common::lock::lock;
use soundoff_common::telemetry::{Metrics, ReasonLabel};
use soundoff_common::web::address::household;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The most connections of strangers. They are cheap: each holds a request's head at most.
const STRANGERS: usize = 512;
/// The most connections of senders: workers keep one or a few each.
const SENDERS: usize = 512;
/// How much memory large bodies may take together, in KiB. A body is large when it does not fit into what its connection
/// may keep.
const BODIES_KIB: usize = 64 * 1024;
/// How long a stranger has for its first request, from its opening on: what it sends meanwhile does not put that off.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// One connection.
struct Place {
    from: IpAddr,
    /// When it was last used: a number that rises with each use of any connection.
    used: AtomicU64,
    /// Cancelled when it must go.
    gone: CancellationToken,
}

/// The places of one kind.
struct Room {
    most: usize,
    taken: Mutex<Vec<Arc<Place>>>,
}

impl Room {
    fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// Takes a place; returns the connection that must go for it.
    fn enter(&self, place: Arc<Place>) -> Option<Arc<Place>> {
        let mut taken = lock(&self.taken);
        let goes = if taken.len() < self.most { None } else { who_goes(&taken) };
        let gone = goes.map(|at| taken.swap_remove(at));
        taken.push(place);
        gone
    }

    fn leave(&self, place: &Arc<Place>) {
        let mut taken = lock(&self.taken);
        // Who had to go is not there any more.
        if let Some(at) = taken.iter().position(|each| Arc::ptr_eq(each, place)) {
            taken.swap_remove(at);
        }
    }
}

/// Of the address that holds the most, the connection that was not used for longest.
fn who_goes(taken: &[Arc<Place>]) -> Option<usize> {
    let mut held: HashMap<IpAddr, usize> = HashMap::new();
    for place in taken {
        *held.entry(place.from).or_default() += 1;
    }
    let most = held.values().copied().max()?;
    let of_those = taken.iter().enumerate().filter(|(_, place)| held[&place.from] == most);
    of_those.min_by_key(|(_, place)| place.used.load(Ordering::Relaxed)).map(|(at, _)| at)
}

/// All places of an internal port.
pub(crate) struct Places {
    strangers: Room,
    senders: Room,
    bodies: Semaphore,
    uses: AtomicU64,
    metrics: Metrics,
}

impl Places {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            strangers: Room::new(STRANGERS),
            senders: Room::new(SENDERS),
            bodies: Semaphore::new(BODIES_KIB),
            uses: AtomicU64::new(0),
            metrics,
        })
    }

    /// A place for a new connection, which is a stranger's.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Seat {
        let place = Arc::new(Place {
            from: household(from),
            used: AtomicU64::new(self.next_use()),
            gone: CancellationToken::new(),
        });
        self.dismiss(self.strangers.enter(place.clone()));
        Seat { places: self.clone(), place, first: Instant::now() + FIRST_REQUEST, is_sender: false }
    }

    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn dismiss(&self, place: Option<Arc<Place>>) {
        if let Some(place) = place {
            self.count_closed("crowded");
            place.gone.cancel();
        }
    }

    fn count_closed(&self, reason: &'static str) {
        self.metrics.edge_internal_closed.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// The place of one connection. It is free again when this is dropped.
pub(crate) struct Seat {
    places: Arc<Places>,
    place: Arc<Place>,
    first: Instant,
    is_sender: bool,
}

impl Seat {
    /// Cancelled when the connection must go for another one.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.place.gone.clone()
    }

    /// Until when the first request must be there.
    pub(crate) fn first(&self) -> Instant {
        self.first
    }

    /// It has brought a signed request.
    pub(crate) fn prove(&mut self) {
        self.place.used.store(self.places.next_use(), Ordering::Relaxed);
        if !self.is_sender {
            self.is_sender = true;
            self.places.strangers.leave(&self.place);
            self.places.dismiss(self.places.senders.enter(self.place.clone()));
        }
    }

    /// It has ended; counted if it is a stranger whose time is over.
    pub(crate) fn ended(&self) {
        if !self.is_sender && self.first <= Instant::now() {
            self.places.count_closed("late");
        }
    }

    /// Memory for a signed body; `None` when others do not give it back in time.
    pub(crate) async fn memory(&self, bytes: usize, until: Instant) -> Option<SemaphorePermit<'_>> {
        let kib = bytes.div_ceil(1024).min(BODIES_KIB);
        let permits = self.places.bodies.acquire_many(u32::try_from(kib).ok()?);
        timeout_at(until, permits).await.ok()?.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let room = if self.is_sender { &self.places.senders } else { &self.places.strangers };
        room.leave(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn stay(seats: &[Seat]) -> usize {
        seats.iter().filter(|seat| !seat.place.gone.is_cancelled()).count()
    }

    #[tokio::test]
    async fn who_holds_the_most_places_gives_back_the_oldest() {
        let places = Places::new(Metrics::new());
        let probe = places.enter(from(1));
        let mut many: Vec<Seat> = (0..5000).map(|_| places.enter(from(2))).collect();
        assert_eq!(stay(&many), STRANGERS - 1);
        assert!(many[..5000 - STRANGERS + 1].iter().all(|seat| seat.place.gone.is_cancelled()), "the oldest");
        let others: Vec<Seat> = (3..200).map(|n| places.enter(from(n))).collect();
        assert_eq!((stay(&others), stay(&many)), (197, STRANGERS - 198));
        assert!(!probe.place.gone.is_cancelled(), "it was the oldest of all");
        many.clear();
        assert_eq!(lock(&places.strangers.taken).len(), 198);
        drop((probe, others));
        assert!(lock(&places.strangers.taken).is_empty());
    }

    #[tokio::test]
    async fn senders_have_places_of_their_own_and_those_who_send_keep_them() {
        let places = Places::new(Metrics::new());
        let prove = |n| {
            let mut seat = places.enter(from(n));
            seat.prove();
            seat
        };
        let mut senders: Vec<Seat> = (0..SENDERS).map(|_| prove(1)).collect();
        let strangers: Vec<Seat> = (0..5000).map(|_| places.enter(from(1))).collect();
        assert_eq!((stay(&senders), stay(&strangers)), (SENDERS, STRANGERS), "each kind has its own");
        senders[0].prove();
        let other = prove(2);
        assert!(!senders[0].place.gone.is_cancelled(), "it has sent something since");
        assert!(senders[1].place.gone.is_cancelled(), "the address that holds the most gives one back");
        assert!(!other.place.gone.is_cancelled());
        drop((senders, strangers, other));
        assert!(lock(&places.senders.taken).is_empty() && lock(&places.strangers.taken).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_wait_for_memory_but_not_forever() {
        let places = Places::new(Metrics::new());
        let (one, two) = (places.enter(from(1)), places.enter(from(2)));
        let until = Instant::now() + Duration::from_secs(1);
        let all = one.memory(BODIES_KIB * 1024, until).await;
        assert!(all.is_some());
        assert!(two.memory(1, until).await.is_none());
        drop(all);
        assert!(two.memory(1, until + Duration::from_secs(1)).await.is_some());
    }
}
