//! How an edge behaves.

use std::time::Duration;

use anyhow::ensure;
use soundoff_common::web::base::BasePath;
use soundoff_common::web::origins::Origins;
use soundoff_common::web::paced::Pace;
use soundoff_common::web::tls_only::TlsOnly;

/// The bounds and times of one edge. Every bound is per edge unless it says otherwise.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// How often clients ping. A client that sends no frame for twice this time is closed 4003. Keep it below a load
    /// balancer's idle timeout.
    pub heartbeat: Duration,
    /// How long a request's header may take, and then the `hello` after the upgrade (4007), whatever else comes.
    pub hello_timeout: Duration,
    /// How fast a page must be read at least, while it waits for its reader.
    pub page_pace: Pace,
    /// The largest inbound message, in bytes; a larger one is refused, and one of more than eight times this closes 4501.
    pub frame_bytes: usize,
    /// Sustained `send`s per second and user, on all sockets of this edge together. Frames of all kinds (eight for each
    /// message, by socket) and hellos (one for twenty messages, by user) have rates that follow from it.
    pub messages_per_second: u32,
    /// The most `send`s that a user may make at once after a rest.
    pub burst: u32,
    /// The most hellos per second of all users together: each reads the tables some five times. More wait for a moment,
    /// or are told when to come (4418).
    pub hellos_per_second: u32,
    /// The most sockets of one user, on all edges together as far as the Session Cache knows (4429). Sockets of one
    /// device count as one.
    pub sockets_per_user: usize,
    /// The most sockets; more are closed 4418 right after the upgrade.
    pub max_sockets: usize,
    /// How many proxies of ours are in front of the public port; each adds to `X-Forwarded-For` whom it heard from.
    pub proxies: usize,
    /// Sustained requests for a websocket per second and address (the /64 of an IPv6 one); ten times as many after a
    /// rest. More are refused with 429 before their token is looked at. Loopback addresses are not counted.
    pub upgrades_per_address: u32,
    /// What browsers are told of TLS with refusals of the websocket; pages say it by themselves.
    pub tls_only: TlsOnly,
    /// The path below which proxies hand on requests.
    pub base: BasePath,
    /// Pages of which other origins may open websockets (403), beside this port's own.
    pub origins: Origins,
    /// The shortest wait for a socket that the edge or its user has no room for. The wait is drawn between this and
    /// twice this, so that clients do not come back together.
    pub retry_after: Duration,
    /// The most frames waiting for one socket's reader.
    pub out_frames: usize,
    /// The most bytes waiting for one socket's reader. A single larger frame passes when nothing else waits.
    pub out_bytes: usize,
    /// How long a registration in the Session Cache lives. It is re-asserted after a jittered third of this time.
    pub session_ttl: Duration,
    /// The most messages of one socket that main_q has not confirmed yet; further ones are refused as `overloaded`.
    pub unconfirmed_per_socket: u32,
    /// The most messages of all sockets that main_q has not confirmed yet; further ones are refused as `overloaded`.
    pub waiting_messages: usize,
    /// The most bytes of all sockets that main_q has not confirmed yet; further messages are refused as `overloaded`.
    pub waiting_bytes: usize,
    /// The most messages in one send to main_q.
    pub batch_messages: usize,
    /// How many sends to main_q are in flight before the next batch gathers.
    pub sends_in_flight: usize,
    /// The most verified tokens that are remembered; none is remembered past its expiry.
    pub tokens_cached: usize,
    /// How often the cursors that devices acked are saved.
    pub ack_every: Duration,
    /// How long before a token expires its socket gets `auth_due`.
    pub auth_due: Duration,
    /// How long a closing socket may take to read what waits for it and to answer the close, before it is cut.
    pub linger: Duration,
    /// The window in which a drained client should reconnect: low, high.
    pub goaway: (Duration, Duration),
    /// How long after `goaway` sockets may stay before they are closed 4001.
    pub drain_window: Duration,
    /// How long a drain may take in total; sockets that are left then are cut.
    pub drain_deadline: Duration,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(5),
            page_pace: Pace::LEAST,
            frame_bytes: 32 * 1024,
            messages_per_second: 100,
            burst: 200,
            hellos_per_second: 5_000,
            sockets_per_user: 10,
            max_sockets: 100_000,
            proxies: 0,
            upgrades_per_address: 100,
            tls_only: TlsOnly::default(),
            base: BasePath::default(),
            origins: Origins::default(),
            retry_after: Duration::from_secs(2),
            // A client that uses its whole burst at once may get all answers at once.
            out_frames: 2048,
            out_bytes: 1024 * 1024,
            session_ttl: Duration::from_secs(60),
            unconfirmed_per_socket: 512,
            waiting_messages: 65_536,
            waiting_bytes: 64 * 1024 * 1024,
            batch_messages: 256,
            sends_in_flight: 2,
            tokens_cached: 16_384,
            ack_every: Duration::from_secs(3),
            auth_due: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            goaway: (Duration::from_millis(500), Duration::from_secs(5)),
            drain_window: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(20),
        }
    }
}

