//! Blobs as files.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::{BlobWriter, Blobs, rules};
use tokio::sync::Semaphore;
use ulid::Ulid;

use crate::disk::{self, Disk, Draft};

/// How many file calls are in progress at once: each has a thread, and each thread memory of its own.
const CALLS: usize = 16;

/// [`Blobs`] under one directory.
///
/// Each is stored at `blobs/XX/ID-XXXXXXXX`, where the Xs are a checksum of the id: it spreads the files over 256
/// directories, and distinguishes ids that differ in case only, on file systems that do not.
#[derive(Debug)]
pub struct FileBlobs {
    root: PathBuf,
    drafts: PathBuf,
    desk: Desk,
    disk: Disk,
}

impl FileBlobs {
    /// Opens `dir/blobs` on `disk`, making it if it is missing, and removes files that an earlier process left half-written.
    ///
    /// # Errors
    /// When the directories cannot be made or read.
    pub fn open(dir: &Path, disk: &Disk) -> anyhow::Result<Self> {
        let root = dir.join("blobs");
        let drafts = root.join(".drafts");
        disk.create_dir(&drafts).with_context(|| format!("making {}", drafts.display()))?;
        disk::remove_drafts(&drafts).with_context(|| format!("clearing {}", drafts.display()))?;
        Ok(Self { root, drafts, desk: Desk(Arc::new(Semaphore::new(CALLS))), disk: disk.clone() })
    }

    fn path(&self, id: &str) -> Result<PathBuf, Unavailable> {
        rules::check_id(id)?;
        let sum = crc32fast::hash(id.as_bytes());
        Ok(self.root.join(format!("{:02x}", sum >> 24)).join(format!("{id}-{sum:08x}")))
    }
}

/// Runs file calls on threads that may block, a bounded number at once.
#[derive(Debug, Clone)]
struct Desk(Arc<Semaphore>);

impl Desk {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let early = |error: String| Unavailable(format!("a blob call ended early: {error}"));
        let place = self.0.clone().acquire_owned().await.map_err(|error| early(error.to_string()))?;
        let work = move || {
            let done = work();
            drop(place);
            done
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable(format!("the blob files failed: {error}"))),
            Err(error) => Err(early(error.to_string())),
        }
    }
}

fn absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn read(path: &Path, range: Option<Range<u64>>) -> io::Result<Option<Bytes>> {
    let mut file = match File::open(path) {
        Err(error) if absent(&error) => return Ok(None),
        file => file?,
    };
    let size = file.metadata()?.len();
    let range = range.unwrap_or(0..size);
    let (start, end) = (range.start.min(size), range.end.min(size));
    let count = end.saturating_sub(start);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(usize::try_from(count).map_err(io::Error::other)?);
    file.take(count).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// A blob's draft; `None` only while a call has it, or after one that failed.
struct FileWriter {
    desk: Desk,
    draft: Option<Draft>,
    path: PathBuf,
}

fn broken() -> Unavailable {
    Unavailable("an earlier write of this blob failed".to_owned())
}

#[async_trait]
impl BlobWriter for FileWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable> {
        let mut draft = self.draft.take().ok_or_else(broken)?;
        self.draft = Some(self.desk.run(move || draft.write_all(&bytes).map(|()| draft)).await?);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), Unavailable> {
        let Self { desk, draft, path } = *self;
        let draft = draft.ok_or_else(broken)?;
        desk.run(move || draft.publish(&path)).await
    }
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn create(&self, id: &str) -> Result<Box<dyn BlobWriter>, Unavailable> {
        let path = self.path(id)?;
        let draft = self.drafts.join(format!("{}.tmp", Ulid::generate()));
        let disk = self.disk.clone();
        let draft = self.desk.run(move || disk.room().and_then(|()| Draft::create(&disk, draft))).await?;
        Ok(Box::new(FileWriter { desk: self.desk.clone(), draft: Some(draft), path }))
    }

    async fn size(&self, id: &str) -> Result<Option<u64>, Unavailable> {
        let path = self.path(id)?;
        self.desk
            .run(move || match fs::metadata(path) {
                Err(error) if absent(&error) => Ok(None),
                found => Ok(Some(found?.len())),
            })
            .await
    }

    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable> {
        let (path, disk) = (self.path(id)?, self.disk.clone());
        self.desk.run(move || disk.noted(&path, read(&path, range))).await
    }

    async fn delete(&self, id: &str) -> Result<(), Unavailable> {
        let (path, disk) = (self.path(id)?, self.disk.clone());
        self.desk
            .run(move || match fs::remove_file(&path) {
                Err(error) if absent(&error) => Ok(()),
                Err(error) => disk.noted(&path, Err(error)),
                // Without this the blob would be back after a power loss.
                Ok(()) => disk.sync_dir(path.parent().unwrap_or(Path::new("."))),
            })
            .await
    }
}
