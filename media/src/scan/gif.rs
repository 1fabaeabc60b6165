//! GIF: blocks up to the trailer. Frames and their control blocks are kept; comments, texts and the extensions of
//! applications are not. One extension is understood: the one that says how often the animation repeats.

use image::codecs::gif::Repeat;

use super::essence::{Bytes, Essence};
use crate::bounds::Bounds;
use crate::refused::Refused;

/// The decoder takes at most 50 MB for a frame.
const FRAME_PIXELS: u64 = 12_500_000;

const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

pub(super) fn scan(bytes: &[u8], bounds: &Bounds) -> Result<Essence, Refused> {
    let mut rest = Bytes(bytes);
    let mut file = Vec::with_capacity(bytes.len());
    let header = rest.take(13)?;
    let side = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let size = (side(6), side(8));
    check_size(size, bounds)?;
    file.extend(header);
    file.extend(rest.take(palette_bytes(header[10]))?);
    let (mut frames, mut pixels, mut repeat) = (0, 0, None);
    loop {
        match rest.u8()? {
            TRAILER => break,
            FRAME => {
                frames += 1;
                if frames > bounds.frames {
                    return Err(Refused::TooManyFrames { bound: bounds.frames });
                }
                // Each frame is drawn on the whole canvas, however small it is itself.
                pixels += frame(&mut rest, &mut file, bounds)?.max(u64::from(size.0) * u64::from(size.1));
                if frames > 1 && pixels > bounds.animation_pixels {
                    return Err(Refused::AnimationTooLarge { bound: bounds.animation_pixels });
                }
            }
            EXTENSION => repeat = extension(&mut rest, &mut file)?.or(repeat),
            _ => return Err(Refused::damaged("a block of no known kind")),
        }
    }
    if frames == 0 {
        return Err(Refused::damaged("there is no picture in it"));
    }
    file.push(TRAILER);
    Ok(Essence { frames, repeat, pixels, ..Essence::still(file, size, None) })
}

fn check_size((width, height): (u32, u32), bounds: &Bounds) -> Result<(), Refused> {
    let frame = Bounds { pixels: bounds.pixels.min(FRAME_PIXELS), ..bounds.clone() };
    frame.check_size(width, height)
}

fn palette_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Copies a frame and returns how many pixels it has.
fn frame(rest: &mut Bytes<'_>, file: &mut Vec<u8>, bounds: &Bounds) -> Result<u64, Refused> {
    let place = rest.take(9)?;
    let side = |at: usize| u32::from(u16::from_le_bytes([place[at], place[at + 1]]));
    let (width, height) = (side(4), side(6));
    check_size((width, height), bounds)?;
    file.push(FRAME);
    file.extend(place);
    file.extend(rest.take(palette_bytes(place[8]))?);
    file.push(rest.u8()?);
    file.extend(sub_blocks(rest)?);
    Ok(u64::from(width) * u64::from(height))
}

/// Copies an extension if it controls a frame. Returns how often the animation repeats, if the extension says so.
fn extension(rest: &mut Bytes<'_>, file: &mut Vec<u8>) -> Result<Option<Repeat>, Refused> {
    let label = rest.u8()?;
    let body = sub_blocks(rest)?;
    match (label, body) {
        (CONTROL, [4, ..]) => {
            file.extend([EXTENSION, CONTROL]);
            // One block, and the empty block that ends the extension.
            file.extend(&body[..5]);
            file.push(0);
            Ok(None)
        }
        (APPLICATION, body) => Ok(looping(body)),
        _ => Ok(None),
    }
}

fn looping(body: &[u8]) -> Option<Repeat> {
    let said = [&b"\x0BNETSCAPE2.0"[..], b"\x0BANIMEXTS1.0"].iter().find_map(|n| body.strip_prefix(*n))?;
    match said {
        [3, 1, 0, 0, ..] => Some(Repeat::Infinite),
        [3, 1, low, high, ..] => Some(Repeat::Finite(u16::from_le_bytes([*low, *high]))),
        _ => None,
    }
}

/// Blocks of up to 255 bytes, each behind its length, up to an empty block: all of them, as they are in the file.
fn sub_blocks<'a>(rest: &mut Bytes<'a>) -> Result<&'a [u8], Refused> {
    let all = rest.0;
    let mut length = 0;
    loop {
        let block = usize::from(rest.u8()?);
        rest.take(block)?;
        length += 1 + block;
        if block == 0 {
            return Ok(&all[..length]);
        }
    }
}
