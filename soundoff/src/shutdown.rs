//! How a process is asked to stop, and when it stops by itself.

use anyhow::Context;
use soundoff_common::note;
use soundoff_embedded::disk::Disk;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears Ctrl-C and SIGTERM from when it is made: before the process serves anybody, since who is served may stop it at
/// once, and without a drain it would just end. Not before the engines are there: a process that waits for them ends
/// when it is told to.
pub(crate) struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    /// # Errors
    /// The process cannot listen for signals.
    pub(crate) fn hear() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the first of them; returns its name.
    pub(crate) async fn came(mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
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
