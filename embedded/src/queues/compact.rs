//! Compaction: removes empty segments, and copies the messages that are left in an old segment to the end of the log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use soundoff_common::protocol::Handle;

use super::log::Log;
use super::record::{self, FRAME_BYTES, FRAME_HEADER, Frame, PutHead, Record};
use super::segment::{self, SEGMENT_HEADER, Use};
use super::state::Place;
use crate::disk::is_no_room;

/// How far the oldest segment has been copied.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    segment: u32,
    offset: u64,
    buffer: Vec<u8>,
}

impl Compaction {
    /// Does one bounded step of compaction; returns whether there is more to do.
    pub(super) fn step(&mut self, log: &Log, frame: &mut Frame) -> io::Result<bool> {
        remove_empty(log, frame)?;
        let state = log.state();
        if !state.wasteful(log.options.segment_bytes) || !log.options.disk.has_room() {
            return Ok(false);
        }
        let oldest = &state.segments[0];
        let (number, file, size) = (state.first, oldest.file.clone(), oldest.size);
        drop(state);
        if self.segment != number {
            (self.segment, self.offset) = (number, SEGMENT_HEADER as u64);
        }
        let mut copied = 0;
        while self.offset < size && copied < FRAME_BYTES {
            let payload = self.read(&file, size)?;
            copied += match copy(log, frame, number, self.offset, &self.buffer[FRAME_HEADER..]) {
                // Later: the writer asks again after its next jobs.
                Err(error) if is_no_room(&error) => return Ok(false),
                copied => copied?,
            };
            self.offset += (FRAME_HEADER + payload) as u64;
        }
        if self.offset >= size {
            let left = log.state().segment(number).bodies;
            if left > 0 {
                return Err(io::Error::other(format!(
                    "segment {number} should be empty, {left} bodies are counted in it"
                )));
            }
        }
        Ok(true)
    }

    /// Reads the frame at the offset; returns the length of its payload.
    fn read(&mut self, file: &File, size: u64) -> io::Result<usize> {
        let mut head = [0; FRAME_HEADER];
        file.read_exact_at(&mut head, self.offset)?;
        let payload = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let damaged = |what: &str| {
            io::Error::other(format!("segment {} at byte {}: {what}", self.segment, self.offset))
        };
        if self.offset + (FRAME_HEADER + payload) as u64 > size {
            return Err(damaged("a frame is cut short"));
        }
        self.buffer.resize(FRAME_HEADER + payload, 0);
        file.read_exact_at(&mut self.buffer, self.offset)?;
        record::find(&self.buffer).map_err(damaged)?;
        Ok(payload)
    }
}

/// Copies the bodies of a frame that are still needed; returns how many bytes were written.
///
/// The tail stays locked from the look to the write: an ack in between would be written before the copy, and the copy
/// would undo it.
fn copy(log: &Log, frame: &mut Frame, segment: u32, base: u64, payload: &[u8]) -> io::Result<usize> {
    frame.clear();
    let mut moved = Vec::new();
    let mut tail = log.tail();
    let mut state = log.state();
    for record in record::records(payload) {
        let Some(Record::Put { id, place, body, .. }) = record else { continue };
        let offset = u32::try_from(base as usize + FRAME_HEADER + place).map_err(io::Error::other)?;
        let at = Place { segment, offset, len: u32::try_from(body.len()).map_err(io::Error::other)? };
        if let Some((entry, letter)) = state.holder(id, at) {
            let head = PutHead { id, sent_at: entry.sent_at, life: entry.life, attempt: entry.attempt };
            let offset = frame.put(head, state.user(&entry).map(Handle::as_str), body);
            moved.push((id, Place { offset, ..at }));
            if let Some(letter) = letter {
                frame.bury(id, letter.at, &letter.reason);
            }
        }
    }
    if frame.is_empty() {
        return Ok(0);
    }
    tail.make_room(frame.len(), Use::Send)?;
    let at = tail.append(frame)?;
    for (id, place) in moved {
        state.moved(id, Place { segment: tail.number, offset: at + place.offset, ..place });
    }
    Ok(frame.len())
}

/// Deletes the oldest segments that no longer hold a body, oldest first, so that no older segment outlives the acks in
/// a newer one.
fn remove_empty(log: &Log, frame: &mut Frame) -> io::Result<()> {
    let state = log.state();
    let sealed = state.segments.len() - 1;
    let empty = state.segments.iter().take(sealed).take_while(|segment| segment.bodies == 0).count();
    let first = state.first;
    drop(state);
    if empty == 0 {
        return Ok(());
    }
    let empty = u32::try_from(empty).map_err(io::Error::other)?;
    frame.clear();
    frame.forgotten(first + empty - 1);
    let mut tail = log.tail();
    tail.make_room(frame.len(), Use::Settle)?;
    tail.append(frame)?;
    drop(tail);
    // Also syncs copies and acks, before what they replace is removed.
    log.sync()?;
    for number in first..first + empty {
        let mut state = log.state();
        let gone = state.segments.pop_front().expect("counted above");
        state.size -= gone.size;
        state.first += 1;
        drop(state);
        let path = segment::path(&log.dir, number);
        log.options.disk.noted(&path, std::fs::remove_file(&path))?;
        log.options.disk.sync_dir(&log.dir)?;
    }
    Ok(())
}
