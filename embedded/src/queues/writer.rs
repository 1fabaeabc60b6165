//! The thread that waits for the disk.
//!
//! It takes all jobs that gathered during its last sync: groups form by themselves, and no timer adds a wait.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use soundoff_common::ports::queues::QueueError;
use soundoff_common::protocol::Handle;
use tokio::sync::oneshot;

use super::compact::Compaction;
use super::log::{Arrival, Job, Log, opening};
use super::record::{FRAME_BYTES, Frame, Id, PUT_OVERHEAD, PutHead};
use super::room::Room;
use super::segment::{Tail, Use};
use super::state::{Place, Segment};
use crate::disk::is_no_room;

/// The change of state that a record describes; made once it is on disk.
enum Change {
    /// `from` says which entry of which reply it is, should the disk have no room for it.
    Put {
        id: Id,
        sent_at: u64,
        place: Place,
        body: Bytes,
        user: Option<Handle>,
        from: Entry,
    },
    Bury {
        id: Id,
        at: u64,
        reason: Box<str>,
    },
    Redrive {
        id: Id,
    },
}

/// An entry of a send: the reply's place among the replies of the round, and its own in the batch.
#[derive(Clone, Copy)]
struct Entry {
    reply: usize,
    index: usize,
}

/// The entries of one send.
struct Batch {
    reply: usize,
    sent_at: u64,
    arrivals: Vec<Arrival>,
    passing: bool,
}

enum Reply {
    Sent(oneshot::Sender<Vec<(usize, QueueError)>>, Vec<(usize, QueueError)>),
    Done(oneshot::Sender<Result<(), QueueError>>, Result<(), QueueError>),
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
    if let Err(error) = log.sync() {
        log.broken("closing the queue log", &error);
    }
}

/// What a message takes of the room.
fn size(arrival: &Arrival) -> u64 {
    arrival.body.len() as u64 + PUT_OVERHEAD
}

