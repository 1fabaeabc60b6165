//! Tables on one redb file, with group commit.
//!
//! One thread writes (see [`writer`]). Any thread reads, from a snapshot that is renewed after each commit and before
//! the commit is answered.

mod apply;
mod file;
mod read;
mod row;
mod schema;
mod writer;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use anyhow::Context;
use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTable};
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write, rules};
use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;
use file::{DiskFile, Patience};
use read::Snapshots;
use writer::{Job, Poison, Writer};

/// The most transactions that wait for the writer; further callers wait for a place.
const MAX_WAITING: usize = 1_024;

/// The most items that a read fetches on the caller's own thread. A cached item takes a few microseconds, so handing a
/// small read to another thread costs more than the read; a large read would delay the runtime's other tasks.
const MAX_INLINE: usize = 200;

/// How the tables are kept.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// The most memory for cached pages, in bytes.
    pub cache_bytes: usize,
    /// The disk that they lie on.
    pub disk: Disk,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { cache_bytes: 256 * 1024 * 1024, disk: Disk::default() }
    }
}

/// [`Tables`] in one file of this machine.
pub struct EmbeddedTables {
    snapshots: Arc<Snapshots>,
    poison: Poison,
    disk: Disk,
    patience: Patience,
    /// `None` only while dropping: the writer ends when the last sender is gone.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for EmbeddedTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedTables").field("poison", &self.poison.get()).finish_non_exhaustive()
    }
}

impl EmbeddedTables {
    /// Opens `dir/tables.redb`, making it if it is missing. After a crash this repairs the file, which reads all of it.
    ///
    /// # Errors
    /// When the file cannot be opened, is held by another process, or has a layout this version does not know.
    pub fn open(dir: &Path, options: &TableOptions) -> anyhow::Result<Arc<Self>> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join("tables.redb");
        let disk = &options.disk;
        let begin = || {
            let patience = Patience::default();
            let file = DiskFile::open(disk, &path, patience.clone());
            let database = file.and_then(|file| {
                let database =
                    Database::builder().set_cache_size(options.cache_bytes).create_with_backend(file);
                Ok(database?)
            });
            let database = database.with_context(|| format!("opening {}", path.display()))?;
            disk.sync_dir(dir).with_context(|| format!("syncing {}", dir.display()))?;
            let started = Self::start(database, disk.clone(), patience);
            started.with_context(|| format!("preparing {}", path.display()))
        };
        // The engine panics on some damage; the operator must learn which file is damaged.
        let begun = std::panic::catch_unwind(std::panic::AssertUnwindSafe(begin));
        begun.unwrap_or_else(|_| Err(anyhow::anyhow!("{} is damaged", path.display())))
    }

    fn start(database: Database, disk: Disk, patience: Patience) -> anyhow::Result<Arc<Self>> {
        if !is_prepared(&database)? {
            create_tables(&database)?;
        }
        patience.set(true);
        let database = Arc::new(database);
        let snapshots = Arc::new(Snapshots::new(&database)?);
        let poison = Poison::new(OnceLock::new());
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let writer =
            Writer { database, snapshots: snapshots.clone(), poison: poison.clone(), disk: disk.clone() };
        let writer =
            std::thread::Builder::new().name("tables".to_owned()).spawn(move || writer.run(waiting))?;
        Ok(Arc::new(Self { snapshots, poison, disk, patience, jobs: Some(jobs), writer: Some(writer) }))
    }

    /// Removes up to `limit` items whose `expires` is at or before `now` (seconds since 1970); returns how many. The
    /// process calls this from time to time, and again at once while it returns `limit`.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] when the store does not serve, [`TableError::NoRoom`] on a full disk.
    pub async fn sweep(&self, now: u64, limit: usize) -> Result<usize, TableError> {
        let (answer, result) = oneshot::channel();
        self.send(Job::Sweep { now, limit, answer }).await?;
        result.await.map_err(|_| self.stopped())?
    }

    async fn send(&self, job: Job) -> Result<(), TableError> {
        if !self.disk.has_room() {
            return Err(TableError::NoRoom);
        }
        let jobs = self.jobs.as_ref().expect("only a drop takes it");
        jobs.send(job).await.map_err(|_| self.stopped())
    }

    fn stopped(&self) -> TableError {
        let why = self.poison.get().map_or("its writer has stopped", String::as_str);
        TableError::Unavailable(why.to_owned())
    }

    /// Runs a read on this thread or, when it is large, on one that may block.
    async fn read<T: Send + 'static>(
        &self,
        items: usize,
        read: impl FnOnce(&read::Snapshot) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, TableError> {
        if self.poison.get().is_some() {
            return Err(self.stopped());
        }
        let snapshot = self.snapshots.newest();
        if items <= MAX_INLINE {
            return read(&snapshot);
        }
        tokio::task::spawn_blocking(move || read(&snapshot))
            .await
            .map_err(|e| TableError::Unavailable(format!("a read ended early: {e}")))?
    }
}

/// Whether there is nothing to be made: a store that is opened again writes nothing, so that it can be on a full disk.
fn is_prepared(database: &Database) -> anyhow::Result<bool> {
    let transaction = database.begin_read()?;
    let Ok(meta) = transaction.open_table(schema::META) else { return Ok(false) };
    let layout = meta.get("layout")?.map(|value| value.value());
    let tables = schema::DATA.iter().all(|table| transaction.open_table(*table).is_ok());
    Ok(tables && layout == Some(schema::LAYOUT) && transaction.open_table(schema::EXPIRY).is_ok())
}

fn create_tables(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(schema::META)?;
        let layout = meta.get("layout")?.map(|value| value.value());
        match layout {
            None => drop(meta.insert("layout", schema::LAYOUT)?),
            Some(layout) => anyhow::ensure!(
                layout == schema::LAYOUT,
                "the layout is {layout}, and this version knows {} only",
                schema::LAYOUT
            ),
        }
        for table in schema::DATA {
            transaction.open_table(table)?;
        }
        transaction.open_table(schema::EXPIRY)?;
    }
    transaction.commit()?;
    Ok(())
}

impl Drop for EmbeddedTables {
    /// Waits for the writer, so that the file is closed cleanly and can be opened again at once.
    fn drop(&mut self) {
        self.jobs = None;
        // What waits for room now is given up: nobody was told that it is done.
        self.patience.set(false);
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the tables panicked");
        }
    }
}

#[async_trait]
impl Tables for EmbeddedTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        let mut places = Vec::with_capacity(keys.len());
        for (table, key) in keys {
            places.push((apply::index(*table), row::encode_key(key)?));
        }
        self.read(places.len(), move |snapshot| {
            places.iter().map(|(table, key)| snapshot.get(*table, key)).collect()
        })
        .await
    }

    fn judges_in_order(&self) -> bool {
        // One writer takes them from one queue. A later one can overtake only when the queue is full.
        true
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let writes = apply::prepare(writes)?;
        let (answer, result) = oneshot::channel();
        self.send(Job::Write { writes, answer }).await?;
        result.await.map_err(|_| self.stopped())?
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        rules::query(&query)?;
        self.read(query.limit, move |snapshot| snapshot.query(&query)).await
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        rules::scan(segment, segments, limit)?;
        let after = after.map(|key| row::encode_key(&key)).transpose()?;
        // It may read the whole table for one page, so it never runs on the caller's thread.
        self.read(usize::MAX, move |snapshot| {
            snapshot.scan(apply::index(table), segment, segments, after.as_deref(), limit)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
