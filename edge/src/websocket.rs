//! The websocket framing of RFC 6455, server side, without I/O, and without its own buffer while no message is half
//! read.
//!
//! It is written here because a library's buffers are most of an idle socket's memory: this code decodes in place from
//! a buffer that all sockets of a thread share, and encodes a frame once for all sockets that get it.

use bytes::Bytes;

/// What came in. Text and payloads borrow from the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    /// A whole text message in one frame.
    Text(&'a str),
    /// A whole text message that came in fragments.
    Gathered(String),
    /// A fragment was put aside.
    Part,
    Ping(&'a [u8]),
    Pong,
    /// The peer closes, with this code if it gave one.
    Close(Option<u16>),
}

/// What RFC 6455, the frame limit or the rule "text only" forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The largest control payload.
const CONTROL_BYTES: usize = 125;

/// How many times the limit a text may have to be skipped and answered: characters that are written as `\u….` take six
/// bytes instead of one or two. A larger one is a violation.
const SKIPPED_TIMES: usize = 8;
/// How much of its beginning is kept: its `id` is there.
const START_BYTES: usize = 1024;

/// A whole text over the limit, which is taken as it comes; only its beginning is kept.
#[derive(Debug)]
pub(crate) struct Skipped {
    start: Vec<u8>,
    mask: [u8; 4],
    /// How many bytes of it have not come.
    left: usize,
}

impl Skipped {
    /// Begins with the frame at the start of `input`, if it is a whole text and not far over the limit; returns how many
    /// bytes its head took.
    pub(crate) fn begin(input: &[u8], limit: usize) -> Option<(Self, usize)> {
        let Head { first, mask, at, len } = head(input, limit.saturating_mul(SKIPPED_TIMES)).ok()??;
        (first == FIN | TEXT && len > limit).then(|| (Self { start: Vec::new(), mask, left: len }, at))
    }

    /// Takes what has come of it; returns how many bytes that was.
    pub(crate) fn take(&mut self, input: &[u8]) -> usize {
        let taken = &input[..self.left.min(input.len())];
        let at = self.start.len();
        let kept = taken.iter().take(START_BYTES - at).enumerate();
        self.start.extend(kept.map(|(n, byte)| byte ^ self.mask[(at + n) % 4]));
        self.left -= taken.len();
        taken.len()
    }

    /// Its beginning, when all of it has come.
    pub(crate) fn whole(&self) -> Option<String> {
        (self.left == 0).then(|| String::from_utf8_lossy(&self.start).into_owned())
    }
}

/// A message of which only some fragments have come; nothing is allocated while there are none.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Option<Vec<u8>>);

struct Head {
    first: u8,
    mask: [u8; 4],
    at: usize,
    len: usize,
}

/// Reads a frame's head; `None` while it is incomplete. A frame of more than `limit` bytes is a violation.
fn head(input: &[u8], limit: usize) -> Result<Option<Head>, Violation> {
    let &[first, second, ..] = input else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(Violation("reserved bits are set"));
    }
    if second & MASKED == 0 {
        return Err(Violation("frames from clients are masked"));
    }
    let (len, at) = match second & !MASKED {
        126 => match input.get(2..4) {
            Some(bytes) => (u64::from(u16::from_be_bytes(bytes.try_into().expect("two bytes"))), 4),
            None => return Ok(None),
        },
        127 => match input.get(2..10) {
            Some(bytes) => (u64::from_be_bytes(bytes.try_into().expect("eight bytes")), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let control = first & 0x08 != 0;
    if control && (len > CONTROL_BYTES as u64 || first & FIN == 0) {
        return Err(Violation("control frames are whole and short"));
    }
    // The announced length decides: a frame over the limit is never gathered.
    let len = usize::try_from(len).ok().filter(|len| *len <= limit.max(CONTROL_BYTES));
    let Some(len) = len else { return Err(Violation("the frame is over the limit")) };
    let Some(mask) = input.get(at..at + 4) else { return Ok(None) };
    Ok(Some(Head { first, mask: mask.try_into().expect("four bytes"), at: at + 4, len }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    if rest.len() > 4 {
        for (byte, mask) in rest[4..].iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Violation> {
    std::str::from_utf8(bytes).map_err(|_| Violation("text is UTF-8"))
}

/// Refuses what no further fragment can make valid UTF-8. The first `known` bytes were checked before.
fn may_become_text(bytes: &[u8], known: usize) -> Result<(), Violation> {
    // A character that was cut in two begins at most three bytes earlier.
    let back = known.saturating_sub(3);
    let from = (back..known).find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(known);
    match std::str::from_utf8(&bytes[from..]) {
        Err(error) if error.error_len().is_some() => Err(Violation("text is UTF-8")),
        _ => Ok(()),
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            text(reason)?;
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some(code)),
                _ => Err(Violation("not a close code")),
            }
        }
        [_] => Err(Violation("half a close code")),
    }
}

impl Fragments {
    /// Whether no message is half read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Decodes one frame at the start of `input`, in place; returns how many bytes it took, or `None` while it is
    /// incomplete.
    pub(crate) fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        limit: usize,
    ) -> Result<Option<(usize, Inbound<'a>)>, Violation> {
        let Some(Head { first, mask, at, len }) = head(input, limit)? else { return Ok(None) };
        let Some(payload) = input.get_mut(at..at + len) else { return Ok(None) };
        unmask(payload, mask);
        let payload = &*payload;
        let last = first & FIN != 0;
        let inbound = match first & 0x0f {
            TEXT if self.0.is_some() => return Err(Violation("a message began within another")),
            TEXT if last => Inbound::Text(text(payload)?),
            TEXT => {
                may_become_text(payload, 0)?;
                self.0 = Some(payload.to_vec());
                Inbound::Part
            }
            CONTINUATION => self.go_on(payload, last, limit)?,
            BINARY => return Err(Violation("frames are text")),
            CLOSE => Inbound::Close(close_code(payload)?),
            PING => Inbound::Ping(payload),
            PONG => Inbound::Pong,
            _ => return Err(Violation("an unknown opcode")),
        };
        Ok(Some((at + len, inbound)))
    }

    fn go_on(&mut self, payload: &[u8], last: bool, limit: usize) -> Result<Inbound<'static>, Violation> {
        let Some(mut message) = self.0.take() else { return Err(Violation("nothing to go on with")) };
        if message.len() + payload.len() > limit {
            return Err(Violation("the message is over the limit"));
        }
        let known = message.len();
        message.extend_from_slice(payload);
        if last {
            let whole = String::from_utf8(message).map_err(|_| Violation("text is UTF-8"))?;
            return Ok(Inbound::Gathered(whole));
        }
        may_become_text(&message, known)?;
        self.0 = Some(message);
        Ok(Inbound::Part)
    }
}

/// The largest head of a frame from a server.
const HEAD_BYTES: usize = 10;

/// Writes a frame's head at the end of `head`, which has room for the largest; returns how many bytes are unused before
/// it.
fn put_head(head: &mut [u8; HEAD_BYTES], opcode: u8, len: usize) -> usize {
    let first = FIN | opcode;
    match len {
        0..126 => {
            head[8..].copy_from_slice(&[first, len as u8]);
            8
        }
        126..65_536 => {
            head[6..8].copy_from_slice(&[first, 126]);
            head[8..].copy_from_slice(&(len as u16).to_be_bytes());
            6
        }
        _ => {
            head[..2].copy_from_slice(&[first, 127]);
            head[2..].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    }
}

fn encode(opcode: u8, parts: &[&[u8]]) -> Bytes {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut head = [0; HEAD_BYTES];
    let from = put_head(&mut head, opcode, len);
    let mut frame = Vec::with_capacity(len + HEAD_BYTES - from);
    frame.extend_from_slice(&head[from..]);
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame.into()
}

/// A whole text frame whose content is written as JSON straight behind its head.
pub(crate) fn json_frame(content: &impl serde::Serialize) -> Bytes {
    let mut frame = Vec::with_capacity(256);
    frame.extend_from_slice(&[0; HEAD_BYTES]);
    serde_json::to_writer(&mut frame, content).expect("frames hold nothing that JSON cannot");
    let len = frame.len() - HEAD_BYTES;
    let head = frame.first_chunk_mut().expect("it begins with room for a head");
    let from = put_head(head, TEXT, len);
    Bytes::from(frame).slice(from..)
}

/// A whole text frame as it goes over the wire: without a mask it is the same for every socket.
pub(crate) fn text_frame(text: &str) -> Bytes {
    encode(TEXT, &[text.as_bytes()])
}

/// A pong with a ping's payload.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    encode(PONG, &[payload])
}

/// A ping without a payload.
pub(crate) fn ping_frame() -> Bytes {
    encode(PING, &[])
}

/// A close frame; a reason that does not fit a control frame is cut.
pub(crate) fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    match code {
        None => encode(CLOSE, &[]),
        Some(code) => {
            let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES - 2)];
            encode(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()])
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
