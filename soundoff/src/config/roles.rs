//! The flags of each role of a deployment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::country::CountryArgs;
use super::engines::EngineArgs;
use super::limits::LimitArgs;
use super::parts::{AddressArgs, ConsumerArgs, EdgeArgs, MediaArgs, ProxyArgs, SQS_RECEIVES};
use super::providers::ForeignArgs;
use super::timeline::TimelineArgs;
use super::users::UsersArgs;
use super::values::{address, reachable, whole};

/// A container of ECS is killed 120 s after it was asked to stop; closing what is left takes up to 10 of them.
const LONGEST_DRAIN_MS: u64 = 100_000;

/// The flags of every role.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Where /healthz, /readyz and /metrics are, and an edge's deliveries. Port 0 takes a free one and prints it.
    #[arg(long, env = "SOUNDOFF_INTERNAL_LISTEN", default_value = "0.0.0.0:9090", value_parser = address)]
    pub(crate) internal_listen: SocketAddr,
    /// How long work in progress may take when the process stops, in milliseconds; on an edge also how long clients
    /// have to leave.
    #[arg(long, env = "SOUNDOFF_DRAIN_MS", default_value_t = 60_000, value_parser = whole::<u64>(0..=LONGEST_DRAIN_MS))]
    drain_ms: u64,
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
}

impl NodeArgs {
    /// How long clients and work in progress have.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

/// `soundoff edge`.
#[derive(Debug, Args)]
pub(crate) struct EdgeRole {
    /// Where apps connect. Port 0 takes a free one and prints it.
    #[arg(long, env = "SOUNDOFF_LISTEN", default_value = "0.0.0.0:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// The `ip:port` at which workers reach this edge's internal port. Default: this machine's private address, from
    /// the metadata of ECS or EC2.
    #[arg(long, env = "SOUNDOFF_ADVERTISE", value_parser = reachable)]
    pub(crate) advertise: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    #[command(flatten)]
    pub(crate) country: CountryArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) foreign: ForeignArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// `soundoff router`.
#[derive(Debug, Args)]
pub(crate) struct RouterRole {
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs<SQS_RECEIVES>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// `soundoff workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersRole {
    /// Work only on these types, separated by commas, so that they have processes of their own. Default: all types.
    #[arg(long, env = "SOUNDOFF_ONLY", value_name = "TYPES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs<SQS_RECEIVES>,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// `soundoff timeline`.
#[derive(Debug, Args)]
pub(crate) struct TimelineRole {
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs<SQS_RECEIVES>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
}

/// `soundoff users`.
#[derive(Debug, Args)]
pub(crate) struct UsersRole {
    /// Where apps sign in and media are. Port 0 takes a free one and prints it.
    #[arg(long, env = "SOUNDOFF_LISTEN", default_value = "0.0.0.0:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Give tokens to anybody who asks at /dev/tokens, and show codes in /dev/outbox. For trying things out, on
    /// loopback only.
    #[arg(long)]
    pub(crate) dev: bool,
    #[command(flatten)]
    pub(crate) proxies: ProxyArgs,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    #[command(flatten)]
    pub(crate) country: CountryArgs,
    #[command(flatten)]
    pub(crate) media: MediaArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) users: UsersArgs,
    #[command(flatten)]
    pub(crate) foreign: ForeignArgs,
}
