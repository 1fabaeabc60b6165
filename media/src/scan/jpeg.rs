//! JPEG: segments up to the first scan, then scans with segments between them, up to the end marker.

use super::essence::{Bytes, Essence, MAX_ICC_BYTES};
use crate::bounds::Bounds;
use crate::refused::Refused;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

const EXIF: &[u8] = b"Exif\0\0";
const ICC: &[u8] = b"ICC_PROFILE\0";
const ADOBE: &[u8] = b"Adobe";
/// The first bytes of an Adobe segment say whether four colours are ink; the bytes behind them are not needed.
const ADOBE_BYTES: usize = 12;

/// A usual progressive JPEG has no more scans than this; decoding goes over the picture once for each.
const USUAL_SCANS: usize = 10;

/// More bytes than the decoder reads ahead.
const PADDING: [u8; 16] = [0; 16];

#[derive(Default)]
struct Found<'a> {
    size: Option<(u32, u32)>,
    progressive: bool,
    colours: usize,
    /// The colours of all scans, added up.
    scanned_colours: usize,
    scans: usize,
    exif: Option<&'a [u8]>,
    icc: Vec<(u8, &'a [u8])>,
}

pub(super) fn scan(bytes: &[u8], bounds: &Bounds) -> Result<Essence, Refused> {
    let mut rest = Bytes(&bytes[2..]);
    let mut file = Vec::with_capacity(bytes.len());
    file.extend([0xFF, SOI]);
    let mut found = Found::default();
    loop {
        match next_marker(&mut rest)? {
            EOI => break,
            // No length follows.
            0x01 | 0xD0..=0xD7 => {}
            SOI => return Err(Refused::damaged("a second JPEG begins inside of it")),
            marker => {
                let length = usize::from(u16::from_be_bytes(rest.array()?));
                let body = length.checked_sub(2).ok_or_else(|| Refused::damaged("a segment of no length"))?;
                segment(marker, rest.take(body)?, &mut found, &mut file, bounds)?;
                if marker == SOS {
                    file.extend(entropy(&mut rest)?);
                }
            }
        }
    }
    let Some(size) = found.size.filter(|_| found.scans > 0) else {
        return Err(Refused::damaged("there is no picture in it"));
    };
    if found.progressive {
        file.extend([0xFF, EOI]);
    } else {
        if found.scanned_colours != found.colours {
            return Err(Refused::damaged("its scans are not of each colour once"));
        }
        // At an end marker that comes too early the decoder draws grey without an error. At the end of the file it
        // fails.
        file.extend(PADDING);
    }
    let icc = join_icc(found.icc);
    let still = Essence::still(file, size, found.exif);
    let pixels = still.pixels * found.scans.div_ceil(USUAL_SCANS) as u64;
    Ok(Essence { icc, grey: found.colours == 1, pixels, ..still })
}

/// Bytes that do not belong there are skipped, as every decoder does: some cameras write them.
fn next_marker(rest: &mut Bytes<'_>) -> Result<u8, Refused> {
    loop {
        if rest.u8()? != 0xFF {
            continue;
        }
        let mut marker = rest.u8()?;
        while marker == 0xFF {
            marker = rest.u8()?;
        }
        if marker != 0 {
            return Ok(marker);
        }
    }
}

fn segment<'a>(
    marker: u8,
    body: &'a [u8],
    found: &mut Found<'a>,
    file: &mut Vec<u8>,
    bounds: &Bounds,
) -> Result<(), Refused> {
    let body = match marker {
        0xC0..=0xC2 => {
            found.progressive = marker == 0xC2;
            frame(body, found, bounds)?;
            body
        }
        SOS => {
            if found.size.is_none() {
                return Err(Refused::damaged("a scan comes before the size"));
            }
            found.scans += 1;
            found.scanned_colours += usize::from(*body.first().unwrap_or(&0));
            if found.scans > bounds.jpeg_scans {
                return Err(Refused::TooManyScans { bound: bounds.jpeg_scans });
            }
            body
        }
        // Tables: Huffman, quantization and the restart interval.
        0xC4 | 0xDB | 0xDD => body,
        0xC3 | 0xC5..=0xCF => return Err(Refused::Unsupported("a lossless or arithmetically coded JPEG")),
        APP14 if body.starts_with(ADOBE) && body.len() >= ADOBE_BYTES => &body[..ADOBE_BYTES],
        APP1 if body.starts_with(EXIF) => {
            found.exif.get_or_insert(body);
            return Ok(());
        }
        APP2 => {
            if let Some([number, _of, icc @ ..]) = body.strip_prefix(ICC) {
                found.icc.push((*number, icc));
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    // It is not longer than it was, and then its length fitted into the same two bytes.
    let length = u16::try_from(body.len() + 2).map_err(Refused::damaged)?;
    file.extend([0xFF, marker]);
    file.extend(length.to_be_bytes());
    file.extend(body);
    Ok(())
}

fn frame<'a>(body: &'a [u8], found: &mut Found<'a>, bounds: &Bounds) -> Result<(), Refused> {
    let mut body = Bytes(body);
    let bits = body.u8()?;
    let height = u32::from(u16::from_be_bytes(body.array()?));
    let width = u32::from(u16::from_be_bytes(body.array()?));
    if bits != 8 {
        return Err(Refused::Unsupported("a JPEG of more than 8 bits a colour"));
    }
    if found.size.is_some() {
        return Err(Refused::damaged("it states its size twice"));
    }
    bounds.check_size(width, height)?;
    found.size = Some((width, height));
    found.colours = usize::from(body.u8()?);
    Ok(())
}

/// A scan's bytes, up to the next marker. Restart markers and stuffed bytes are part of the scan.
fn entropy<'a>(rest: &mut Bytes<'a>) -> Result<&'a [u8], Refused> {
    let mut at = 0;
    loop {
        let found = rest.0[at..].iter().position(|b| *b == 0xFF).ok_or(Refused::NotWhole)?;
        at += found;
        match rest.0.get(at + 1).ok_or(Refused::NotWhole)? {
            0 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return rest.take(at),
        }
    }
}

fn join_icc(mut parts: Vec<(u8, &[u8])>) -> Option<Vec<u8>> {
    parts.sort_by_key(|(number, _)| *number);
    let bytes: usize = parts.iter().map(|(_, part)| part.len()).sum();
    (1..=MAX_ICC_BYTES).contains(&bytes).then(|| parts.iter().flat_map(|(_, part)| *part).copied().collect())
}
