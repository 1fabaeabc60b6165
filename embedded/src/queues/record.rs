//! The format of the log: frames of records.
//!
//! A frame is `magic, length of the payload, synced, crc32 of the three and the payload, payload`, all numbers
//! little-endian. `synced` is how much of the segment was known to be on disk when the frame was written. It
//! distinguishes a tail torn by power loss (no later frame claims that it was synced) from corruption (some later frame
//! does).

/// Begins every frame. It is not valid UTF-8, so no body can look like a frame.
const MAGIC: [u8; 4] = [0xF5, b'S', b'Q', 0xFF];
/// Bytes before a frame's payload.
pub(super) const FRAME_HEADER: usize = 16;
/// A frame is written out at this size; one more body may come on top.
pub(super) const FRAME_BYTES: usize = 1 << 20;
/// The most bytes of a put without its body.
pub(super) const PUT_OVERHEAD: u64 = 33 + 1 + 30;
/// Bytes before a body at its place: its length and its crc.
pub(super) const BODY_HEADER: usize = 8;

const OPENED: u8 = 1;
const NAME: u8 = 2;
const PUT: u8 = 3;
const ACK: u8 = 4;
const RECEIVED: u8 = 5;
const BURY: u8 = 6;
const REDRIVE: u8 = 7;
const FORGOTTEN: u8 = 8;
const GIVEN_BACK: u8 = 9;
const PUT_FOR: u8 = 10;

/// Names a message: its queue's number in this log, and its own number, which is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) queue: u16,
    pub(super) seq: u64,
}

/// One event.
#[derive(Debug, PartialEq)]
pub(super) enum Record<'a> {
    /// No message so far has a number of `next_seq` or above.
    Opened { next_seq: u64 },
    /// The name of a queue's number. Every segment begins with all of them.
    Name { queue: u16, name: &'a str },
    /// A message, new or copied by the compaction; `place` is where its body begins in the payload. `user` is whose it
    /// is: nobody's in all logs of 0.1.0.
    Put { id: Id, sent_at: u64, life: u16, attempt: u32, user: Option<&'a str>, place: usize, body: &'a [u8] },
    /// It was handled and is removed.
    Ack { id: Id },
    /// It was handed out; `life` counts how often it was redriven.
    Received { id: Id, life: u16, attempt: u32 },
    /// What was handed out as this attempt was given back, which counts as no attempt.
    GivenBack { id: Id, life: u16, attempt: u32 },
    /// It is a dead letter.
    Bury { id: Id, at: u64, reason: &'a str },
    /// The dead letter is a message again.
    Redrive { id: Id },
    /// All segments up to this one were emptied and may be missing.
    Forgotten { through: u32 },
}

/// What a put says of a message, beside whose it is and its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct PutHead {
    pub(super) id: Id,
    pub(super) sent_at: u64,
    pub(super) life: u16,
    pub(super) attempt: u32,
}

impl PutHead {
    /// That of a message that nobody has received.
    pub(super) fn new(id: Id, sent_at: u64) -> Self {
        Self { id, sent_at, life: 0, attempt: 0 }
    }
}

