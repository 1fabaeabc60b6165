//! Room that is set aside on a disk, so that what was begun can be finished when the disk is full.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The file of zeros in a data directory that keeps room.
pub const RESERVE_FILE: &str = "reserve";
/// How much is set aside, in bytes: more than one commit of the tables writes.
const MOST: u64 = 32 << 20;
/// On a small disk it is this part of it.
const PART: u64 = 16;
/// Written at once.
const CHUNK: usize = 1 << 20;

/// The room set aside in one directory; without a file there is none, and none is missing.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<Kept>);

#[derive(Debug)]
struct Kept {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Reserve {
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(RESERVE_FILE);
        let file = File::options().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let disk = rustix::fs::statvfs(dir).with_context(|| format!("cannot measure {}", dir.display()))?;
        let size = MOST.min(disk.f_blocks * disk.f_frsize / PART);
        Ok(Self(Some(Kept { file, path, size })))
    }

    /// Gives at most `bytes` of the room back to the disk; returns whether there was any.
    pub(super) fn release(&self, bytes: u64) -> bool {
        let Some(kept) = &self.0 else { return false };
        let released = kept.file.metadata().and_then(|found| {
            kept.file.set_len(found.len().saturating_sub(bytes))?;
            Ok(found.len() > 0)
        });
        released.unwrap_or_else(|error| {
            tracing::error!(%error, path = %kept.path.display(), "the reserve of room cannot be released");
            false
        })
    }

    /// Sets the room aside again; returns whether that was possible, and some is left beside it.
    pub(super) fn fill(&self) -> bool {
        let Some(kept) = &self.0 else { return true };
        match kept.fill() {
            Ok(filled) => filled,
            Err(error) => {
                // A part of a reserve would take from others and be of no use.
                tracing::debug!(%error, "no room for the reserve");
                self.release(u64::MAX);
                false
            }
        }
    }
}

impl Kept {
    fn fill(&self) -> io::Result<bool> {
        let missing = self.size.saturating_sub(self.file.metadata()?.len());
        let disk = rustix::fs::statvfs(&self.path)?;
        // Asked first: writing until it fails would take the last room from others each time.
        if disk.f_bavail * disk.f_frsize < missing + self.size / 4 {
            return Ok(false);
        }
        let zeros = vec![0; CHUNK.min(usize::try_from(missing).unwrap_or(CHUNK))];
        let mut left = missing;
        while left > 0 {
            let part = left.min(zeros.len() as u64) as usize;
            (&self.file).write_all(&zeros[..part])?;
            left -= part as u64;
        }
        Ok(true)
    }
}
