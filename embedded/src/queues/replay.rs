//! Reads the log at the start, and finds what is in the queues after a stop or a crash.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use soundoff_common::ports::queues::QueueName;

use super::record::{self, FRAME_HEADER, Id, Record};
use super::segment::{self, SEGMENT_HEADER};
use super::state::{Entry, Place, Segment, State};

/// What the log holds.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) state: State,
    /// Queues by their numbers.
    pub(super) names: Vec<QueueName>,
    pub(super) next_seq: u64,
    /// Where the last segment ends; `None` when there is no log yet, or when its last segment has no header and must be
    /// begun again.
    pub(super) end: Option<u32>,
    /// Up to where there are zeros after it.
    pub(super) filled: u32,
    /// The number of the last segment, or 1.
    pub(super) last: u32,
    forgotten: u32,
}

/// Reads every segment in `dir`.
///
/// # Errors
/// Names the file and the offset when the log is not as it was written: nothing is repaired by guessing.
pub(super) fn read(dir: &Path, memory: usize) -> anyhow::Result<Replay> {
    let numbers = segment::list(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let state = State::new(memory);
    let mut replay =
        Replay { state, names: Vec::new(), next_seq: 1, end: None, filled: 0, last: 1, forgotten: 0 };
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Ok(replay);
    };
    (replay.state.first, replay.last) = (first, last);
    for (expected, number) in (first..).zip(numbers) {
        let path = segment::path(dir, number);
        if expected != number {
            bail!(
                "the queue log is broken: {} is missing, later segments are there",
                segment::path(dir, expected).display()
            );
        }
        replay
            .segment(dir, number)
            .with_context(|| format!("the queue log is broken: {}", path.display()))?;
    }
    if first > replay.forgotten + 1 {
        bail!("the queue log is broken: {} is missing", segment::path(dir, first - 1).display());
    }
    replay.state.settle();
    Ok(replay)
}

impl Replay {
    fn segment(&mut self, dir: &Path, number: u32) -> anyhow::Result<()> {
        let is_last = number == self.last;
        let file = segment::open(dir, number)?;
        let bytes = std::fs::read(segment::path(dir, number))?;
        let header = segment::header(number);
        if !bytes.starts_with(&header) {
            // A segment is created before it is filled: the power may have failed in between.
            if is_last && (bytes.len() < SEGMENT_HEADER || bytes.iter().all(|byte| *byte == 0)) {
                tracing::warn!(
                    segment = number,
                    "the last segment of the queue log was never begun; beginning it now"
                );
                self.keep(file, 0);
                return Ok(());
            }
            bail!("at byte 0: not a segment of this version, or not number {number}");
        }
        let mut at = SEGMENT_HEADER;
        while at < bytes.len() {
            let frame = match record::find(&bytes[at..]) {
                Ok(frame) => frame,
                Err(_) if is_last && !record::claims_synced(&bytes[at..], at) => break,
                Err(what) => bail!("at byte {at}: {what}"),
            };
            let base = at + FRAME_HEADER;
            for record in record::records(frame.payload) {
                let applied = record.and_then(|record| self.apply(number, base, &record));
                applied.with_context(|| format!("at byte {at}: a frame holds what was never written"))?;
            }
            at += frame.frame_len();
        }
        if is_last {
            cut(&file, number, at, &bytes[at..])?;
            self.end = Some(u32::try_from(at)?);
            self.filled = u32::try_from(bytes.len())?;
        }
        self.keep(file, if is_last { 0 } else { bytes.len() as u64 });
        Ok(())
    }

    fn keep(&mut self, file: File, size: u64) {
        self.state.size += size;
        self.state.segments.push_back(Segment { file: Arc::new(file), size, bodies: 0 });
    }

