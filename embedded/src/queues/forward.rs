//! Sends that do not wait for the disk: they are covered by a message that is not acked yet.

use soundoff_common::ports::queues::QueueError;
use soundoff_common::protocol::Handle;

use super::log::{Arrival, Log};
use super::record::{FRAME_BYTES, FRAME_HEADER, Frame, Id, PUT_OVERHEAD, PutHead};
use super::segment::Use;
use super::state::Place;

impl Log {
    /// Writes messages into the log and makes them visible, on the caller's thread. Returns those that the writer must
    /// send instead: all of them when the growing segment is full, so that callers do not get ahead of the writer for
    /// long.
    pub(super) fn forward(&self, sent_at: u64, arrivals: Vec<Arrival>) -> Result<Vec<Arrival>, QueueError> {
        self.check()?;
        let mut tail = self.tail();
        if u64::from(tail.offset) >= self.options.segment_bytes {
            return Ok(arrivals);
        }
        // For all of them before the first: on a full disk they are forwarded together or not at all.
        let size: usize = arrivals.iter().map(|arrival| arrival.body.len() + PUT_OVERHEAD as usize).sum();
        let frames = size / FRAME_BYTES + 1;
        let room = tail.make_room(size + frames * FRAME_HEADER, Use::Forward);
        room.map_err(|error| self.failed("writing the queue log", &error))?;
        let mut touched = Vec::new();
        let mut frame = Frame::new();
        let mut rest = arrivals.into_iter().peekable();
        while rest.peek().is_some() {
            frame.clear();
            let mut puts = Vec::new();
            while frame.len() < FRAME_BYTES
                && let Some(Arrival { queue, body, user, .. }) = rest.next()
            {
                let id = Id { queue, seq: self.number_message() };
                let offset = frame.put(PutHead::new(id, sent_at), user.as_ref().map(Handle::as_str), &body);
                puts.push((id, offset, user, body));
            }
            let appended = tail.append(&mut frame);
            let base = appended.map_err(|error| self.failed("writing the queue log", &error))?;
            let mut state = self.state();
            for (id, offset, user, body) in puts {
                let len = u32::try_from(body.len()).expect("bodies are bounded");
                let place = Place { segment: tail.number, offset: base + offset, len };
                state.insert(id, place, sent_at, user.as_ref(), body);
                if !touched.contains(&id.queue) {
                    touched.push(id.queue);
                }
            }
        }
        let is_full = u64::from(tail.offset) >= self.options.segment_bytes;
        drop(tail);
        if is_full {
            self.nudge();
        }
        for queue in touched {
            self.arrived[usize::from(queue)].notify_one();
        }
        Ok(Vec::new())
    }
}
