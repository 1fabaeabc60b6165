//! The archive as local files, in the layout that Firehose gives it in S3.
//!
//! Records of all types are appended to one hidden part file, so that one disk sync serves all waiting callers. A part
//! that is large or old enough is closed and rolled: sorted into one gzip file for each type and hour, and each file is
//! published whole under `events/`. A part that a crash left behind is rolled at the next start. A file's name is
//! derived from its part's, so a roll that was cut short writes the same files again, not second copies.

mod line;
mod options;
mod roll;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use async_trait::async_trait;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Archive, Record};
use tokio::sync::{Notify, mpsc, oneshot};

pub use options::ArchiveOptions;

use crate::disk;
use roll::Roller;
use writer::{Job, Writer};

/// The most calls that wait for the writer; further callers wait for a place. The writer stops gathering when half of
/// these wait.
const MAX_WAITING: usize = 1_024;

/// [`Archive`] under one directory.
#[derive(Debug)]
pub struct FileArchive {
    /// `None` only while dropping: the threads end when the last sender is gone.
    jobs: Option<mpsc::Sender<Job>>,
    /// Ends the writer's gathering.
    hurry: Arc<Notify>,
    threads: Vec<JoinHandle<()>>,
}

impl FileArchive {
    /// Opens `dir/archive`, making it if it is missing, and rolls what an earlier process left behind.
    ///
    /// # Errors
    /// When the directories cannot be made or read.
    pub fn open(dir: &Path, options: ArchiveOptions) -> anyhow::Result<Self> {
        let root = dir.join("archive");
        let parts = root.join(".open");
        options.disk.create_dir(&parts).with_context(|| format!("making {}", parts.display()))?;
        disk::remove_drafts(&parts).with_context(|| format!("clearing {}", parts.display()))?;
        let left = roll::left_behind(&parts).with_context(|| format!("reading {}", parts.display()))?;

        let (to_roller, closed) = std::sync::mpsc::channel();
        let roller = Roller::new(
            options.disk.clone(),
            root.join("events"),
            parts.clone(),
            options.stream.clone(),
            left,
        );
        let roller =
            std::thread::Builder::new().name("archive-roll".to_owned()).spawn(move || roller.run(&closed))?;
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let hurry = Arc::new(Notify::new());
        let writer = Writer::new(parts, options, to_roller, hurry.clone());
        // The writer needs a timer, and blocks on the disk, so it has a small runtime of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writer = std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || runtime.block_on(writer.run(waiting)))?;
        Ok(Self { jobs: Some(jobs), hurry, threads: vec![writer, roller] })
    }

    async fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), Unavailable>>) -> Job,
    ) -> Result<(), Unavailable> {
        let stopped = || Unavailable("the archive's writer has stopped".to_owned());
        let (answer, result) = oneshot::channel();
        let jobs = self.jobs.as_ref().expect("only a drop takes it");
        jobs.send(job(answer)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

impl Drop for FileArchive {
    /// Waits until the last part is rolled, so that a clean stop leaves everything readable.
    fn drop(&mut self) {
        self.jobs = None;
        self.hurry.notify_one();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the archive panicked");
            }
        }
    }
}

#[async_trait]
impl Archive for FileArchive {
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable> {
        if records.is_empty() {
            return Ok(());
        }
        let lines = records.iter().map(line::encode).collect::<Result<Vec<_>, _>>()?;
        if self.jobs.as_ref().is_some_and(|jobs| jobs.capacity() < MAX_WAITING / 2) {
            self.hurry.notify_one();
        }
        self.ask(|answer| Job::Put { lines, answer }).await
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        self.hurry.notify_one();
        self.ask(|answer| Job::Flush { answer }).await
    }
}
