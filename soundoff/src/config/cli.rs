//! The commands, and what operators name on the command line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use soundoff_common::model::audit::Kind;
use soundoff_common::model::gate::First;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::{Handle, Role};
use soundoff_common::web::secret;
use tracing_subscriber::EnvFilter;

use super::engines::{EngineArgs, SecretArgs};
use super::roles::{EdgeRole, RouterRole, TimelineRole, UsersRole, WorkersRole};
use super::up::UpConfig;
use super::values;

/// The most dead letters of one list: all of them are in memory for a moment, each up to a message's size.
const MOST_LISTED: u64 = 10_000;
/// The most dead letters of one redrive.
const MOST_REDRIVEN: u64 = 1_000_000;

/// An open-source backend for live social apps.
///
/// Start with `soundoff up`: the whole pipeline on this machine. Every flag can be given as SOUNDOFF_… in the
/// environment.
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
    /// What to log to stderr: off, error, warn, info, debug, trace, or a filter such as `warn,soundoff_edge=debug`; `audit=info` is the audit trail.
    #[arg(long = "log", env = "SOUNDOFF_LOG", default_value = "warn,audit=info", global = true, value_parser = values::log_filter)]
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
    /// Look at dead letters (messages that were given up), and bring them back.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Run one edge node on AWS: it holds websockets and takes their messages into main_q.
    Edge(Box<EdgeRole>),
    /// Run one router on AWS: from main_q to the types' queues and the archive.
    Router(Box<RouterRole>),
    /// Run workers on AWS, or pause and resume those of a running `soundoff up`.
    #[command(args_conflicts_with_subcommands = true)]
    Workers {
        #[command(subcommand)]
        command: Option<WorkersCommand>,
        #[command(flatten)]
        role: Box<WorkersRole>,
    },
    /// Run the timelines' stages on AWS, or look after the timelines of a running `soundoff up`.
    #[command(args_conflicts_with_subcommands = true)]
    Timeline {
        #[command(subcommand)]
        command: Option<TimelineCommand>,
        #[command(flatten)]
        role: Box<TimelineRole>,
    },
    /// Run the User service and the media pages on AWS, or manage the users of a running `soundoff up`.
    #[command(args_conflicts_with_subcommands = true)]
    Users {
        #[command(subcommand)]
        command: Option<UsersCommand>,
        #[command(flatten)]
        role: Box<UsersRole>,
    },
    /// Close the service for maintenance, and let people back in little by little.
    Gate {
        #[command(subcommand)]
        command: GateCommand,
    },
    /// Make the queues, tables, stream and bucket that are missing, for self-hosted engines and stand-ins; on AWS
    /// Terraform does that.
    Provision(Box<EngineArgs>),
    /// Ask the role that runs in this container whether it is alive (for its health check).
    Health {
        /// The address of its internal port.
        #[arg(long, env = "SOUNDOFF_INTERNAL_LISTEN", default_value = "0.0.0.0:9090", value_parser = values::address)]
        internal_listen: SocketAddr,
    },
    /// Print the key with which an operator may see a deployment's dead letters on the page /ops of its processes.
    OpsKey(Box<SecretArgs>),
    /// Show who signed in or was refused, what happened to sessions, and what operators did, in the last 90 days.
    Audit(AuditArgs),
    /// Derive each role's keys from the root secret, and replace the root without losing what was made under it.
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Print the deployment's queues and services, and what each may touch, as JSON (infra/terraform/deployment.json).
    Deployment,
    /// Print the protocol as an AsyncAPI 3 document (docs/asyncapi.yaml).
    Asyncapi,
}

