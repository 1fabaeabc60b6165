//! The log: the growing file, the index and the writer's inbox, and in which order they are locked.
//!
//! Locks: tail before state; the inbox alone. A record is written under the tail lock. Unless the writer makes it, the
//! change of state that the record describes is made under the same lock, so that the log has the changes in the order
//! in which they happened.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use soundoff_common::ports::queues::{QueueError, QueueName};
use soundoff_common::protocol::Handle;
use tokio::sync::{Notify, oneshot};

use super::options::Options;
use super::record::{Frame, Id};
use super::replay::{self, Replay};
use super::segment::{self, Tail, Use};
use super::state::{Segment, State};
use crate::disk::{self, Disk, is_no_room};

/// A body on its way into the log; `index` is its place in the results.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) index: usize,
    pub(super) queue: u16,
    pub(super) body: Bytes,
    pub(super) user: Option<Handle>,
}

/// A job for the writer: its answer waits for the disk.
#[derive(Debug)]
pub(super) enum Job {
    Send {
        sent_at: u64,
        arrivals: Vec<Arrival>,
        /// They leave nothing behind, and may use what room is kept for what was accepted.
        passing: bool,
        /// Gets those that the log had no room for, and why.
        reply: oneshot::Sender<Vec<(usize, QueueError)>>,
    },
    Bury {
        id: Id,
        at: u64,
        reason: Box<str>,
        reply: oneshot::Sender<Result<(), QueueError>>,
    },
    /// Without ids: asks only for an answer when everything before it is on disk.
    Redrive {
        ids: Vec<Id>,
        reply: oneshot::Sender<Result<(), QueueError>>,
    },
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Inbox {
    jobs: Vec<Job>,
    bytes: usize,
    nudged: bool,
    closing: bool,
    asleep: bool,
}

/// How many bytes of bodies may wait for the writer: a disk that hangs must not fill the memory.
const INBOX_BYTES: usize = 256 << 20;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    /// Every queue in the log.
    pub(super) names: Vec<QueueName>,
    numbers: HashMap<QueueName, u16>,
    pub(super) tail: Mutex<Tail>,
    pub(super) state: Mutex<State>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// Why the log has stopped, once it has.
    failed: OnceLock<String>,
    pub(super) arrived: Vec<Notify>,
    next_seq: AtomicU64,
    started: Instant,
}

impl Log {
    /// Reads the log in `dir`.
    pub(super) fn open(dir: &Path, queues: &[QueueName], options: Options) -> anyhow::Result<Self> {
        anyhow::ensure!(options.segment_bytes <= 1 << 30, "a segment may have 1 GiB at most");
        let disk = &options.disk;
        disk.create_dir(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        disk::remove_drafts(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        let mut replay = replay::read(dir, options.memory_bytes)?;
        let numbers = replay.number(queues)?;
        let tail =
            begin(disk, dir, &mut replay).with_context(|| format!("cannot write to {}", dir.display()))?;
        let Replay { state, names, next_seq, .. } = replay;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            numbers,
            tail: Mutex::new(tail),
            state: Mutex::new(state),
            inbox: Mutex::default(),
            wake: Condvar::new(),
            failed: OnceLock::new(),
            arrived: names.iter().map(|_| Notify::new()).collect(),
            names,
            next_seq: AtomicU64::new(next_seq),
            started: Instant::now(),
        })
    }

