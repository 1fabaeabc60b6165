//! The flags of `soundoff up`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use soundoff_edge::EdgeConfig;
use soundoff_users::UsersConfig;

use super::country::CountryArgs;
use super::limits::LimitArgs;
use super::parts::{ConsumerArgs, EdgeArgs, MediaArgs, OWN_RECEIVES};
use super::providers::ForeignArgs;
use super::timeline::TimelineArgs;
use super::users::UsersArgs;
use super::values::{HOUR_MS, local, whole};
use crate::door::Door;

/// Below this the queues would not hold one message of the smallest frames there are; see also [`UpConfig::check`].
const SMALLEST_QUEUES: u64 = 1 << 10;
/// More than any disk of one machine, and far from where sums overflow.
const LARGEST_QUEUES: u64 = 1 << 50;
/// Enough for some values of the largest size.
const SMALLEST_CACHE: u64 = 4 << 20;
/// More than the memory of a machine that `up` is meant for.
const LARGEST_CACHE: u64 = 1 << 40;

/// The flags of `soundoff up`.
#[derive(Debug, Args)]
pub(crate) struct UpConfig {
    /// Where apps connect, on this machine only unless there is --lan: an address, or a port alone. Port 0 takes a free
    /// one and prints it.
    #[arg(long, env = "SOUNDOFF_LISTEN", default_value = "127.0.0.1:8080", value_parser = local)]
    listen: SocketAddr,
    /// Let phones, emulators and other machines of the local network in: listens on all addresses, or on that of
    /// --listen, and prints the URL to open on them. It carries a pairing secret, which tokens (/dev/tokens), the outbox
    /// (/dev/outbox), /ops and /console then want of everybody who is not on this machine.
    #[arg(long, env = "SOUNDOFF_LAN")]
    pub(crate) lan: bool,
    /// Where everything is kept.
    #[arg(long, env = "SOUNDOFF_DATA", default_value = "soundoff-data")]
    pub(crate) data: PathBuf,
    /// How many edge nodes to run, 1 to 64; the public port hands sockets to them in turn.
    #[arg(long, env = "SOUNDOFF_EDGES", default_value_t = 1, value_parser = whole::<u16>(1..=64))]
    pub(crate) edges: u16,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    /// How many bytes of undelivered messages the queues hold before senders get `overloaded`. Once they are more than
    /// half full, so does a user whose messages take more than a 64th.
    #[arg(long, env = "SOUNDOFF_QUEUE_BYTES", default_value_t = 4 << 30, value_parser = whole::<u64>(SMALLEST_QUEUES..=LARGEST_QUEUES))]
    pub(crate) queue_bytes: u64,
    /// How many bytes of timelines and lists are kept in memory; anything that has no room is computed again.
    #[arg(long, env = "SOUNDOFF_CACHE_BYTES", default_value_t = 256 << 20, value_parser = whole::<usize>(SMALLEST_CACHE..=LARGEST_CACHE))]
    pub(crate) cache_bytes: usize,
    /// The file with the deployment's secret, at least 32 random bytes, which protects addresses, token keys and upload
    /// URLs. Default: secret.key in the data directory, which is made when it is missing.
    #[arg(long, env = "SOUNDOFF_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) country: CountryArgs,
    #[command(flatten)]
    pub(crate) foreign: ForeignArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs<OWN_RECEIVES>,
    /// How long clients have to leave when the process stops, in milliseconds; it stops at once when none are left.
    #[arg(long, env = "SOUNDOFF_DRAIN_MS", default_value_t = 3_000, value_parser = whole::<u64>(0..=HOUR_MS))]
    drain_ms: u64,
    // Last: their headings in --help hold for all flags that follow.
    #[command(flatten)]
    pub(crate) users: UsersArgs,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
}

impl UpConfig {
    /// Checks what no flag can check by itself.
    ///
    /// # Errors
    /// Names the flags that do not go together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.queue_bytes > self.edge.frame_bytes as u64,
            "--queue-bytes {} has no room for one message of --frame-bytes {}: every sender would get `overloaded`",
            self.queue_bytes,
            self.edge.frame_bytes
        );
        Ok(())
    }

    /// Where to listen. For the local network, this machine alone means all of its addresses.
    ///
    /// # Errors
    /// The address is not this machine's alone, and nobody said that others may come.
    pub(crate) fn listen(&self) -> anyhow::Result<SocketAddr> {
        let ip = self.listen.ip();
        anyhow::ensure!(
            ip.is_loopback() || self.lan,
            "`up` gives tokens to anybody who asks, so it listens on loopback only; {} is not. With --lan it lets others \
             in, and wants a pairing secret of who asks for tokens",
            self.listen
        );
        let ip = match ip {
            IpAddr::V4(v4) if self.lan && v4.is_loopback() => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(v6) if self.lan && v6.is_loopback() => Ipv6Addr::UNSPECIFIED.into(),
            other => other,
        };
        Ok(SocketAddr::new(ip, self.listen.port()))
    }

    /// The configuration of each edge.
    pub(crate) fn edge_config(&self) -> EdgeConfig {
        EdgeConfig { origins: self.door().origins, ..self.edge.config(self.edges, self.drain()) }
    }

    /// The door to the public port, which a developer's pages may use.
    pub(crate) fn door(&self) -> Door {
        let door = self.edge.door();
        let origins = door.origins.and_loopback();
        Door { origins: if self.lan { origins.and_addresses() } else { origins }, ..door }
    }

    /// How users sign in: passkeys belong to this machine, unless a domain is said.
    pub(crate) fn users_config(&self) -> anyhow::Result<UsersConfig> {
        self.users.config(self.door().origins, Some("localhost"))
    }

    /// How long clients have to leave.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