    /// `None` when there can be no such record here.
    fn apply(&mut self, segment: u32, base: usize, record: &Record<'_>) -> Option<()> {
        match *record {
            Record::Opened { next_seq } => self.next_seq = self.next_seq.max(next_seq),
            Record::Name { queue, name } => return self.name(queue, name),
            Record::Put { id, sent_at, life, attempt, user, place, body } => {
                let user = user.map(str::parse).transpose().ok()?;
                self.next_seq = self.next_seq.max(id.seq + 1);
                let offset = u32::try_from(base + place).ok()?;
                let place = Place { segment, offset, len: u32::try_from(body.len()).ok()? };
                let user = self.state.users.number(user.as_ref());
                let queue = self.state.queues.get_mut(usize::from(id.queue))?;
                // A copy replaces the original. This includes dead letters: their burial is copied after them.
                queue.dead.remove(&id.seq);
                queue.live.insert(id.seq, Entry::new(place, sent_at, user, life, attempt));
            }
            // The other records may name messages of segments that were removed: those messages are gone.
            Record::Ack { id } => {
                self.known(id)?.live.remove(&id.seq);
            }
            Record::Received { id, life, attempt } => {
                let live = &mut self.known(id)?.live;
                if let Some(entry) = live.get_mut(&id.seq).filter(|entry| entry.life == life) {
                    entry.attempt = entry.attempt.max(attempt);
                }
            }
            Record::GivenBack { id, life, attempt } => {
                let live = &mut self.known(id)?.live;
                if let Some(entry) = live.get_mut(&id.seq).filter(|entry| entry.life == life) {
                    entry.attempt = entry.attempt.min(attempt.saturating_sub(1));
                }
            }
            Record::Bury { id, at, reason } => {
                self.known(id)?;
                self.state.bury(id, at, reason.into());
            }
            Record::Redrive { id } => {
                self.known(id)?;
                self.state.redrive(id);
            }
            Record::Forgotten { through } => self.forgotten = self.forgotten.max(through),
        }
        Some(())
    }

    fn known(&mut self, id: Id) -> Option<&mut super::state::Queue> {
        self.state.queues.get_mut(usize::from(id.queue))
    }

    fn name(&mut self, queue: u16, name: &str) -> Option<()> {
        let valid = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !valid {
            return None;
        }
        let queue = usize::from(queue);
        if queue == self.names.len() {
            self.names.push(QueueName::new(name));
            self.state.queues.push(super::state::Queue::default());
        }
        (self.names.get(queue)?.as_str() == name).then_some(())
    }

    /// The number of each queue in `wanted`: known ones keep that of the log, new ones get the next.
    pub(super) fn number(&mut self, wanted: &[QueueName]) -> anyhow::Result<HashMap<QueueName, u16>> {
        for name in wanted {
            if !self.names.contains(name) {
                self.names.push(name.clone());
                self.state.queues.push(super::state::Queue::default());
            }
        }
        for (name, queue) in self.names.iter().zip(&self.state.queues) {
            let empty = queue.live.is_empty() && queue.dead.is_empty();
            if !empty && !wanted.contains(name) {
                let (messages, dead) = (queue.live.len(), queue.dead.len());
                tracing::warn!(%name, messages, dead, "the log holds messages of a queue that is not configured; they are kept");
            }
        }
        let mut numbers = HashMap::new();
        for (number, name) in self.names.iter().enumerate().filter(|(_, name)| wanted.contains(name)) {
            numbers.insert(name.clone(), u16::try_from(number).context("too many queues")?);
        }
        Ok(numbers)
    }
}

/// Overwrites what a crash left half-written after the last whole frame. The zeros of a growing segment stay: on a full
/// disk they are the room in which the log goes on.
fn cut(file: &File, number: u32, at: usize, rest: &[u8]) -> anyhow::Result<()> {
    if let Some(last) = rest.iter().rposition(|byte| *byte != 0) {
        tracing::warn!(
            segment = number,
            offset = at,
            bytes = last + 1,
            "cut a torn end off the queue log; nothing in it was confirmed"
        );
        file.write_all_at(&vec![0; last + 1], at as u64)?;
    }
    // After a kill the rest may be in memory only, and receivers are about to see it.
    file.sync_all()?;
    Ok(())
}

/// Reads the body at a place.
pub(super) fn body_at(file: &File, place: Place) -> std::io::Result<bytes::Bytes> {
    let mut bytes = vec![0; record::BODY_HEADER + place.len as usize];
    file.read_exact_at(&mut bytes, place.offset.into())?;
    let body = record::body(&bytes).filter(|body| body.len() == place.len as usize);
    if body.is_none() {
        let Place { segment, offset, .. } = place;
        return Err(std::io::Error::other(format!(
            "the body in segment {segment} at byte {offset} is damaged"
        )));
    }
    Ok(bytes::Bytes::from(bytes).slice(record::BODY_HEADER..))
}
