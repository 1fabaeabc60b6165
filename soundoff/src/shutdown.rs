//! How a process is asked to stop, and when it stops by itself.

use anyhow::Context;
use soundoff_common::note;
use soundoff_embedded::disk::Disk;
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

/// The exit code of a process whose disk failed: `EX_IOERR` of sysexits.h.
const DISK_FAILED: i32 = 74;

/// Ends the process when its disk fails. At once and without a drain: what is on the disk is known only after it is
/// read again, and what waits for it would wait forever.
pub(crate) fn when_broken(disk: Disk) {
    tokio::spawn(async move {
        let why = disk.broken().await;
        note!(
            "soundoff: {why}\nNothing was promised that was not on disk. Look after the disk, then start again."
        );
        std::process::exit(DISK_FAILED);
    });
}