/// A frame that is being filled. It can be reused: `clear` keeps its memory.
#[derive(Debug)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    pub(super) fn new() -> Self {
        Self(vec![0; FRAME_HEADER])
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(FRAME_HEADER);
        // One huge batch must not hold its memory forever.
        self.0.shrink_to(4 << 20);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == FRAME_HEADER
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes to write.
    pub(super) fn seal(&mut self, synced: u32) -> &[u8] {
        let length = u32::try_from(self.0.len() - FRAME_HEADER).expect("frames are cut at a few MiB");
        self.0[..4].copy_from_slice(&MAGIC);
        self.0[4..8].copy_from_slice(&length.to_le_bytes());
        self.0[8..12].copy_from_slice(&synced.to_le_bytes());
        let crc = frame_crc(&self.0[..12], &self.0[FRAME_HEADER..]);
        self.0[12..16].copy_from_slice(&crc.to_le_bytes());
        &self.0
    }

    pub(super) fn opened(&mut self, next_seq: u64) {
        self.0.push(OPENED);
        self.0.extend_from_slice(&next_seq.to_le_bytes());
    }

    pub(super) fn name(&mut self, queue: u16, name: &str) {
        self.0.push(NAME);
        self.0.extend_from_slice(&queue.to_le_bytes());
        self.text(name);
    }

    /// Adds a message; returns where in the frame its body begins.
    pub(super) fn put(&mut self, head: PutHead, user: Option<&str>, body: &[u8]) -> u32 {
        let PutHead { id, sent_at, life, attempt } = head;
        self.tagged(if user.is_some() { PUT_FOR } else { PUT }, id);
        self.0.extend_from_slice(&sent_at.to_le_bytes());
        self.0.extend_from_slice(&life.to_le_bytes());
        self.0.extend_from_slice(&attempt.to_le_bytes());
        if let Some(user) = user {
            self.0.push(u8::try_from(user.len()).expect("handles are short"));
            self.0.extend_from_slice(user.as_bytes());
        }
        let place = u32::try_from(self.0.len()).expect("frames are cut at a few MiB");
        self.0.extend_from_slice(&u32::try_from(body.len()).expect("bodies are bounded").to_le_bytes());
        self.0.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        self.0.extend_from_slice(body);
        place
    }

    pub(super) fn ack(&mut self, id: Id) {
        self.tagged(ACK, id);
    }

    pub(super) fn received(&mut self, id: Id, life: u16, attempt: u32) {
        self.delivery(RECEIVED, id, life, attempt);
    }

    pub(super) fn given_back(&mut self, id: Id, life: u16, attempt: u32) {
        self.delivery(GIVEN_BACK, id, life, attempt);
    }

    fn delivery(&mut self, tag: u8, id: Id, life: u16, attempt: u32) {
        self.tagged(tag, id);
        self.0.extend_from_slice(&life.to_le_bytes());
        self.0.extend_from_slice(&attempt.to_le_bytes());
    }

    pub(super) fn bury(&mut self, id: Id, at: u64, reason: &str) {
        self.tagged(BURY, id);
        self.0.extend_from_slice(&at.to_le_bytes());
        self.text(reason);
    }

    pub(super) fn redrive(&mut self, id: Id) {
        self.tagged(REDRIVE, id);
    }

    pub(super) fn forgotten(&mut self, through: u32) {
        self.0.push(FORGOTTEN);
        self.0.extend_from_slice(&through.to_le_bytes());
    }

    fn tagged(&mut self, tag: u8, id: Id) {
        self.0.push(tag);
        self.0.extend_from_slice(&id.queue.to_le_bytes());
        self.0.extend_from_slice(&id.seq.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(
            &u16::try_from(text.len()).expect("names and reasons are short").to_le_bytes(),
        );
        self.0.extend_from_slice(text.as_bytes());
    }
}

fn frame_crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(payload);
    crc.finalize()
}

/// A whole frame in a segment.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) synced: u32,
    pub(super) payload: &'a [u8],
}

impl Found<'_> {
    pub(super) fn frame_len(&self) -> usize {
        FRAME_HEADER + self.payload.len()
    }
}

/// The frame at the beginning of `bytes`, or what is wrong with it.
pub(super) fn find(bytes: &[u8]) -> Result<Found<'_>, &'static str> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEADER) else {
        return Err("a frame header is cut short");
    };
    if head[..4] != MAGIC {
        return Err("no frame begins here");
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let Some(payload) = rest.get(..number(4) as usize) else { return Err("a frame is cut short") };
    if frame_crc(&head[..12], payload) != number(12) {
        return Err("a frame's checksum does not match");
    }
    Ok(Found { synced: number(8), payload })
}

/// Whether any whole frame in `bytes` says that the segment was synced beyond `offset`.
pub(super) fn claims_synced(bytes: &[u8], offset: usize) -> bool {
    (0..bytes.len().saturating_sub(FRAME_HEADER))
        .filter(|at| bytes[*at..].starts_with(&MAGIC))
        .any(|at| find(&bytes[at..]).is_ok_and(|frame| frame.synced as usize > offset))
}

