//! Files that are whole or absent, also after a kill.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Disk;

impl Disk {
    /// Makes the names in a directory durable: only then does a renamed file survive a power loss.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let opened = self.noted(dir, File::open(dir))?;
        self.synced(dir, opened.sync_all())
    }

    /// Makes a directory and its missing parents, durably.
    pub(crate) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) else {
            return fs::create_dir_all(dir);
        };
        self.create_dir(parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.noted(dir, Err(error)),
            _ => self.sync_dir(parent),
        }
    }
}

/// A file under a name that no reader looks at, until [`Draft::publish`] gives it its own. If it is dropped before
/// that, it is removed.
pub(crate) struct Draft {
    disk: Disk,
    file: File,
    path: PathBuf,
    published: bool,
}

impl Draft {
    /// Starts an empty one at `path`.
    pub(crate) fn create(disk: &Disk, path: PathBuf) -> io::Result<Self> {
        let opened = File::options().write(true).create(true).truncate(true).open(&path);
        let file = disk.noted(&path, opened)?;
        Ok(Self { disk: disk.clone(), file, path, published: false })
    }

    /// Syncs the file to disk and then gives it its name. Replaces a file of that name.
    pub(crate) fn publish(mut self, path: &Path) -> io::Result<()> {
        self.disk.synced(&self.path, self.file.sync_all())?;
        let dir = path.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
        self.disk.create_dir(dir)?;
        self.disk.noted(path, fs::rename(&self.path, path))?;
        self.published = true;
        self.disk.sync_dir(dir)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.noted(&self.path, self.file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what stays behind is removed when the store is next opened.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Removes drafts (files ending in `.tmp`) that an earlier process left behind.
pub(crate) fn remove_drafts(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
