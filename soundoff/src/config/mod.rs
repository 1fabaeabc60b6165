//! Flags and environment: the same names, one struct, validated before anything starts.

mod timeline;
mod users;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use soundoff_common::consumer::ConsumerConfig;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::{Handle, Role};
use soundoff_edge::EdgeConfig;
use tracing_subscriber::EnvFilter;

use crate::chaos::ChaosRule;
pub(crate) use timeline::TimelineArgs;
pub(crate) use users::{Couriers, UsersArgs};

/// An open-source backend for live social apps.
///
/// Start with `soundoff up`: the whole pipeline on this machine. Every flag can be given as SOUNDOFF_… in the environment.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// What to log to stderr: off, error, warn, info, debug, or a filter such as `warn,soundoff_edge=debug`.
    #[arg(long = "log", env = "SOUNDOFF_LOG", default_value = "warn", global = true)]
    level: String,
}

impl Log {
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.level)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: edges, router, workers, stores.
    Up(Box<UpConfig>),
    /// Show depth, in flight, oldest age and dead letters of every queue.
    Queues {
        #[command(flatten)]
        at: At,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Look at messages that were given up, and bring them back.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Manage users.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Stop and start the workers of a running `soundoff up`; edges go on accepting meanwhile.
    Workers {
        #[command(subcommand)]
        command: WorkersCommand,
    },
    /// Compute timelines at once, and see how they are.
    Timeline {
        #[command(subcommand)]
        command: TimelineCommand,
    },
    /// Print the protocol as an AsyncAPI 3 document (docs/asyncapi.yaml).
    Asyncapi,
}

/// Which store a command is about.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The data directory of `soundoff up`.
    #[arg(long, env = "SOUNDOFF_DATA", default_value = "soundoff-data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the dead letters of a queue, oldest first: key, when, why.
    List {
        /// Such as post_create_q.
        queue: QueueArg,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        at: At,
    },
    /// Show one dead letter whole.
    Show {
        /// Such as post_create_q.
        queue: QueueArg,
        /// Its key, from `list`.
        key: String,
        #[command(flatten)]
        at: At,
    },
    /// Put dead letters back on their queue, oldest first, as if just sent.
    Redrive {
        /// Such as post_create_q.
        queue: QueueArg,
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        at: At,
    },
}

/// A queue's name as typed.
#[derive(Debug, Clone)]
pub(crate) struct QueueArg(pub(crate) QueueName);

