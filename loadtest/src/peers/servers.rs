//! How each server is started: on loopback, with a configuration in a directory of its own that is removed with it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::install::Installed;
use super::peer::Peer;
use crate::children::{Server, free_port};
use crate::dialect::Dialect;
use crate::posts::Posts;
use crate::process::Usage;
use crate::target::{Target, TargetArgs, scratch};
use crate::{server, soundoff};

/// The parent of a directory that Debian's nginx requires.
const NGINX: &str = "/var/lib/nginx";

/// The programs in JavaScript. They are written into the folder of the packages that they need.
const SCRIPTS: [(&str, &str); 5] = [
    ("bun.js", include_str!("../../peers/bun.js")),
    ("edge.js", include_str!("../../peers/edge.js")),
    ("router.js", include_str!("../../peers/router.js")),
    ("stream.js", include_str!("../../peers/stream.js")),
    ("worker.js", include_str!("../../peers/worker.js")),
];

/// The server that the arguments ask for: one that runs already, or one that is started.
///
/// # Errors
/// It does not start, or does not run.
pub(crate) async fn target(args: &TargetArgs) -> Result<Target> {
    match (&args.url, args.pid) {
        (Some(url), Some(pid)) => {
            let address = server::Server::resolve(url).await?.address;
            Usage::of(pid)?;
            let target = Target {
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
        _ => start(args.server, args),
    }
}

/// Starts a server.
///
/// # Errors
/// It is not installed, or does not start.
pub(crate) fn start(peer: Peer, args: &TargetArgs) -> Result<Target> {
    if peer == Peer::Up {
        return soundoff::start(args);
    }
    let mut starting = Starting::new(peer, args)?;
    let started = match peer {
        Peer::Up | Peer::Bun | Peer::BunLibrary | Peer::Node => starting.script(peer),
        Peer::NodeRedis => starting.node_redis(),
        Peer::Nchan => starting.nchan(),
        Peer::Mosquitto => starting.mosquitto(),
        Peer::Nats => starting.nats(),
    };
    let (dialect, posts) = started.with_context(|| format!("{} does not start", peer.name()))?;
    Ok(Target {
        name: peer.name().into(),
        address: starting.address,
        dialect,
        pids: starting.servers.iter().map(Server::pid).collect(),
        posts,
        secret: starting.secret,
        quiet: false,
        _running: (starting.servers, Some(starting.scratch)),
    })
}

/// A peer that is being started.
struct Starting {
    servers: Vec<Server>,
    scratch: tempfile::TempDir,
    installed: Installed,
    address: SocketAddr,
    secret: String,
}

type Spoken = (Dialect, Option<Posts>);

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Starting {
    fn new(peer: Peer, args: &TargetArgs) -> Result<Self> {
        let installed = Installed::new(&args.place.dir)?;
        installed.ensure(peer)?;
        let secret = format!("{:032x}", rand::random::<u128>());
        let address = loopback(free_port()?);
        Ok(Self { servers: Vec::new(), scratch: scratch(args)?, installed, address, secret })
    }

    fn run(&mut self, command: &mut Command, name: &str) -> Result<&mut Server> {
        command.current_dir(self.scratch.path());
        let server = Server::start(command, &self.scratch.path().join(format!("{name}.log")))?;
        self.servers.push(server);
        self.servers.last_mut().context("one was just started")
    }

    fn program(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.installed.program(name)?);
        command.env("LD_LIBRARY_PATH", self.installed.libraries());
        Ok(command)
    }

    /// Writes a configuration and returns its path.
    fn write(&self, name: &str, text: &str) -> Result<std::path::PathBuf> {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn javascript(&self, program: &Path, file: &str, redis: Option<SocketAddr>) -> Result<Command> {
        let npm = self.installed.npm();
        for (name, text) in SCRIPTS {
            std::fs::write(npm.join(name), text).context("cannot write the peers' programs")?;
        }
        let mut command = Command::new(program);
        command.arg(npm.join(file)).env("PORT", self.address.port().to_string()).env("SECRET", &self.secret);
        if let Some(redis) = redis {
            command.env("REDIS", format!("redis://{redis}"));
        }
        Ok(command)
    }

    /// Sockets and deliveries on one port.
    fn script(&mut self, peer: Peer) -> Result<Spoken> {
        let (bun, node) = (self.installed.npm().join("node_modules/.bin/bun"), Path::new("node"));
        let (program, file) = if peer == Peer::Node { (node, "edge.js") } else { (bun.as_path(), "bun.js") };
        let mut command = self.javascript(program, file, None)?;
        if peer == Peer::BunLibrary {
            command.env("TOKENS", "jsonwebtoken");
        }
        let address = self.address;
        self.run(&mut command, "server")?.until_listening(address)?;
        Ok((Dialect::Bare, Some(Posts::Json(address))))
    }

    fn node_redis(&mut self) -> Result<Spoken> {
        let redis = loopback(free_port()?);
        let mut command = self.program("redis-server")?;
        command.args(["--bind", "127.0.0.1", "--port", &redis.port().to_string(), "--save", ""]);
        command.args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--auto-aof-rewrite-percentage",
            "0",
        ]);
        self.run(&mut command, "redis")?.until_listening(redis)?;
        let node = Path::new("node");
        for (name, listens) in [("edge", true), ("router", false), ("worker", false)] {
            let mut command = self.javascript(node, &format!("{name}.js"), Some(redis))?;
            let address = self.address;
            let server = self.run(&mut command, name)?;
            if listens {
                server.until_listening(address)?;
            }
        }
        Ok((Dialect::Bare, Some(Posts::Json(self.address))))
    }

    /// nchan with one worker process, so that no message passes between processes, and without storing messages. Both
    /// are in its favour.
    fn nchan(&mut self) -> Result<Spoken> {
        // With nchan, nginx makes Debian's directory for bodies even if the configuration names another, but does not
        // make its parent.
        std::fs::create_dir_all(NGINX).with_context(|| format!("nginx requires {NGINX}: make it by hand"))?;
        let (port, module) =
            (self.address.port(), self.installed.file("usr/lib/nginx/modules/ngx_nchan_module.so")?);
        let temporary =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path tmp;"));
        let conf = format!(
            "load_module {};\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid nginx.pid;\nerror_log stderr error;\n\
             events {{ worker_connections 20000; }}\n\
             http {{\n access_log off;\n {}\n tcp_nodelay on;\n keepalive_requests 1000000000;\n keepalive_timeout 1h;\n\
             nchan_shared_memory_size 1G;\n\
             server {{\n listen 127.0.0.1:{port} backlog=4096;\n\
             location ~ ^/sub/(.+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; }}\n\
             location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_store_messages off; }}\n }}\n}}\n",
            module.display(),
            temporary.join(" "),
        );
        let conf = self.write("nginx.conf", &conf)?;
        let mut command = self.program("nginx")?;
        let prefix = self.scratch.path().as_os_str().to_owned();
        command
            .args([OsStr::new("-p"), &prefix, OsStr::new("-e"), OsStr::new("stderr"), OsStr::new("-c")])
            .arg(conf);
        let address = self.address;
        self.run(&mut command, "nginx")?.until_listening(address)?;
        Ok((Dialect::Nchan, Some(Posts::Nchan(address))))
    }

    fn mosquitto(&mut self) -> Result<Spoken> {
        let conf = format!(
            "listener {} 127.0.0.1\nlistener {} 127.0.0.1\nprotocol websockets\nallow_anonymous true\npersistence false\nlog_dest stderr\nlog_type error\nuser root\n",
            // This version does not run without a listener that is not for websockets.
            free_port()?,
            self.address.port()
        );
        let conf = self.write("mosquitto.conf", &conf)?;
        let mut command = self.program("mosquitto")?;
        command.arg("-c").arg(conf);
        let address = self.address;
        self.run(&mut command, "mosquitto")?.until_listening(address)?;
        Ok((Dialect::Mqtt, None))
    }

    fn nats(&mut self) -> Result<Spoken> {
        let conf = format!(
            "host: 127.0.0.1\nport: {}\nping_interval: \"60m\"\nmax_connections: 100000\n\
             websocket {{ host: 127.0.0.1, port: {}, no_tls: true }}\n",
            free_port()?,
            self.address.port()
        );
        let conf = self.write("nats.conf", &conf)?;
        let mut command = self.program("nats-server")?;
        command.arg("-c").arg(conf);
        let address = self.address;
        self.run(&mut command, "nats")?.until_listening(address)?;
        Ok((Dialect::Nats, None))
    }
}