/// What a command works on: one machine's data, or a deployment on AWS.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The data directory of `soundoff up`.
    #[arg(long, env = "SOUNDOFF_DATA", default_value = "soundoff-data")]
    pub(crate) data: PathBuf,
    /// Work on the deployment on AWS that the settings below name, instead of a data directory.
    #[arg(long, env = "SOUNDOFF_AWS")]
    pub(crate) aws: bool,
    #[command(flatten)]
    pub(crate) engines: Box<EngineArgs>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the dead letters of a queue, oldest first: key, time, reason.
    List {
        /// The queue, such as post_create_q.
        queue: QueueArg,
        /// At most this many.
        #[arg(long, default_value_t = 100, value_parser = values::whole::<usize>(1..=MOST_LISTED))]
        limit: usize,
        #[command(flatten)]
        at: At,
    },
    /// Show all of one dead letter.
    Show {
        /// The queue, such as post_create_q.
        queue: QueueArg,
        /// Its key, from `list`.
        key: String,
        #[command(flatten)]
        at: At,
    },
    /// Put dead letters back on their queue, oldest first, as if just sent.
    Redrive {
        /// The queue, such as post_create_q.
        queue: QueueArg,
        /// At most this many; run it again for more.
        #[arg(long, default_value_t = 1000, value_parser = values::whole::<usize>(1..=MOST_REDRIVEN))]
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
        let names = crate::features::catalog().queue_names();
        let found = names.iter().find(|name| name.as_str() == text);
        let all = || names.iter().map(QueueName::as_str).collect::<Vec<_>>().join(", ");
        found.cloned().map(QueueArg).ok_or_else(|| format!("no such queue; there are {}", all()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Make a user a moderator or an admin, or a plain user again.
    Role {
        /// The user's handle.
        user: Handle,
        /// user, moderator or admin.
        role: Role,
        #[command(flatten)]
        at: At,
    },
    /// Make a new key for access tokens; it signs from two minutes later, when every process knows it.
    RotateKeys {
        /// Drop all other keys at once, if one has leaked: no access token is valid from now on, and clients must
        /// refresh theirs.
        #[arg(long)]
        drop_old: bool,
        #[command(flatten)]
        at: At,
    },
    /// Close all of a user's sockets and refuse every token issued so far.
    Revoke {
        /// The user's handle.
        user: Handle,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Let nobody in, and close all sockets. People see the reason; health checks and operators pass.
    Close {
        /// Why, for people to read: at most 64 bytes.
        #[arg(long, default_value = "")]
        reason: String,
        /// How long it will take, such as 30s, 10m or 2h: clients then come back at that time, within a minute. It
        /// opens nothing by itself.
        #[arg(long = "for", value_name = "TIME", value_parser = values::time)]
        lasts: Option<Duration>,
        #[command(flatten)]
        at: At,
    },
    /// Let people in again: all at once, or more and more of them. Who has been let in stays in.
    Open {
        /// How long it takes until all are let in, such as 10m.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = values::time)]
        over: Duration,
        /// Who comes within the first half of that time, such as country=GB,app=ios or app=ios-5.2; all others follow in
        /// the second. Visitors of one of the countries, and those with one of the apps, are first.
        #[arg(long, value_name = "WHO", value_delimiter = ',', value_parser = values::first, requires = "over")]
        first: Vec<First>,
        #[command(flatten)]
        at: At,
    },
    /// Show how the gate stands.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

/// What `soundoff audit` shows, and of what.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// How far back, such as 30m or 48h.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = values::time)]
    pub(crate) since: Duration,
    /// Only what happened to this user's account.
    #[arg(long)]
    pub(crate) user: Option<Handle>,
    /// Only this kind, such as signed_in, sign_in_refused or operated.
    #[arg(long)]
    pub(crate) kind: Option<Kind>,
    /// Go on, and show what happens from now on.
    #[arg(long)]
    pub(crate) follow: bool,
    /// As JSON, one event a line, for programs.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Replacing the root: `rotate`, on AWS then `use`, `reseal`, `retire`, each followed by restarts.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Print the keys that the processes of one role need, for their SOUNDOFF_SECRET: all that a process which is taken
    /// over can give away.
    Derive {
        /// edge, router, workers, timeline or users.
        #[arg(long)]
        role: secret::Role,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Make a new root beside the present one, in its file. `soundoff up` uses it from its next start. On AWS it is only
    /// announced: derive each role's keys again, restart all processes, then `soundoff secret use`.
    Rotate {
        #[command(flatten)]
        at: At,
    },
    /// Begin to use the root that was announced, when every process knows it: derive each role's keys again, and restart
    /// all processes.
    Use {
        #[command(flatten)]
        at: At,
    },
    /// Seal again, under the root in use, what needs a former one. It may be stopped and begun again.
    Reseal {
        #[command(flatten)]
        at: At,
    },
    /// Forget the former roots, once nothing needs them.
    Retire {
        /// Do not wait a day for what was begun under a former root: codes under way and upload URLs end, and a
        /// provider's token that was used already may be used once more.
        #[arg(long)]
        at_once: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show the roots by name, and how each stands.
    Show {
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
    /// Run the stage that finds users whose timeline is due.
    Schedule(Box<TimelineRole>),
    /// Run the stage that gathers candidates (TLC).
    Compute(Box<TimelineRole>),
    /// Run the stage that ranks them.
    Personalize(Box<TimelineRole>),
    /// Run the stage that answers `timeline.fetch`.
    Fetch(Box<TimelineRole>),
    /// Compute the timelines of some users, or of everybody, whether they are due or not.
    Tick {
        /// Handles of the users; everybody when none is named.
        users: Vec<Handle>,
        #[command(flatten)]
        at: At,
    },
    /// Show how old timelines are, how many are computed, how often one is missing, and which stage takes how long.
    Status {
        #[command(flatten)]
        at: At,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Refuses a `SOUNDOFF_…` variable that no flag reads: a typing mistake must not silently mean the default.
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