impl EdgeConfig {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// Names the first value that does not.
    pub fn validate(&self) -> anyhow::Result<()> {
        let times = [
            ("heartbeat", self.heartbeat),
            ("hello_timeout", self.hello_timeout),
            ("retry_after", self.retry_after),
            ("session_ttl", self.session_ttl),
            ("ack_every", self.ack_every),
            ("linger", self.linger),
            ("drain_deadline", self.drain_deadline),
        ];
        for (name, value) in times {
            ensure!(value >= Duration::from_millis(1), "{name} must be at least 1 ms");
            ensure!(value <= Duration::from_secs(86_400), "{name} must be at most a day");
        }
        let counts = [
            ("frame_bytes", self.frame_bytes),
            ("messages_per_second", self.messages_per_second as usize),
            ("burst", self.burst as usize),
            ("hellos_per_second", self.hellos_per_second as usize),
            ("sockets_per_user", self.sockets_per_user),
            ("upgrades_per_address", self.upgrades_per_address as usize),
            ("out_frames", self.out_frames),
            ("out_bytes", self.out_bytes),
            ("unconfirmed_per_socket", self.unconfirmed_per_socket as usize),
            ("waiting_messages", self.waiting_messages),
            ("waiting_bytes", self.waiting_bytes),
            ("batch_messages", self.batch_messages),
            ("sends_in_flight", self.sends_in_flight),
            ("tokens_cached", self.tokens_cached),
        ];
        for (name, value) in counts {
            ensure!(value >= 1, "{name} must be at least 1");
        }
        ensure!(self.frame_bytes <= 16 * 1024 * 1024, "frame_bytes must be at most 16 MiB");
        ensure!(self.goaway.0 <= self.goaway.1, "goaway's low end must not be over its high end");
        ensure!(self.drain_window < self.drain_deadline, "drain_window must be shorter than drain_deadline");
        Ok(())
    }

    /// How long a socket has for a sign of life when it is asked for one because another socket wants a place: enough
    /// for a phone whose radio sleeps.
    pub(crate) fn probe(&self) -> Duration {
        self.heartbeat / 3
    }

    /// How often the sockets' deadlines are checked: often enough for the shortest of them, at most once a second.
    pub(crate) fn sweep_every(&self) -> Duration {
        let shortest = self.heartbeat.min(self.hello_timeout).min(self.linger).min(self.ack_every);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_makes_no_sense_is_refused_by_name() {
        EdgeConfig::default().validate().unwrap();
        let zero = EdgeConfig { out_frames: 0, ..EdgeConfig::default() };
        assert!(zero.validate().unwrap_err().to_string().contains("out_frames"));
        let backwards =
            EdgeConfig { goaway: (Duration::from_secs(2), Duration::ZERO), ..EdgeConfig::default() };
        assert!(backwards.validate().unwrap_err().to_string().contains("goaway"));
        let never = EdgeConfig { heartbeat: Duration::ZERO, ..EdgeConfig::default() };
        assert!(never.validate().unwrap_err().to_string().contains("heartbeat"));
    }
}
