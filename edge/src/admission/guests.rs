//! Whom an edge lets in, by the address that they come from: an address is nobody in particular, but one of them must not
//! take all places.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, Once};

use hyper::HeaderMap;
use soundoff_common::counts::Counts;
use soundoff_common::lock::lock;
use soundoff_common::web::address::{client, household};

use super::bucket::Rate;
use super::budgets::Budgets;

/// For so many upgrades a second an address may ask for ten times as many at once: many people share one, and all of
/// them come back together after an edge has stopped.
const BURST_SECONDS: u32 = 10;
/// The least number of connections that one address may have which are no websockets yet.
const LEAST_CONNECTIONS: usize = 64;

/// A proxy that nobody has told us about makes all its clients one.
static UNTOLD_PROXY: Once = Once::new();

/// The addresses that connections come from, and how much each of them takes.
#[derive(Debug)]
pub(crate) struct Guests {
    proxies: usize,
    rate: Rate,
    upgrades: Budgets,
    /// How many connections of each address are no websockets yet.
    begun: Mutex<Counts<IpAddr>>,
    connections: usize,
}

/// A connection that is no websocket yet; it is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    guests: Arc<Guests>,
    from: Option<IpAddr>,
}

impl Guests {
    /// For an edge behind so many `proxies` of ours, with `max_sockets` places, where an address may ask for `rate`
    /// websockets a second.
    pub(crate) fn new(proxies: usize, rate: u32, max_sockets: usize) -> Self {
        Self {
            proxies,
            rate: Rate::new(rate, rate.saturating_mul(BURST_SECONDS)),
            upgrades: Budgets::for_anybody(),
            begun: Mutex::default(),
            connections: (max_sockets / 16).max(LEAST_CONNECTIONS),
        }
    }

    /// The client's address.
    pub(crate) fn address(&self, headers: &HeaderMap, other_end: Option<IpAddr>) -> Option<IpAddr> {
        if self.proxies == 0 && headers.contains_key("x-forwarded-for") {
            UNTOLD_PROXY.call_once(|| {
                tracing::warn!(
                    "requests come with X-Forwarded-For, but --proxies is 0: to limits by address all clients of that proxy are one"
                );
            });
        }
        client(headers, other_end, self.proxies)
    }

    /// Counts a request for a websocket, or returns in how many milliseconds this address may ask. This machine's own
    /// addresses are not counted: what comes from here is a tool, or a proxy.
    pub(crate) fn ask(&self, address: Option<IpAddr>, now_ns: u64) -> Result<(), u64> {
        let Some(from) = address.and_then(counted) else { return Ok(()) };
        self.upgrades.take(self.upgrades.of(&from), now_ns, self.rate, 1)
    }

    /// Counts a new connection; `None` when its address has as many as may be. A proxy of ours has a bound of its own.
    pub(crate) fn enter(self: &Arc<Self>, other_end: Option<IpAddr>) -> Option<Visit> {
        let from = other_end.filter(|_| self.proxies == 0).and_then(counted);
        if let Some(from) = from {
            let mut begun = lock(&self.begun);
            if begun.of(&from) >= self.connections {
                return None;
            }
            begun.add(from);
        }
        Some(Visit { guests: self.clone(), from })
    }

    /// Forgets who has not asked for a while.
    pub(crate) fn tidy(&self, now_ns: u64) {
        self.upgrades.tidy(now_ns);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(from) = self.from {
            lock(&self.guests.begun).remove(&from);
        }
    }
}

/// Whom an address counts as, if it counts.
fn counted(address: IpAddr) -> Option<IpAddr> {
    Some(household(address)).filter(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn an_address_asks_only_so_often_and_others_are_not_kept_from_it() {
        let guests = Guests::new(0, 2, 100);
        let passed = |address: &str| (0..100).filter(|_| guests.ask(from(address), 0).is_ok()).count();
        assert_eq!(passed("192.0.2.1"), 20);
        assert_eq!(guests.ask(from("::ffff:192.0.2.1"), 0), Err(500), "one address, two spellings");
        assert_eq!((passed("2001:db8:1:2::1"), passed("2001:db8:1:2:ffff::1")), (20, 0), "one household");
        assert_eq!((passed("2001:db8:1:3::1"), passed("192.0.2.2")), (20, 20));
        assert_eq!((passed("127.0.0.1"), guests.ask(None, 0)), (100, Ok(())), "nobody can tell who that is");
    }

    #[test]
    fn an_address_has_only_so_many_connections_that_are_no_websockets() {
        let guests = Arc::new(Guests::new(0, 1, 1600));
        let mut visits: Vec<_> = (0..100).map_while(|_| guests.enter(from("192.0.2.1"))).collect();
        assert_eq!(visits.len(), 100);
        assert!(guests.enter(from("192.0.2.1")).is_none() && guests.enter(from("192.0.2.2")).is_some());
        visits.pop();
        assert!(guests.enter(from("192.0.2.1")).is_some(), "one has gone");
        drop(visits);
        assert!(lock(&guests.begun).is_empty(), "nobody is remembered");
        let behind = Arc::new(Guests::new(1, 1, 1600));
        let all: Vec<_> = (0..1000).filter_map(|_| behind.enter(from("10.0.0.1"))).collect();
        assert_eq!(all.len(), 1000, "all that a proxy of ours brings");
    }
}