impl Writer {
    /// Does one group of jobs and a bounded step of compaction; returns when the next visibility timeout expires.
    fn round(&mut self, jobs: &mut Vec<Job>) -> io::Result<u64> {
        if !jobs.is_empty() {
            self.write(jobs)?;
            self.sync()?;
            self.publish();
        }
        // On a full disk both wait for room. What is there is whole, and the log goes on in what it has of it.
        match self.tidy_up() {
            Err(error) if !is_no_room(&error) => return Err(error),
            _ => {}
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

    /// Begins a new segment when the growing one is full, and does a bounded step of compaction.
    fn tidy_up(&mut self) -> io::Result<()> {
        let long = u64::from(self.log.tail().offset) >= self.log.options.segment_bytes;
        if long && self.log.options.disk.has_room() {
            self.rotate()?;
        }
        if self.compaction.step(&self.log, &mut self.frame)? {
            self.log.nudge();
        }
        Ok(())
    }

    fn write(&mut self, jobs: &mut Vec<Job>) -> io::Result<()> {
        self.frame.clear();
        let mut sends = Vec::new();
        // What settles messages comes first, in a frame of its own: it has room where new messages have none.
        for job in jobs.drain(..) {
            match job {
                Job::Send { sent_at, arrivals, passing, reply } => {
                    let at = self.replies.len();
                    self.replies.push(Reply::Sent(reply, Vec::new()));
                    sends.push(Batch { reply: at, sent_at, arrivals, passing });
                }
                Job::Bury { id, at, reason, reply } => {
                    self.frame.bury(id, at, &reason);
                    self.changes.push(Change::Bury { id, at, reason });
                    self.replies.push(Reply::Done(reply, Ok(())));
                }
                Job::Redrive { ids, reply } => {
                    for id in ids {
                        self.frame.redrive(id);
                        self.changes.push(Change::Redrive { id });
                    }
                    self.replies.push(Reply::Done(reply, Ok(())));
                }
            }
        }
        self.append(Use::Settle)?;
        self.send(sends)
    }

    fn send(&mut self, sends: Vec<Batch>) -> io::Result<()> {
        let log = self.log.clone();
        let mut room = Room::new(&log, sends.iter().flat_map(|batch| &batch.arrivals).map(size).sum());
        let mut what = Use::Forward;
        for Batch { reply, sent_at, arrivals, passing } in sends {
            for arrival in arrivals {
                let (user, size) = (arrival.user.as_ref(), size(&arrival));
                let entry = Entry { reply, index: arrival.index };
                if self.log.is_entry(arrival.queue) {
                    if let Err(why) = room.check(user, size) {
                        self.refuse(entry, why);
                        continue;
                    }
                    if !passing && !self.log.options.disk.has_room() {
                        self.refuse(entry, QueueError::NoRoom);
                        continue;
                    }
                    if !passing {
                        what = Use::Send;
                    }
                }
                room.take(user, size);
                self.put(sent_at, arrival, entry);
                if self.frame.len() >= FRAME_BYTES {
                    self.append(what)?;
                    what = Use::Forward;
                }
            }
        }
        self.append(what)
    }

    fn refuse(&mut self, entry: Entry, error: QueueError) {
        if let Reply::Sent(_, refused) = &mut self.replies[entry.reply] {
            refused.push((entry.index, error));
        }
    }

    fn put(&mut self, sent_at: u64, arrival: Arrival, from: Entry) {
        let Arrival { queue, body, user, .. } = arrival;
        let id = Id { queue, seq: self.log.number_message() };
        let head = PutHead::new(id, sent_at);
        let offset = self.frame.put(head, user.as_ref().map(Handle::as_str), &body);
        let len = u32::try_from(body.len()).expect("bodies are bounded");
        let place = Place { segment: 0, offset, len };
        self.changes.push(Change::Put { id, sent_at, place, body, user, from });
    }

    /// Writes the frame, and sets the places of its bodies. Without room for it, what is in it is refused.
    fn append(&mut self, what: Use) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        match self.append_frame(what) {
            Err(error) if is_no_room(&error) => self.take_back(),
            appended => appended?,
        }
        self.unplaced = self.changes.len();
        self.frame.clear();
        Ok(())
    }

    fn append_frame(&mut self, what: Use) -> io::Result<()> {
        let size = self.log.tail().offset as usize + self.frame.len();
        if size as u64 > self.log.options.segment_bytes && self.log.options.disk.has_room() {
            let frame = std::mem::replace(&mut self.frame, Frame::new());
            let rotated = self.rotate();
            self.frame = frame;
            match rotated {
                Err(error) if !is_no_room(&error) => return Err(error),
                _ => {}
            }
        }
        let mut tail = self.log.tail();
        tail.make_room(self.frame.len(), what)?;
        let (base, segment) = (tail.append(&mut self.frame)?, tail.number);
        drop(tail);
        for change in &mut self.changes[self.unplaced..] {
            if let Change::Put { place, .. } = change {
                place.segment = segment;
                place.offset += base;
            }
        }
        Ok(())
    }

    /// Refuses what is in the frame: there is no room for it.
    fn take_back(&mut self) {
        let mut settling = false;
        let changes = self.changes.split_off(self.unplaced);
        for change in changes {
            match change {
                Change::Put { from, .. } => self.refuse(from, QueueError::NoRoom),
                Change::Bury { id, .. } => {
                    self.log.state().stop_bury(id);
                    settling = true;
                }
                Change::Redrive { id } => {
                    self.log.state().stop_redrive(id);
                    settling = true;
                }
            }
        }
        // They all are in the first frame.
        for reply in self.replies.iter_mut().filter(|_| settling) {
            if let Reply::Done(_, result) = reply {
                *result = Err(QueueError::NoRoom);
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.changes.is_empty() { Ok(()) } else { self.log.sync() }
    }

    /// Makes the changes visible and answers the callers: everything is on disk.
    fn publish(&mut self) {
        let mut state = self.log.state();
        for change in self.changes.drain(..) {
            let touched = match change {
                Change::Put { id, sent_at, place, body, user, .. } => {
                    state.insert(id, place, sent_at, user.as_ref(), body);
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
                Reply::Done(reply, result) => drop(reply.send(result)),
            }
        }
    }

    /// Begins a new segment; the old one is on disk to its end then. Without room for the new one nothing changes.
    fn rotate(&mut self) -> io::Result<()> {
        // Most of it without the lock, so that others can append meanwhile.
        self.log.sync()?;
        let Log { dir, options, .. } = &*self.log;
        let mut tail = self.log.tail();
        opening(&mut self.frame, &self.log.names, self.log.next_seq());
        let mut next = Tail::create(&options.disk, dir, tail.number + 1, &mut self.frame)?;
        self.frame.clear();
        tail.finish()?;
        next.publish(dir)?;
        let size = u64::from(tail.offset);
        let mut state = self.log.state();
        state.size += size;
        state.segments.back_mut().expect("there is always the growing one").size = size;
        state.segments.push_back(Segment { file: next.file.clone(), size: 0, bodies: 0 });
        drop(state);
        *tail = next;
        Ok(())
    }
}
