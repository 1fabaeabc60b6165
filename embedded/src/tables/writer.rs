//! The thread that writes: it takes all waiting transactions, commits them with one disk sync, and answers them all.
//!
//! While one commit is on its way to the disk, the next batch gathers by itself. So there is no timer, and no added
//! wait when nothing else happens.

use std::sync::{Arc, OnceLock};

use redb::Database;
use soundoff_common::ports::tables::TableError;
use tokio::sync::{mpsc, oneshot};

use super::apply::{Failure, Open, Prepared};
use super::read::Snapshots;
use crate::disk::Disk;

/// The most transactions in one commit. It bounds how long the first waits for the last.
const MAX_BATCH: usize = 512;

pub(super) enum Job {
    Write { writes: Vec<Prepared>, answer: oneshot::Sender<Result<(), TableError>> },
    Sweep { now: u64, limit: usize, answer: oneshot::Sender<Result<usize, TableError>> },
}

/// Why the store has stopped, once a commit has failed: it is unknown from then on whether that reached the disk.
pub(super) type Poison = Arc<OnceLock<String>>;

pub(super) struct Writer {
    pub(super) database: Arc<Database>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) poison: Poison,
    pub(super) disk: Disk,
}

/// An answer that is ready but must not be sent before the batch is on disk.
enum Answer {
    Write(oneshot::Sender<Result<(), TableError>>, Result<(), TableError>),
    Sweep(oneshot::Sender<Result<usize, TableError>>, Result<usize, TableError>),
}

impl Job {
    fn refuse(self, error: TableError) {
        match self {
            Self::Write { answer, .. } => drop(answer.send(Err(error))),
            Self::Sweep { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

impl Answer {
    fn send(self) {
        // The caller may be gone; the write stays.
        match self {
            Self::Write(to, result) => drop(to.send(result)),
            Self::Sweep(to, result) => drop(to.send(result)),
        }
    }

    fn fail(self, error: &TableError) {
        match self {
            Self::Write(to, _) => drop(to.send(Err(error.clone()))),
            Self::Sweep(to, _) => drop(to.send(Err(error.clone()))),
        }
    }
}

impl Writer {
    /// Runs until every sender is gone.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while jobs.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            if !self.disk.has_room() {
                // They came before that was known. What is committed now would wait for room.
                batch.drain(..).for_each(|job| job.refuse(TableError::NoRoom));
                continue;
            }
            let mut answers = Vec::with_capacity(batch.len());
            match self.commit(batch.drain(..), &mut answers) {
                Ok(()) => answers.into_iter().for_each(Answer::send),
                Err(error) => {
                    let why = error.to_string();
                    tracing::error!(error = %why, "a commit of the tables failed; they serve no more calls");
                    let error = TableError::Unavailable(self.poison.get_or_init(|| why).clone());
                    answers.into_iter().for_each(|answer| answer.fail(&error));
                    // Jobs that still wait, and later ones, find the channel closed.
                    return;
                }
            }
        }
    }

    fn commit(&self, jobs: impl Iterator<Item = Job>, answers: &mut Vec<Answer>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut open = Open::new(&transaction);
        for job in jobs {
            match job {
                Job::Write { writes, answer } => {
                    let result = settle(open.run(writes));
                    answers.push(Answer::Write(answer, result.0));
                    result.1?;
                }
                Job::Sweep { now, limit, answer } => {
                    let result = settle(open.sweep(now, limit));
                    answers.push(Answer::Sweep(answer, result.0));
                    result.1?;
                }
            }
        }
        let changed = open.changed;
        drop(open);
        if !changed {
            // Only checks and refusals: everything they read is on disk already.
            return Ok(transaction.abort()?);
        }
        transaction.commit()?;
        // Before any answer: a read that starts after it must see the write.
        self.snapshots.renew(&self.database)
    }
}

/// Separates a refusal, which concerns one caller, from a failure of the store, which concerns all.
fn settle<T: Default>(result: Result<T, Failure>) -> (Result<T, TableError>, Result<(), redb::Error>) {
    match result {
        Ok(value) => (Ok(value), Ok(())),
        Err(Failure::Refused(error)) => (Err(error), Ok(())),
        Err(Failure::Store(error)) => (Ok(T::default()), Err(error)),
    }
}
