//! The thread that waits for the disk.
//!
//! It takes all jobs that gathered during its last sync: groups form by themselves, and no timer adds a wait.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::compact::Compaction;
use super::log::{Arrival, Job, Log, opening};
use super::record::{FRAME_BYTES, Frame, Id, PUT_OVERHEAD};
use super::segment::Tail;
use super::state::{Place, Segment};

/// The change of state that a record describes; made once it is on disk.
enum Change {
    Put { id: Id, sent_at: u64, place: Place, body: Bytes },
    Bury { id: Id, at: u64, reason: Box<str> },
    Redrive { id: Id },
}

enum Reply {
    Sent(oneshot::Sender<Vec<usize>>, Vec<usize>),
    Done(oneshot::Sender<()>),
}

pub(super) struct Writer {
    log: Arc<Log>,
    frame: Frame,
    /// The changes of all frames of this round, including the one in `frame`.
    changes: Vec<Change>,
    /// From this index on the changes are of the frame in `frame`, so that their places are not known yet.
    unplaced: usize,
    replies: Vec<Reply>,
    touched: Vec<u16>,
    compaction: Compaction,
}

/// Runs until the log is closed or fails.
pub(super) fn run(log: Arc<Log>) {
    // Also when this thread panics: waiting callers must get an error.
    struct Abandon(Arc<Log>);
    impl Drop for Abandon {
        fn drop(&mut self) {
            self.0.abandon();
        }
    }
    let _abandon = Abandon(log.clone());
    let mut writer = Writer {
        log: log.clone(),
        frame: Frame::new(),
        changes: Vec::new(),
        unplaced: 0,
        replies: Vec::new(),
        touched: Vec::new(),
        compaction: Compaction::default(),
    };
    let mut jobs = Vec::new();
    let mut until = u64::MAX;
    while log.collect(&mut jobs, until) {
        if log.check().is_err() {
            return;
        }
        match writer.round(&mut jobs) {
            Ok(next) => until = next,
            Err(error) => {
                log.broken("writing the queue log", &error);
                return;
            }
        }
    }
    if let Err(error) = log.tail().finish() {
        log.broken("closing the queue log", &error);
    }
}

impl Writer {
    /// Does one group of jobs and a bounded step of compaction; returns when the next visibility timeout expires.
    fn round(&mut self, jobs: &mut Vec<Job>) -> io::Result<u64> {
        if !jobs.is_empty() {
            self.write(jobs)?;
            self.sync()?;
            self.publish();
        }
        if self.log.tail().offset >= u32::try_from(self.log.options.segment_bytes).unwrap_or(u32::MAX) {
            self.rotate()?;
        }
        if self.compaction.step(&self.log, &mut self.frame)? {
            self.log.nudge();
        }
        let mut state = self.log.state();
        state.expire(self.log.now(), &mut self.touched);
        let next = state.next_expiry;
        drop(state);
        for queue in self.touched.drain(..) {
            self.log.arrived[usize::from(queue)].notify_one();
        }
        Ok(next)
    }

    fn write(&mut self, jobs: &mut Vec<Job>) -> io::Result<()> {
        self.frame.clear();
        // Only this thread adds messages that a full log refuses, so no more of them can be live than these and what is
        // added here.
        let mut live = self.log.state().live;
        for job in jobs.drain(..) {
            match job {
                Job::Send { sent_at, arrivals, reply } => {
                    let mut refused = Vec::new();
                    for Arrival { index, queue, body } in arrivals {
                        let size = body.len() as u64 + PUT_OVERHEAD;
                        if live + size > self.log.options.live_bytes && self.log.is_entry(queue) {
                            refused.push(index);
                            continue;
                        }
                        live += size;
                        self.put(queue, sent_at, body)?;
                    }
                    self.replies.push(Reply::Sent(reply, refused));
                }
                Job::Bury { id, at, reason, reply } => {
                    self.frame.bury(id, at, &reason);
                    self.changes.push(Change::Bury { id, at, reason });
                    self.replies.push(Reply::Done(reply));
                }
                Job::Redrive { ids, reply } => {
                    for id in ids {
                        self.frame.redrive(id);
                        self.changes.push(Change::Redrive { id });
                    }
                    self.replies.push(Reply::Done(reply));
                }
            }
        }
        self.append()
    }

    fn put(&mut self, queue: u16, sent_at: u64, body: Bytes) -> io::Result<()> {
        let id = Id { queue, seq: self.log.number_message() };
        let offset = self.frame.put(id, sent_at, 0, 0, &body);
        let len = u32::try_from(body.len()).expect("bodies are bounded");
        self.changes.push(Change::Put { id, sent_at, place: Place { segment: 0, offset, len }, body });
        if self.frame.len() >= FRAME_BYTES { self.append() } else { Ok(()) }
    }

    /// Writes the frame, and sets the places of its bodies.
    fn append(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let size = self.log.tail().offset as usize + self.frame.len();
        if size as u64 > self.log.options.segment_bytes {
            let frame = std::mem::replace(&mut self.frame, Frame::new());
            self.rotate()?;
            self.frame = frame;
        }
        let mut tail = self.log.tail();
        let (base, segment) = (tail.append(&mut self.frame)?, tail.number);
        drop(tail);
        for change in &mut self.changes[self.unplaced..] {
            if let Change::Put { place, .. } = change {
                place.segment = segment;
                place.offset += base;
            }
        }
        self.unplaced = self.changes.len();
        self.frame.clear();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.changes.is_empty() { Ok(()) } else { self.log.sync() }
    }

    /// Makes the changes visible and answers the callers: everything is on disk.
    fn publish(&mut self) {
        let mut state = self.log.state();
        for change in self.changes.drain(..) {
            let touched = match change {
                Change::Put { id, sent_at, place, body } => {
                    state.insert(id, place, sent_at, Some(body));
                    id.queue
                }
                Change::Redrive { id } => {
                    state.redrive(id);
                    id.queue
                }
                Change::Bury { id, at, reason } => {
                    state.bury(id, at, reason);
                    continue;
                }
            };
            if !self.touched.contains(&touched) {
                self.touched.push(touched);
            }
        }
        drop(state);
        self.unplaced = 0;
        for queue in self.touched.drain(..) {
            self.log.arrived[usize::from(queue)].notify_one();
        }
        for reply in self.replies.drain(..) {
            // A caller that no longer waits needs no answer.
            match reply {
                Reply::Sent(reply, refused) => drop(reply.send(refused)),
                Reply::Done(reply) => drop(reply.send(())),
            }
        }
    }

    /// Begins a new segment; the old one is on disk to its end then.
    fn rotate(&mut self) -> io::Result<()> {
        // Most of it without the lock, so that others can append meanwhile.
        self.log.sync()?;
        let mut tail = self.log.tail();
        tail.finish()?;
        opening(&mut self.frame, &self.log.names, self.log.next_seq());
        let size = u64::from(tail.offset);
        let next = Tail::create(&self.log.dir, tail.number + 1, &mut self.frame)?;
        let mut state = self.log.state();
        state.size += size;
        state.segments.back_mut().expect("there is always the growing one").size = size;
        state.segments.push_back(Segment { file: next.file.clone(), size: 0, bodies: 0 });
        drop(state);
        *tail = next;
        self.frame.clear();
        Ok(())
    }
}
