//! Queueing theory: Erlang's C, and the mean wait that follows from it.

/// The share of arrivals that find all of `servers` busy, where `load` is arrivals per mean service (Erlang's C).
pub(super) fn erlang_c(servers: u32, load: f64) -> f64 {
    if load <= 0.0 {
        return 0.0;
    }
    if load >= f64::from(servers) {
        return 1.0;
    }
    // Erlang's B by its recursion, which neither overflows nor divides small numbers.
    let lost = (1..=servers).fold(1.0, |lost, n| load * lost / (f64::from(n) + load * lost));
    let utilization = load / f64::from(servers);
    lost / (1.0 - utilization * (1.0 - lost))
}

/// The mean wait where services take `service` seconds with a squared coefficient of variation of `variation` (1:
/// exponential, 0: always the same).
///
/// Exact for exponential services, and for any with one server (Pollaczek and Khinchine); Allen and Cunneen's
/// approximation elsewhere.
pub(super) fn mean_wait(servers: u32, rate: f64, service: f64, variation: f64) -> f64 {
    let load = rate * service;
    let spare = f64::from(servers) - load;
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    erlang_c(servers, load) * service / spare * (1.0 + variation) / 2.0
}

#[cfg(test)]
mod tests {
    use super::{erlang_c, mean_wait};

    #[test]
    fn known_values() {
        // One server: the share that waits is the utilization. Two at load 1: 1/3. Ten at load 8: 0.409.
        for (servers, load, expected) in
            [(1, 0.7, 0.7), (2, 1.0, 1.0 / 3.0), (10, 8.0, 0.4092), (3, 3.0, 1.0)]
        {
            assert!((erlang_c(servers, load) - expected).abs() < 1e-4, "{servers} {load}");
        }
        // M/D/1 waits half as long as M/M/1: 0.8 ÷ (2 × 0.2) services.
        assert!((mean_wait(1, 0.8, 1.0, 0.0) - 2.0).abs() < 1e-12);
        assert!((mean_wait(1, 0.8, 1.0, 1.0) - 4.0).abs() < 1e-12);
        assert!(mean_wait(1, 1.0, 1.0, 1.0).is_infinite());
    }
}
