//! The thread that appends records to the part file, with one disk sync for all callers that wait.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as blocking;

use soundoff_common::ports::Unavailable;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use ulid::Ulid;

use super::line::Line;
use super::options::ArchiveOptions;
use super::roll::{MAX_GROUPS, RollJob};
use crate::disk::is_no_room;

/// A batch this large is synced without waiting for more.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

type Answer = oneshot::Sender<Result<(), Unavailable>>;

#[derive(Debug)]
pub(super) enum Job {
    Put { lines: Vec<Line>, answer: Answer },
    Flush { answer: Answer },
}

#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    /// The bytes of whole lines; a failed write may leave more in the file.
    length: u64,
    opened: Instant,
    groups: HashSet<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    options: ArchiveOptions,
    roller: blocking::Sender<RollJob>,
    hurry: Arc<Notify>,
    part: Option<Part>,
}

impl Writer {
    pub(super) fn new(
        dir: PathBuf,
        options: ArchiveOptions,
        roller: blocking::Sender<RollJob>,
        hurry: Arc<Notify>,
    ) -> Self {
        Self { dir, options, roller, hurry, part: None }
    }

    /// Runs until every sender is gone, and rolls what is open then.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let next = match &self.part {
                None => jobs.recv().await,
                Some(part) => match timeout_at(part.opened + self.options.roll_after, jobs.recv()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.close();
                        continue;
                    }
                },
            };
            match next {
                None => break,
                Some(Job::Flush { answer }) => self.flush(answer),
                Some(Job::Put { lines, answer }) => {
                    if let Some(flush) = self.gather(lines, answer, &mut jobs).await {
                        self.flush(flush);
                    }
                }
            }
        }
        self.close();
    }

    /// Takes what else comes within the gathering time, and writes it all. Returns a flush that ended the time early.
    ///
    /// Sleeps meanwhile, as waiting for each put would wake this thread for each.
    async fn gather(
        &mut self,
        mut lines: Vec<Line>,
        answer: Answer,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> Option<Answer> {
        // A caller in a hurry ends the wait: one that flushes, or finds that many calls wait.
        let _hurried = timeout(self.options.gather, self.hurry.notified()).await;
        let mut bytes: usize = lines.iter().map(|line| line.bytes.len()).sum();
        let (mut answers, mut flush) = (vec![answer], None);
        while bytes < MAX_BATCH_BYTES {
            match jobs.try_recv() {
                Ok(Job::Put { lines: more, answer }) => {
                    bytes += more.iter().map(|line| line.bytes.len()).sum::<usize>();
                    lines.extend(more);
                    answers.push(answer);
                }
                Ok(Job::Flush { answer }) => {
                    flush = Some(answer);
                    break;
                }
                Err(_) => break,
            }
        }
        let result = self.append(&lines).map_err(|error| {
            tracing::error!(%error, "cannot archive records");
            Unavailable(format!("the archive could not be written: {error}"))
        });
        for answer in answers {
            // The caller may be gone; the records are archived all the same.
            drop(answer.send(result.clone()));
        }
        flush
    }

    /// Appends lines durably. After a failure some of them may be there nevertheless: the archive is at-least-once.
    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        self.options.disk.room()?;
        let mut buffer = Vec::with_capacity(lines.iter().map(|line| line.bytes.len()).sum());
        for line in lines {
            let part = self.open_part()?;
            if part.groups.len() == MAX_GROUPS && !part.groups.contains(line.group()) {
                self.write(&mut buffer)?;
                self.close();
            }
            let part = self.open_part()?;
            if !part.groups.contains(line.group()) {
                part.groups.insert(line.group().to_vec());
            }
            buffer.extend_from_slice(&line.bytes);
        }
        self.write(&mut buffer)?;
        if self.part.as_ref().is_some_and(|part| part.length >= self.options.roll_bytes) {
            self.close();
        }
        Ok(())
    }

    fn open_part(&mut self) -> io::Result<&mut Part> {
        if self.part.is_none() {
            let path = self.dir.join(format!("{}.part", Ulid::generate()));
            let opened = File::options().append(true).create_new(true).open(&path);
            let file = self.options.disk.noted(&path, opened)?;
            self.options.disk.sync_dir(&self.dir)?;
            let opened = Instant::now();
            self.part = Some(Part { file, path, length: 0, opened, groups: HashSet::new() });
        }
        Ok(self.part.as_mut().expect("opened above"))
    }

    /// Writes and syncs the buffer, and empties it.
    fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let disk = self.options.disk.clone();
        let part = self.open_part()?;
        let written = disk.noted(&part.path, part.file.write_all(buffer));
        let written = written.and_then(|()| disk.synced(&part.path, part.file.sync_data()));
        match written {
            Ok(()) => part.length += buffer.len() as u64,
            Err(error) => {
                // The next line must not follow half of this one. Where there was no room, the part goes on from there;
                // after another failure it must not be trusted again, and is left to the roller.
                if part.file.set_len(part.length).is_err() || !is_no_room(&error) {
                    self.close();
                }
                return Err(error);
            }
        }
        buffer.clear();
        Ok(())
    }

    fn close(&mut self) {
        if let Some(part) = self.part.take() {
            self.tell_roller(RollJob::Roll(part.path));
        }
    }

    fn flush(&mut self, answer: Answer) {
        self.close();
        self.tell_roller(RollJob::Answer(answer));
    }

    fn tell_roller(&self, job: RollJob) {
        if self.roller.send(job).is_err() {
            // Nothing is lost: parts are rolled at the next start.
            tracing::error!("the archive's roller has stopped");
        }
    }
}
