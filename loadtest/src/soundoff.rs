//! Starting Sound Off itself as the server under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::children::{Server, announced};
use crate::dialect::Dialect;
use crate::posts::signed;
use crate::target::{Target, TargetArgs, scratch};

/// Limits so high that they do not matter: the work is measured, not the throttling. No timelines are computed by the
/// clock, and no socket is closed for a missed heartbeat.
const UNLIMITED: [&str; 12] = [
    "--messages-per-second",
    "1000000",
    "--burst",
    "1000000",
    "--type-limits",
    "off",
    "--heartbeat-ms",
    "3600000",
    "--hello-timeout-ms",
    "60000",
    "--timeline-interval-ms",
    "0",
];

/// Starts `soundoff up` without limits.
///
/// # Errors
/// As [`start_with`].
pub(crate) fn start(args: &TargetArgs) -> Result<Target> {
    start_with(args, &UNLIMITED)
}

/// Starts `soundoff up` on a port and a directory of its own, with these flags.
///
/// # Errors
/// There is no such program, or it does not start.
pub(crate) fn start_with(args: &TargetArgs, flags: &[&str]) -> Result<Target> {
    let scratch = scratch(args)?;
    let program = args.place.soundoff.clone().or_else(beside_this).unwrap_or_else(|| "soundoff".into());
    let data = scratch.path().join("data");
    let mut command = Command::new(&program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SOUNDOFF_") {
            command.env_remove(name);
        }
    }
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    command.args(flags);
    let started = Server::start(&mut command, &scratch.path().join("log"));
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