/// The body at its place: `bytes` begin with its header.
pub(super) fn body(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader { bytes, at: 0 };
    let (length, crc) = (reader.u32()?, reader.u32()?);
    let body = reader.take(length as usize)?;
    (crc32fast::hash(body) == crc).then_some(body)
}

/// The records of one payload, in order. `None` in place of a record means that we did not write this payload.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut reader = Reader { bytes: payload, at: 0 };
    std::iter::from_fn(move || {
        if reader.at == reader.bytes.len() {
            return None;
        }
        let record = reader.record();
        if record.is_none() {
            reader.at = reader.bytes.len();
        }
        Some(record)
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<Record<'a>> {
        Some(match self.take(1)?[0] {
            OPENED => Record::Opened { next_seq: self.u64()? },
            NAME => Record::Name { queue: self.u16()?, name: self.text()? },
            tag @ (PUT | PUT_FOR) => {
                let (id, sent_at, life, attempt) = (self.id()?, self.u64()?, self.u16()?, self.u32()?);
                let user = if tag == PUT_FOR { Some(self.short()?) } else { None };
                let place = self.at;
                let body = body(&self.bytes[place..])?;
                self.at += BODY_HEADER + body.len();
                Record::Put { id, sent_at, life, attempt, user, place, body }
            }
            ACK => Record::Ack { id: self.id()? },
            RECEIVED => Record::Received { id: self.id()?, life: self.u16()?, attempt: self.u32()? },
            GIVEN_BACK => Record::GivenBack { id: self.id()?, life: self.u16()?, attempt: self.u32()? },
            BURY => Record::Bury { id: self.id()?, at: self.u64()?, reason: self.text()? },
            REDRIVE => Record::Redrive { id: self.id()? },
            FORGOTTEN => Record::Forgotten { through: self.u32()? },
            _ => return None,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn id(&mut self) -> Option<Id> {
        Some(Id { queue: self.u16()?, seq: self.u64()? })
    }

    fn short(&mut self) -> Option<&'a str> {
        let length = self.take(1)?[0];
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_written() {
        let id = Id { queue: 3, seq: 99 };
        let mut frame = Frame::new();
        frame.opened(7);
        frame.name(3, "main_q");
        let head = PutHead { id, sent_at: 5, life: 1, attempt: 2 };
        let place = frame.put(head, None, b"body") as usize - FRAME_HEADER;
        let place_for = frame.put(head, Some("ann"), b"hers") as usize - FRAME_HEADER;
        frame.ack(id);
        frame.received(id, 1, 3);
        frame.given_back(id, 1, 3);
        frame.bury(id, 8, "why");
        frame.redrive(id);
        frame.forgotten(4);
        let bytes = frame.seal(12).to_vec();
        let found = find(&bytes).unwrap();
        assert_eq!((found.synced, found.frame_len()), (12, bytes.len()));
        let records: Vec<_> = records(found.payload).map(Option::unwrap).collect();
        let put = Record::Put { id, sent_at: 5, life: 1, attempt: 2, user: None, place, body: b"body" };
        let (user, place_hers) = (Some("ann"), place_for);
        let hers =
            Record::Put { id, sent_at: 5, life: 1, attempt: 2, user, place: place_hers, body: b"hers" };
        let rest = [
            Record::Ack { id },
            Record::Received { id, life: 1, attempt: 3 },
            Record::GivenBack { id, life: 1, attempt: 3 },
            Record::Bury { id, at: 8, reason: "why" },
            Record::Redrive { id },
            Record::Forgotten { through: 4 },
        ];
        assert_eq!(records[..2], [Record::Opened { next_seq: 7 }, Record::Name { queue: 3, name: "main_q" }]);
        assert_eq!(records[2..4], [put, hers]);
        assert_eq!(records[4..], rest);
        assert_eq!(body(&found.payload[place..]), Some(&b"body"[..]));
        assert_eq!(body(&found.payload[place_for..]), Some(&b"hers"[..]));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let mut frame = Frame::new();
        frame.put(PutHead::new(Id { queue: 0, seq: 1 }, 5), Some("ann"), b"{\"a\":1}");
        let bytes = frame.seal(0).to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(find(&damaged).is_err(), "bit {bit} went unseen");
        }
    }
}
