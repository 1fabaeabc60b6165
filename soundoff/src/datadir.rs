//! The data directory: one process at a time, and how to reach that process.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use soundoff_common::hex::hex;
use soundoff_common::web::secret::Secret;

/// A data directory that this process alone holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked while this lives; the kernel lets go of it however the process ends.
    _lock: File,
}

/// Where the running process takes operators' commands. The file is for its owner's eyes only: it holds the key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpsAddress {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

const OPS_FILE: &str = "ops.json";

impl DataDir {
    /// Takes `path` for this process, making it if need be.
    pub(crate) fn hold(path: &Path) -> anyhow::Result<Self> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let file = path.join("lock");
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
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let text = serde_json::to_vec(ops)?;
        file.and_then(|mut file| file.write_all(&text))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The secret in the file at `path`, of any 32 bytes or more; line breaks at its end do not count. One that is missing is made, for its
/// owner's eyes only, when `make` says so.
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
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
    Secret::new(&bytes[..end]).with_context(|| format!("the secret in {}", path.display()))
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
