//! Frames of RFC 6455 as a client writes and reads them, without needless copies.

use anyhow::{Result, bail, ensure};

/// Text. These are the kinds in the first byte of a complete frame.
pub(crate) const TEXT: u8 = 1;
/// Binary.
pub(crate) const BINARY: u8 = 2;
/// The end of the socket.
pub(crate) const CLOSE: u8 = 8;
/// A control frame that asks for a [`PONG`].
pub(crate) const PING: u8 = 9;
/// Its answer.
pub(crate) const PONG: u8 = 10;

/// One mask for all frames: the server's work is the same as with a random one, and frames can be made in advance.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// No server under test sends more in one frame; a greater length means that the frame's start was misread.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Appends a whole, masked frame.
pub(crate) fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    for chunk in out[start..].chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(MASK) {
            *byte ^= mask;
        }
    }
}

/// A whole frame at the start of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its kind.
    pub(crate) opcode: u8,
    /// The range of its payload.
    pub(crate) payload: std::ops::Range<usize>,
}

/// Looks for a whole frame at the start of what a server sent.
///
/// # Errors
/// The bytes are what no server must send: a mask, reserved bits, a part of a message, or too large a frame.
pub(crate) fn find(bytes: &[u8]) -> Result<Option<Found>> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    ensure!(second & 0x80 == 0, "the server sent a masked frame");
    ensure!(first & 0x70 == 0, "the server set reserved bits: was an extension agreed?");
    ensure!(first & 0x80 != 0, "the server sent a message in parts, which none of those measured does");
    let (start, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, u64::from(u16::from_be_bytes([length[0], length[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => (10, length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    ensure!(length <= LARGEST, "the server announces a frame of {length} bytes");
    let opcode = first & 0x0f;
    if !matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG) {
        bail!("the server sent a frame of kind {opcode}");
    }
    let end = start + length as usize;
    Ok((bytes.len() >= end).then_some(Found { opcode, payload: start..end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_once_it_is_whole_and_not_before() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut masked = Vec::new();
            put(&mut masked, TEXT, &payload);
            // The same frame as a server writes it: no mask bit, no mask, plain payload.
            let head = masked.len() - length - 4;
            let mut plain = masked[..head].to_vec();
            plain[1] &= 0x7f;
            plain.extend_from_slice(&payload);
            let whole = Found { opcode: TEXT, payload: head..plain.len() };
            assert_eq!(find(&plain).unwrap(), Some(whole), "{length}");
            for cut in 0..plain.len().min(20) {
                assert_eq!(find(&plain[..cut]).unwrap(), None, "{length} cut to {cut}");
            }
            let unmasked: Vec<u8> =
                masked[head + 4..].iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b).collect();
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn what_no_server_must_send_is_an_error() {
        for (bytes, word) in [
            (&[0x81, 0x80][..], "masked"),
            (&[0xc1, 0][..], "reserved"),
            (&[0x01, 0][..], "parts"),
            (&[0x83, 0][..], "kind 3"),
            (&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0][..], "announces"),
        ] {
            assert!(find(bytes).unwrap_err().to_string().contains(word), "{bytes:?}");
        }
    }
}