    /// A number for a message, unique in this log.
    pub(super) fn number_message(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Every message in the log has a lower number than this.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Relaxed)
    }

    /// Whether a full log refuses messages to this queue: only to main_q, where there is one. Messages to the other
    /// queues were accepted by main_q before, and make room in it when they leave it: to refuse them would keep the log
    /// full forever.
    pub(super) fn is_entry(&self, queue: u16) -> bool {
        self.numbers.get(&QueueName::main()).is_none_or(|main| *main == queue)
    }

    pub(super) fn number(&self, queue: &QueueName) -> Result<u16, QueueError> {
        self.numbers.get(queue).copied().ok_or_else(|| QueueError::UnknownQueue(queue.clone()))
    }

    /// Fails once the log has failed: after a failed write or sync it is unknown what is on disk until it is read
    /// again.
    pub(super) fn check(&self) -> Result<(), QueueError> {
        self.failed.get().map_or(Ok(()), |why| Err(QueueError::Unavailable(why.clone())))
    }

    /// Stops the log; only a restart opens it again.
    pub(super) fn fail(&self, why: &str) -> QueueError {
        let mut first = false;
        let why = self.failed.get_or_init(|| {
            first = true;
            why.to_owned()
        });
        if first {
            for arrived in &self.arrived {
                arrived.notify_waiters();
            }
            self.nudge();
        }
        QueueError::Unavailable(why.clone())
    }

    /// The answer to a call that a failed write ended. The log stops, unless the disk only had no room: then the file is
    /// as it was.
    pub(super) fn failed(&self, doing: &str, error: &io::Error) -> QueueError {
        if is_no_room(error) { QueueError::NoRoom } else { self.broken(doing, error) }
    }

    pub(super) fn broken(&self, doing: &str, error: &io::Error) -> QueueError {
        let why = format!("{doing} failed: {error}; restart to read the log again");
        if self.check().is_ok() {
            tracing::error!(dir = %self.dir.display(), "the queue log stopped: {why}");
        }
        // Whatever it was: this process cannot go on without its queues.
        let _ = self.options.disk.needed(&self.dir, Err::<(), _>(io::Error::other(why.clone())));
        self.fail(&why)
    }

    pub(super) fn enqueue(&self, job: Job) -> Result<(), QueueError> {
        let bytes = job.bytes();
        let mut inbox = self.inbox.lock().expect(UNPOISONED);
        self.check()?;
        if inbox.closing {
            return Err(QueueError::Unavailable(CLOSED.to_owned()));
        }
        if inbox.bytes + bytes > INBOX_BYTES {
            return Err(QueueError::Full);
        }
        inbox.bytes += bytes;
        inbox.jobs.push(job);
        if inbox.asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Wakes the writer.
    pub(super) fn nudge(&self) {
        let mut inbox = self.inbox.lock().expect(UNPOISONED);
        inbox.nudged = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.inbox.lock().expect(UNPOISONED).closing = true;
        self.wake.notify_one();
    }

    /// Waits for jobs until the time `until` and swaps them for the empty `jobs`. Returns `false` once there will be no
    /// more.
    pub(super) fn collect(&self, jobs: &mut Vec<Job>, until: u64) -> bool {
        let mut inbox = self.inbox.lock().expect(UNPOISONED);
        if inbox.jobs.is_empty() && !inbox.nudged && !inbox.closing {
            inbox.asleep = true;
            // A visibility timeout of a century must not overflow the clock.
            let pause =
                Duration::from_micros(until.saturating_sub(self.now())).min(Duration::from_secs(3600));
            inbox = self.wake.wait_timeout(inbox, pause).expect(UNPOISONED).0;
            inbox.asleep = false;
        }
        inbox.nudged = false;
        inbox.bytes = 0;
        std::mem::swap(&mut inbox.jobs, jobs);
        !(inbox.closing && jobs.is_empty())
    }

    /// Fails all calls that wait for a writer that has ended.
    pub(super) fn abandon(&self) {
        self.fail(CLOSED);
        self.inbox.lock().expect(UNPOISONED).jobs.clear();
    }

    /// Microseconds since the log was opened.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn after(now: u64, duration: Duration) -> u64 {
        now.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect(UNPOISONED)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Syncs everything written so far to disk. Others may write meanwhile.
    pub(super) fn sync(&self) -> io::Result<()> {
        let tail = self.tail();
        let (file, path) = (tail.file.clone(), tail.path.clone());
        let (number, offset) = (tail.number, tail.offset);
        #[cfg(test)]
        let fail = tail.fail_sync.load(std::sync::atomic::Ordering::Relaxed);
        drop(tail);
        #[cfg(test)]
        if fail {
            return self.options.disk.synced(&path, Err(io::Error::other("a planted sync failure")));
        }
        self.options.disk.synced(&path, file.sync_data())?;
        let mut tail = self.tail();
        if tail.number == number {
            tail.synced = tail.synced.max(offset);
        }
        Ok(())
    }
}

const UNPOISONED: &str = "nothing panics under the log's locks, or the log is lost";
const CLOSED: &str = "the queue log is closed";

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Send { arrivals, .. } => arrivals.iter().map(|arrival| arrival.body.len()).sum(),
            Self::Bury { .. } | Self::Redrive { .. } => 0,
        }
    }
}

/// Fills a frame with the records that every segment begins with.
pub(super) fn opening(frame: &mut Frame, names: &[QueueName], next_seq: u64) {
    frame.clear();
    frame.opened(next_seq);
    for (number, name) in (0..).zip(names) {
        frame.name(number, name.as_str());
    }
}

/// Continues where the log ends; the whole log and the names of its queues are on disk then.
fn begin(disk: &Disk, dir: &Path, replay: &mut Replay) -> io::Result<Tail> {
    let mut frame = Frame::new();
    opening(&mut frame, &replay.names, replay.next_seq);
    if let Some(end) = replay.end {
        let file = segment::open(dir, replay.last)?;
        let path = segment::path(dir, replay.last);
        let mut tail = Tail::resume(disk, file, path, replay.last, end, replay.filled);
        tail.make_room(frame.len(), Use::Settle)?;
        tail.append(&mut frame)?;
        disk.synced(&tail.path, tail.file.sync_all())?;
        tail.synced = tail.offset;
        return Ok(tail);
    }
    let mut tail = Tail::create(disk, dir, replay.last, &mut frame)?;
    tail.publish(dir)?;
    // It takes the place of one that was never begun.
    replay.state.segments.pop_back();
    replay.state.segments.push_back(Segment { file: tail.file.clone(), size: 0, bodies: 0 });
    Ok(tail)
}
