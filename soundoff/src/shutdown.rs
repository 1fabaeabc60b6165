//! How a process is asked to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first Ctrl-C or SIGTERM; returns its name.
///
/// # Errors
/// The process cannot listen for signals.
pub(crate) async fn asked() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}
