//! The server under test: one that runs already, or one that the run starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use soundoff_common::protocol::{Handle, now_ms};
use tempfile::TempDir;

use crate::children;
use crate::dialect::{Dialect, User};
use crate::peers::peer::Peer;
use crate::posts::Posts;
use crate::process::{Usage, file_limit};
use crate::server::Server;

/// File descriptors that are needed for other things than sockets, on either side.
const SPARE_FILES: usize = 500;

/// What is started, and where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The `soundoff` program to start; by default the one beside this program, else the one in PATH.
    #[arg(long, env = "LOADTEST_SOUNDOFF", value_name = "FILE")]
    pub(crate) soundoff: Option<PathBuf>,
    /// Where servers keep their data while they run, and peers are installed. Durable queues need a real disk: not a
    /// tmpfs.
    #[arg(long, default_value = "target/loadtest", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Which server is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TargetArgs {
    /// What to start, on a port of its own and stopped at the end: Sound Off (`up`), or a peer (`loadtest peers`
    /// installs those).
    #[arg(long, value_enum, default_value = "up", conflicts_with = "url")]
    pub(crate) server: Peer,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Measure a running `soundoff up` instead. Its limits must allow the load: see --messages-per-second, --burst and
    /// --heartbeat-ms there.
    #[arg(long, value_name = "URL", requires = "pid")]
    pub(crate) url: Option<String>,
    /// The process id of that server.
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) pid: Option<u32>,
}

impl TargetArgs {
    /// `soundoff up`, started at a place.
    pub(crate) fn up(place: PlaceArgs) -> Self {
        Self { server: Peer::Up, place, url: None, pid: None }
    }
}

/// A server that runs and can be measured.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name in tables.
    pub(crate) name: String,
    /// The address of its websockets.
    pub(crate) address: SocketAddr,
    /// Its language.
    pub(crate) dialect: Dialect,
    /// Its processes; their children count, too.
    pub(crate) pids: Vec<u32>,
    /// How it takes deliveries, if it takes any.
    pub(crate) posts: Option<Posts>,
    /// The secret of HS256 tokens, where the server uses those.
    pub(crate) secret: String,
    /// Whether it is part of a longer run, which shows the progress itself.
    pub(crate) quiet: bool,
    /// What is removed when this is dropped: the processes first, then their data.
    pub(crate) _running: (Vec<children::Server>, Option<TempDir>),
}

impl Target {
    /// What its processes have used so far.
    ///
    /// # Errors
    /// A process has ended.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of_all(&self.pids).with_context(|| format!("{} has ended", self.name))
    }

    /// Users with what they need to connect. Sound Off's are created.
    ///
    /// # Errors
    /// The server creates none.
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

    /// Waits until the server rests: under 2 % of a core for a second, or until `patience` is over. Returns whether it
    /// rests.
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

/// Checks that `sockets` sockets fit into this process, and into a server with the same limit.
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

/// A directory that is removed with the server.
///
/// # Errors
/// It cannot be made.
pub(crate) fn scratch(args: &TargetArgs) -> Result<TempDir> {
    let made = std::fs::create_dir_all(&args.place.dir).and_then(|()| tempfile::tempdir_in(&args.place.dir));
    made.with_context(|| {
        format!("cannot make a directory in {}; choose another with --dir", args.place.dir.display())
    })
}