impl std::str::FromStr for QueueArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = crate::catalog::catalog().queue_names();
        let found = names.iter().find(|name| name.as_str() == text);
        let all = || names.iter().map(QueueName::as_str).collect::<Vec<_>>().join(", ");
        found.cloned().map(QueueArg).ok_or_else(|| format!("no such queue; there are {}", all()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Make a user a moderator or an admin, or a plain user again.
    Role {
        /// Who.
        user: Handle,
        /// user, moderator or admin.
        role: Role,
        #[command(flatten)]
        at: At,
    },
    /// Make a new key for access tokens; it signs two minutes later, when everybody knows it.
    RotateKeys {
        /// Drop all others at once, for when one has leaked: every access token opens nothing from now on, and is to be refreshed.
        #[arg(long)]
        drop_old: bool,
        #[command(flatten)]
        at: At,
    },
    /// Close all of a user's sockets and refuse every token issued so far.
    Revoke {
        /// Who.
        user: Handle,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// Finish what is in progress and take no more.
    Pause {
        #[command(flatten)]
        at: At,
    },
    /// Take work again.
    Resume {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TimelineCommand {
    /// Queue the timelines of some users, or of everybody, whether they are due or not.
    Tick {
        /// Whose; everybody's when none is named.
        users: Vec<Handle>,
        #[command(flatten)]
        at: At,
    },
    /// Show how old timelines are, how many are computed, how often they are missing, and where the time goes.
    Status {
        #[command(flatten)]
        at: At,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// What closing the sockets that are left may take, after the time clients had to leave by themselves.
const LAST_SECONDS: Duration = Duration::from_secs(3);

/// Everything `soundoff up` can be told.
#[derive(Debug, Args)]
pub(crate) struct UpConfig {
    /// Where apps connect. Port 0 takes a free one and prints it.
    #[arg(long, env = "SOUNDOFF_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) at: At,
    /// How many edge nodes to run; the public port hands sockets to them in turn.
    #[arg(long, env = "SOUNDOFF_EDGES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) edges: u16,
    /// How often clients ping, in milliseconds; two missed intervals close the socket.
    #[arg(long, env = "SOUNDOFF_HEARTBEAT_MS", default_value_t = 30_000)]
    heartbeat_ms: u64,
    /// How long a new socket has for its hello, in milliseconds.
    #[arg(long, env = "SOUNDOFF_HELLO_TIMEOUT_MS", default_value_t = 5_000)]
    hello_timeout_ms: u64,
    /// The largest inbound frame, in bytes.
    #[arg(long, env = "SOUNDOFF_FRAME_BYTES", default_value_t = 32 * 1024)]
    frame_bytes: usize,
    /// How many messages a second a socket may send for long.
    #[arg(long, env = "SOUNDOFF_MESSAGES_PER_SECOND", default_value_t = 100)]
    messages_per_second: u32,
    /// How many messages a socket may send at once.
    #[arg(long, env = "SOUNDOFF_BURST", default_value_t = 200)]
    burst: u32,
    /// How many sockets a user may hold.
    #[arg(long, env = "SOUNDOFF_SOCKETS_PER_USER", default_value_t = 10)]
    sockets_per_user: usize,
    /// How many sockets an edge takes before it sheds load.
    #[arg(long, env = "SOUNDOFF_MAX_SOCKETS", default_value_t = 100_000)]
    max_sockets: usize,
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
    /// How long pictures are kept that no post shows, in seconds.
    #[arg(long, env = "SOUNDOFF_MEDIA_KEPT_S", default_value_t = 24 * 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) media_kept_s: u64,
    /// How many messages of one queue are worked on at once. Many of them share a commit, so more is faster up to a point.
    #[arg(long, env = "SOUNDOFF_SLOTS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
    /// How long a message in progress stays out of sight, in milliseconds; extended while work goes on.
    #[arg(long, env = "SOUNDOFF_VISIBILITY_MS", default_value_t = 30_000)]
    visibility_ms: u64,
    /// How often a message is tried before it goes to the dead letters.
    #[arg(long, env = "SOUNDOFF_MAX_RECEIVES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    max_receives: u32,
    /// How long clients have to leave when the process stops, in milliseconds; it stops at once when none are left.
    #[arg(long, env = "SOUNDOFF_DRAIN_MS", default_value_t = 3_000)]
    pub(crate) drain_ms: u64,
    /// Make a share of a type's runs fail, to see how a client copes: `post.create=0.1`. Repeatable; for development.
    #[arg(long, env = "SOUNDOFF_CHAOS", value_name = "TYPE=RATE", value_delimiter = ',')]
    pub(crate) chaos: Vec<ChaosRule>,
    /// The seed of `--chaos`: the same seed makes the same choices.
    #[arg(long, env = "SOUNDOFF_CHAOS_SEED", default_value_t = 1)]
    pub(crate) chaos_seed: u64,
    // Last, as their headings hold for whatever follows.
    #[command(flatten)]
    pub(crate) users: UsersArgs,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
}

impl UpConfig {
    /// What every edge gets.
    pub(crate) fn edge(&self) -> EdgeConfig {
        let drain_window = Duration::from_millis(self.drain_ms);
        EdgeConfig {
            goaway: (Duration::ZERO, drain_window / 2),
            drain_window,
            drain_deadline: drain_window + LAST_SECONDS,
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            hello_timeout: Duration::from_millis(self.hello_timeout_ms),
            frame_bytes: self.frame_bytes,
            messages_per_second: self.messages_per_second,
            burst: self.burst,
            sockets_per_user: self.sockets_per_user,
            max_sockets: self.max_sockets,
            ..EdgeConfig::default()
        }
    }

    /// How a type's queue is pulled.
    pub(crate) fn worker(&self) -> ConsumerConfig {
        ConsumerConfig {
            slots: usize::from(self.slots),
            visibility: Duration::from_millis(self.visibility_ms),
            max_receives: self.max_receives,
            ..ConsumerConfig::default()
        }
    }

    /// How main_q is pulled: in batches, as routing is the same small work for each message, and with slots enough for the
    /// time the archive takes to share its disk syncs.
    pub(crate) fn router(&self) -> ConsumerConfig {
        ConsumerConfig { slots: 4096, batch: 256, ..self.worker() }
    }
}

/// Refuses a `SOUNDOFF_…` variable that no flag reads: a typing error must not silently mean the default.
pub(crate) fn refuse_unknown_environment() -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    collect(&Cli::command(), &mut known);
    let given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in given.filter(|name| name.starts_with("SOUNDOFF_")) {
        let list = || known.iter().cloned().collect::<Vec<_>>().join(", ");
        anyhow::ensure!(
            known.contains(&name),
            "the environment sets {name}, which means nothing; known are {}",
            list()
        );
    }
    Ok(())
}

fn collect(command: &clap::Command, known: &mut BTreeSet<String>) {
    let names = command.get_arguments().filter_map(|arg| arg.get_env());
    known.extend(names.map(|name| name.to_string_lossy().into_owned()));
    for sub in command.get_subcommands() {
        collect(sub, known);
    }
}
