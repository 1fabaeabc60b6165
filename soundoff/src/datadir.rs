//! The data directory: one process at a time holds it, and says how to reach it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use soundoff_common::hex::hex;
use soundoff_common::web::secret::Secret;
use soundoff_embedded::disk::RESERVE_FILE;

/// A data directory that this process alone holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked while this value lives; the kernel releases the lock however the process ends.
    _lock: File,
}

/// Where the running process takes operators' commands. Only the file's owner may read it: it holds the key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpsAddress {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

const LOCK_FILE: &str = "lock";
const OPS_FILE: &str = "ops.json";
/// The secret that the data was made under, unless it is kept elsewhere.
pub(crate) const SECRET_FILE: &str = "secret.key";
/// The tables' file: where it is, there is data.
pub(crate) const TABLES_FILE: &str = "tables.redb";
/// Everything that `soundoff up` and its engines make in a data directory. A test fails when a name is missing.
const OURS: [&str; 8] =
    ["archive", "blobs", LOCK_FILE, OPS_FILE, "queues", RESERVE_FILE, SECRET_FILE, TABLES_FILE];
/// The permissions of all but a directory's owner.
const OTHERS: u32 = 0o077;
/// How often `ops.json` is tried again on a full disk.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How many unknown files a message names.
const MOST_NAMED: usize = 5;

/// What is in a directory.
#[derive(Debug, Default)]
struct Contents {
    /// Whether any of it is ours.
    ours: bool,
    /// The names of all else. Hidden files, and what a file system makes by itself, disturb nobody.
    foreign: Vec<String>,
}

impl Contents {
    /// Looks into `path`; a directory that is not there yet is empty.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut contents = Self::default();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if OURS.contains(&name.as_str()) {
                contents.ours = true;
            } else if !name.starts_with('.') && name != "lost+found" {
                contents.foreign.push(name);
            }
        }
        contents.foreign.sort();
        Ok(contents)
    }

    fn named(&self) -> String {
        let more = self.foreign.len().saturating_sub(MOST_NAMED);
        let names = self.foreign.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more == 0 { names } else { format!("{names} and {more} more") }
    }
}

impl DataDir {
    /// Takes `path` for this process, and makes it if it is not there.
    ///
    /// # Errors
    /// Another process holds it, or it is somebody else's: there are files in it, and none is ours.
    pub(crate) fn hold(path: &Path) -> anyhow::Result<Self> {
        let contents = Contents::of(path)?;
        if !contents.foreign.is_empty() {
            anyhow::ensure!(
                contents.ours,
                "{} has files that are not soundoff's ({}) and none that are: name a fresh directory with --data",
                path.display(),
                contents.named()
            );
            tracing::warn!("{} has files that are not soundoff's: {}", path.display(), contents.named());
        }
        Self::lock(path)
    }

    /// Takes a directory that `soundoff up` has used before, for a command of an operator.
    ///
    /// # Errors
    /// There is no such directory, or no data of ours in it; says where that was.
    pub(crate) fn hold_used(path: &Path) -> anyhow::Result<Self> {
        let seen = std::path::absolute(path)?;
        let help = "name the one of your `soundoff up` with --data or SOUNDOFF_DATA";
        anyhow::ensure!(path.is_dir(), "there is no data directory {}; {help}", seen.display());
        anyhow::ensure!(
            Contents::of(path)?.ours,
            "{} is no data directory of soundoff; {help}",
            seen.display()
        );
        Self::lock(path)
    }

    fn lock(path: &Path) -> anyhow::Result<Self> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let mode = std::fs::metadata(path)?.permissions().mode();
        anyhow::ensure!(
            mode & OTHERS == 0,
            "others on this machine may read {0}, which holds messages and keys: `chmod 700 {0}`, and start again",
            path.display()
        );
        let file = path.join(LOCK_FILE);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
        let lock = lock.with_context(|| format!("cannot open {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
                "another soundoff is running on {}; stop it first, or choose another directory with --data",
                path.display()
            ),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", file.display()))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells commands how to reach this process.
    pub(crate) fn announce(&self, ops: &OpsAddress) -> anyhow::Result<()> {
        let path = self.path.join(OPS_FILE);
        let text = serde_json::to_vec(ops)?;
        match write_private(&path, &text) {
            // Clients are served on a full disk, too.
            Err(error) if is_no_room(&error) => {
                tracing::error!("{}: {error}; commands find this process when there is room", path.display());
                tokio::spawn(async move {
                    while write_private(&path, &text).is_err_and(|error| is_no_room(&error)) {
                        tokio::time::sleep(TRY_EVERY).await;
                    }
                });
                Ok(())
            }
            written => written.with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

/// Writes a file that only its owner may read; it is whole or absent.
fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text));
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

fn is_no_room(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The secret in the file at `path`: at least 32 bytes; line breaks at its end do not count. With `make`, a missing
/// file is made, and only its owner may read it.
pub(crate) fn secret(path: &Path, make: bool) -> anyhow::Result<Secret> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            let fresh = hex(&rand::random::<[u8; 32]>()).into_bytes();
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let mut file = made.with_context(|| format!("cannot make {}", path.display()))?;
            let synced = || File::open(path.parent().unwrap_or(path))?.sync_all();
            let stored = file.write_all(&fresh).and_then(|()| file.sync_all()).and_then(|()| synced());
            stored.context("cannot store the secret")?;
            fresh
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the secret in {}", path.display()));
        }
    };
    Secret::read(&bytes).with_context(|| format!("the secret in {}", path.display()))
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join(OPS_FILE));
    }
}

/// How to reach the process that holds `path`, if one has said so.
pub(crate) fn announced(path: &Path) -> anyhow::Result<Option<OpsAddress>> {
    match std::fs::read(path.join(OPS_FILE)) {
        Ok(text) => {
            Ok(Some(serde_json::from_slice(&text).context("ops.json in the data directory is damaged")?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot read ops.json in the data directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_files_are_named_and_not_too_many_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        assert!(Contents::of(&path).unwrap().foreign.is_empty(), "not there yet");
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        for name in [".hidden", "lost+found", "7", "6", "5", "4", "3", "2", "1"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        let contents = Contents::of(&path).unwrap();
        assert_eq!((contents.ours, contents.named().as_str()), (false, "1, 2, 3, 4, 5 and 2 more"));
        assert!(DataDir::hold(&path).unwrap_err().to_string().contains("1, 2, 3"));
        assert!(!path.join(LOCK_FILE).exists(), "nothing is written beside them");
        std::fs::write(path.join(SECRET_FILE), "").unwrap();
        assert!(DataDir::hold(&path).is_ok(), "somebody has put the secret there");
    }
}
