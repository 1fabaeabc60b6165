//! How each server is started: one process on loopback, with a configuration of its own in a directory that goes with it.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::children::{Server, free_port};
use crate::dialect::Dialect;
use crate::target::{Posts, Target, TargetArgs, scratch, start_soundoff};

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// Sound Off itself, all of it in one process.
    Up,
    /// Bun's websocket server.
    Bun,
    /// Node with the package `ws`.
    Node,
    /// Node and Redis as the whole pipeline, AOF synced before every answer.
    NodeRedis,
    /// nginx with nchan.
    Nchan,
    /// mosquitto, MQTT in websockets.
    Mosquitto,
    /// NATS in websockets.
    Nats,
}

impl Peer {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "Sound Off",
            Self::Bun => "Bun",
            Self::Node => "Node ws",
            Self::NodeRedis => "Node + Redis",
            Self::Nchan => "nchan",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "NATS",
        }
    }
}

/// Starts one.
///
/// # Errors
/// It is not installed, or does not start.
pub(crate) fn start(peer: Peer, args: &TargetArgs) -> Result<Target> {
    let started = match peer {
        Peer::Up => return start_soundoff(args),
        Peer::Bun => script(peer, args, "bun.js", include_str!("../../peers/bun.js")),
        _ => anyhow::bail!("not yet"),
    };
    started.with_context(|| format!("{} does not start", peer.name()))
}

/// A program in JavaScript that serves sockets and deliveries on one port.
fn script(peer: Peer, args: &TargetArgs, file: &str, text: &str) -> Result<Target> {
    let npm = args.dir.join("npm");
    let path = npm.join(file);
    std::fs::write(&path, text)
        .with_context(|| format!("cannot write {}: run `loadtest peers` first", path.display()))?;
    let scratch = scratch(args)?;
    let port = free_port()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let secret = format!("{:032x}", rand::random::<u128>());
    let program = if peer == Peer::Bun { npm.join("node_modules/.bin/bun") } else { "node".into() };
    let mut command = Command::new(program);
    command.arg(&path).env("PORT", port.to_string()).env("SECRET", &secret);
    let mut server = Server::start(&mut command, &scratch.path().join("log"))?;
    server.until_listening(address)?;
    Ok(Target {
        name: peer.name().into(),
        address,
        dialect: Dialect::Bare,
        pids: vec![server.pid()],
        posts: Some(Posts::Json(address)),
        secret,
        _running: (vec![server], Some(scratch)),
    })
}
