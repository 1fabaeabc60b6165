//! Everything `soundoff up` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::parts::{ConsumerArgs, EdgeArgs, MediaArgs};
use super::timeline::TimelineArgs;
use super::users::UsersArgs;

/// Everything `soundoff up` can be told.
#[derive(Debug, Args)]
pub(crate) struct UpConfig {
    /// Where apps connect. Port 0 takes a free one and prints it.
    #[arg(long, env = "SOUNDOFF_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where everything is kept.
    #[arg(long, env = "SOUNDOFF_DATA", default_value = "soundoff-data")]
    pub(crate) data: PathBuf,
    /// How many edge nodes to run; the public port hands sockets to them in turn.
    #[arg(long, env = "SOUNDOFF_EDGES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) edges: u16,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    /// How many bytes of undelivered messages the queues hold before senders get `overloaded`.
    #[arg(long, env = "SOUNDOFF_QUEUE_BYTES", default_value_t = 4 << 30)]
    pub(crate) queue_bytes: u64,
    /// How many bytes of timelines and lists are kept in memory; what has no room is computed again.
    #[arg(long, env = "SOUNDOFF_CACHE_BYTES", default_value_t = 256 << 20, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(4 << 20..))]
    pub(crate) cache_bytes: usize,
    /// The file with the deployment's secret, at least 32 random bytes, which protects addresses, token keys and upload URLs. Default: secret.key in the
    /// data directory, made when it is not there.
    #[arg(long, env = "SOUNDOFF_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs,
    /// How long clients have to leave when the process stops, in milliseconds; it stops at once when none are left.
    #[arg(long, env = "SOUNDOFF_DRAIN_MS", default_value_t = 3_000)]
    drain_ms: u64,
    // Last, as their headings hold for whatever follows.
    #[command(flatten)]
    pub(crate) users: UsersArgs,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
}

impl UpConfig {
    /// How long clients have to leave.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
