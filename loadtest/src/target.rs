//! The server under test: one that runs already, or one that the run starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use soundoff_common::protocol::{Handle, now_ms};
use tempfile::TempDir;

use crate::children::{self, announced};
use crate::dialect::{Dialect, User};
use crate::peers::servers::{self, Peer};
use crate::posts::signed;
use crate::process::{Usage, file_limit};
use crate::server::Server;

/// Descriptors that are not sockets of the test, on either side.
const SPARE_FILES: usize = 500;

/// Which server is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TargetArgs {
    /// What to start, on a port of its own and stopped at the end: Sound Off (`up`), or a peer (`loadtest peers` installs those).
    #[arg(long, value_enum, default_value = "up", conflicts_with = "url")]
    pub(crate) server: Peer,
    /// The `soundoff` program to start; by default the one beside this program, else the one in PATH.
    #[arg(long, env = "LOADTEST_SOUNDOFF", value_name = "FILE")]
    pub(crate) soundoff: Option<PathBuf>,
    /// Where servers keep their data while they run, and peers are installed. Durable queues need a real disk: not a tmpfs.
    #[arg(long, default_value = "target/loadtest", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Measure a running `soundoff up` instead. Its limits must allow the load: see --messages-per-second, --burst and --heartbeat-ms there.
    #[arg(long, value_name = "URL", requires = "pid")]
    pub(crate) url: Option<String>,
    /// The process id of that server.
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) pid: Option<u32>,
}

/// Where and how a server takes deliveries.
#[derive(Debug, Clone)]
pub(crate) enum Posts {
    /// Sound Off's internal port; requests are signed with the key.
    Signed {
        /// The edge's internal address.
        address: SocketAddr,
        /// The key of the deployment.
        key: String,
    },
    /// `{"deliveries":[{"to","text"}]}` at /deliver of the peers in JavaScript.
    Json(SocketAddr),
    /// The text itself at /pub/USER.
    Nchan(SocketAddr),
}

/// A server that is there to be measured.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name in tables.
    pub(crate) name: String,
    /// Where its websockets are.
    pub(crate) address: SocketAddr,
    /// How it is spoken to.
    pub(crate) dialect: Dialect,
    /// Its processes; their children count, too.
    pub(crate) pids: Vec<u32>,
    /// How it takes deliveries, if it does.
    pub(crate) posts: Option<Posts>,
    /// What HS256 tokens are signed with, where those are wanted.
    pub(crate) secret: String,
    /// Part of a longer run that shows how far it is.
    pub(crate) quiet: bool,
    /// What ends with this: the processes first, then their data.
    pub(crate) _running: (Vec<children::Server>, Option<TempDir>),
}

impl Target {
    /// As the arguments say.
    ///
    /// # Errors
    /// It does not start, or is not there.
    pub(crate) async fn from_args(args: &TargetArgs) -> Result<Self> {
        match (&args.url, args.pid) {
            (Some(url), Some(pid)) => {
                let address = Server::resolve(url).await?.address;
                Usage::of(pid)?;
                let target = Self {
                    name: "Sound Off".into(),
                    address,
                    dialect: Dialect::SoundOff,
                    pids: vec![pid],
                    posts: None,
                    secret: String::new(),
                    quiet: false,
                    _running: (Vec::new(), None),
                };
                Ok(target)
            }
            _ => servers::start(args.server, args),
        }
    }

    /// What its processes have used so far.
    ///
    /// # Errors
    /// One is gone.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of_all(&self.pids).with_context(|| format!("{} has ended", self.name))
    }

    /// Users with what they need to connect. Sound Off's are created.
    ///
    /// # Errors
    /// The server makes none.
    pub(crate) async fn users(&self, prefix: &str, count: usize) -> Result<Vec<User>> {
        let names: Vec<String> = (0..count).map(|n| format!("{prefix}_{n:05}")).collect();
        let tokens = match self.dialect {
            Dialect::SoundOff => {
                let handles: Vec<Handle> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
                let server = Server::resolve(&format!("ws://{}", self.address)).await?;
                server.tokens(&handles, |_| ()).await?
            }
            Dialect::Bare => names.iter().map(|name| self.hs256(name)).collect::<Result<_>>()?,
            Dialect::Nchan | Dialect::Mqtt | Dialect::Nats => vec![String::new(); count],
        };
        Ok(names.into_iter().zip(tokens).map(|(name, token)| User { name, token }).collect())
    }

    fn hs256(&self, name: &str) -> Result<String> {
        let claims = json!({ "sub": name, "exp": now_ms() / 1000 + 24 * 3600 });
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).context("cannot sign a token")
    }

    /// Waits until the server rests: under 2 % of a core for a second, or `patience` is over. Answers whether it does.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn settle(&self, patience: Duration) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            let before = self.usage()?.cpu;
            std::thread::sleep(Duration::from_secs(1));
            if self.usage()?.cpu.saturating_sub(before) <= Duration::from_millis(20) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Checks that so many sockets fit into this process, and into a server with the same limit.
///
/// # Errors
/// They do not.
pub(crate) fn ensure_room(sockets: usize) -> Result<()> {
    let room = file_limit()?.saturating_sub(SPARE_FILES);
    ensure!(
        sockets <= room,
        "{sockets} sockets are more than a process here may open: at most {room} (`ulimit -n`, less {SPARE_FILES} for everything else)"
    );
    Ok(())
}

/// Starts `soundoff up` with its limits out of the way: what is measured is the work, not how it is throttled. No timelines are computed
/// by the clock, and no heartbeat is missed.
///
/// # Errors
/// There is no such program, or it does not start.
pub(crate) fn start_soundoff(args: &TargetArgs) -> Result<Target> {
    let scratch = scratch(args)?;
    let program = args.soundoff.clone().or_else(beside_this).unwrap_or_else(|| "soundoff".into());
    let data = scratch.path().join("data");
    let mut command = Command::new(&program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SOUNDOFF_") {
            command.env_remove(name);
        }
    }
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    command.args(["--messages-per-second", "1000000", "--burst", "1000000", "--heartbeat-ms", "3600000"]);
    command.args(["--hello-timeout-ms", "60000", "--timeline-interval-ms", "0"]);
    let started = children::Server::start(&mut command, &scratch.path().join("log"));
    let mut server = started.context(
        "no `soundoff` to start: build it with `cargo build --release`, or name it with --soundoff FILE",
    )?;
    let (url, metrics) =
        server.until(|log| Some((announced(log, "websocket")?, announced(log, "metrics")?)))?;
    let address = |url: &str| -> Result<SocketAddr> {
        let rest = url.split("//").nth(1).and_then(|rest| rest.split('/').next());
        rest.and_then(|rest| rest.parse().ok()).with_context(|| format!("no address in {url:?}"))
    };
    Ok(Target {
        name: "Sound Off".into(),
        address: address(&url)?,
        dialect: Dialect::SoundOff,
        pids: vec![server.pid()],
        posts: Some(signed(address(&metrics)?, &data)?),
        secret: String::new(),
        quiet: false,
        _running: (vec![server], Some(scratch)),
    })
}

fn beside_this() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("soundoff");
    path.is_file().then_some(path)
}

/// A directory that goes with the server.
///
/// # Errors
/// It cannot be made.
pub(crate) fn scratch(args: &TargetArgs) -> Result<TempDir> {
    let made = std::fs::create_dir_all(&args.dir).and_then(|()| tempfile::tempdir_in(&args.dir));
    made.with_context(|| {
        format!("cannot make a directory in {}; choose another with --dir", args.dir.display())
    })
}
