//! WebP: chunks in a RIFF container. The picture's own chunks are kept; of an animation, those of its first frame.

use super::essence::{Bytes, Essence, MAX_ICC_BYTES};
use crate::bounds::Bounds;
use crate::refused::Refused;

/// The most memory of Huffman tables for each byte that describes them. The decoder builds up to 65,536 groups of five
/// tables, even if no pixel uses them, and 150 bytes can describe a table of 80 KB.
const TABLE_BYTES_PER_BYTE: u64 = 600;

const ALPHA_FLAG: u8 = 0x10;
const ANIMATION_FLAG: u8 = 0x02;

type Name = [u8; 4];

/// The chunks of a picture or a frame that are kept, the first of each name.
#[derive(Default)]
struct Coded<'a> {
    alpha: Option<&'a [u8]>,
    lossy: Option<&'a [u8]>,
    lossless: Option<&'a [u8]>,
}

impl<'a> Coded<'a> {
    fn keep(&mut self, name: Name, body: &'a [u8]) {
        let place = match &name {
            b"ALPH" => &mut self.alpha,
            b"VP8 " => &mut self.lossy,
            b"VP8L" => &mut self.lossless,
            _ => return,
        };
        place.get_or_insert(body);
    }

    /// The size that the coded picture itself states. The decoder allocates memory for it before it compares it with
    /// the canvas.
    fn size(&self) -> Result<(u32, u32), Refused> {
        match (self.lossy, self.lossless) {
            (Some([_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..]), None) => {
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                Ok((side(*w0, *w1), side(*h0, *h1)))
            }
            (None, Some([0x2F, a, b, c, d, ..])) => {
                let bits = u32::from_le_bytes([*a, *b, *c, *d]);
                Ok(((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1))
            }
            _ => Err(Refused::damaged("there is no picture in it")),
        }
    }

    /// From what is there: some writers set the flag without alpha.
    fn alpha_flag(&self) -> u8 {
        if self.alpha.is_some() || self.lossless.is_some() { ALPHA_FLAG } else { 0 }
    }

    fn check(&self, size: (u32, u32), bounds: &Bounds) -> Result<(), Refused> {
        if self.size()? != size {
            return Err(Refused::damaged("it states two sizes"));
        }
        let tables = [self.alpha, self.lossless].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
        bounds.check_memory(tables as u64 * TABLE_BYTES_PER_BYTE)
    }

    fn write(&self, file: &mut Vec<u8>) {
        for (name, body) in [(b"ALPH", self.alpha), (b"VP8 ", self.lossy), (b"VP8L", self.lossless)] {
            if let Some(body) = body {
                write_chunk(file, name, body);
            }
        }
    }
}

pub(super) fn scan(bytes: &[u8], bounds: &Bounds) -> Result<Essence, Refused> {
    let mut riff = Bytes(bytes);
    riff.take(4)?;
    let length = usize::try_from(u32::from_le_bytes(riff.array()?)).map_err(Refused::damaged)?;
    let mut chunks = Bytes(riff.take(length)?);
    chunks.take(4)?;
    let (mut canvas, mut frame, mut exif, mut icc) = (None, None, None, None);
    let mut coded = Coded::default();
    while let Some((name, body)) = next_chunk(&mut chunks)? {
        match &name {
            b"VP8X" if canvas.is_none() => canvas = Some(extended(body)?),
            b"ANMF" => frame = frame.or(Some(body)),
            b"EXIF" => exif = exif.or(Some(body)),
            b"ICCP" if body.len() <= MAX_ICC_BYTES => icc = icc.or(Some(body.to_vec())),
            _ => coded.keep(name, body),
        }
    }
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    let size = match (canvas, frame) {
        (Some((flags, size)), Some(frame)) if flags & ANIMATION_FLAG != 0 => {
            bounds.check_size(size.0, size.1)?;
            write_extended(&mut file, flags & (ANIMATION_FLAG | ALPHA_FLAG), size);
            write_chunk(&mut file, b"ANIM", &[0; 6]);
            write_chunk(&mut file, b"ANMF", &first_frame(frame, size, bounds)?);
            size
        }
        (canvas, _) => {
            let size = coded.size()?;
            bounds.check_size(size.0, size.1)?;
            coded.check(canvas.map_or(size, |(_, size)| size), bounds)?;
            match canvas {
                Some((flags, size)) => write_extended(&mut file, flags & coded.alpha_flag(), size),
                None => coded.alpha = None,
            }
            coded.write(&mut file);
            size
        }
    };
    let length = u32::try_from(file.len() - 8).map_err(Refused::damaged)?;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(Essence { icc, ..Essence::still(file, size, exif) })
}

/// The last chunk's padding may be missing: some writers forget it.
fn next_chunk<'a>(rest: &mut Bytes<'a>) -> Result<Option<(Name, &'a [u8])>, Refused> {
    if rest.0.is_empty() {
        return Ok(None);
    }
    let name = rest.array()?;
    let length = usize::try_from(u32::from_le_bytes(rest.array()?)).map_err(Refused::damaged)?;
    let body = rest.take(length)?;
    rest.take((length % 2).min(rest.0.len()))?;
    Ok(Some((name, body)))
}

fn u24(bytes: [u8; 3]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

fn extended(body: &[u8]) -> Result<(u8, (u32, u32)), Refused> {
    let mut body = Bytes(body);
    let [flags, ..]: [u8; 4] = body.array()?;
    Ok((flags, (u24(body.array()?) + 1, u24(body.array()?) + 1)))
}

fn first_frame(body: &[u8], canvas: (u32, u32), bounds: &Bounds) -> Result<Vec<u8>, Refused> {
    let mut rest = Bytes(body);
    let place = rest.take(16)?;
    let number = |at: usize| u24([place[at], place[at + 1], place[at + 2]]);
    let (x, y) = (number(0) * 2, number(3) * 2);
    let size = (number(6) + 1, number(9) + 1);
    if x + size.0 > canvas.0 || y + size.1 > canvas.1 {
        return Err(Refused::damaged("a frame lies outside of it"));
    }
    let mut coded = Coded::default();
    while let Some((name, body)) = next_chunk(&mut rest)? {
        coded.keep(name, body);
    }
    coded.check(size, bounds)?;
    let mut frame = place.to_vec();
    coded.write(&mut frame);
    Ok(frame)
}

fn write_extended(file: &mut Vec<u8>, flags: u8, (width, height): (u32, u32)) {
    let mut body = vec![flags, 0, 0, 0];
    body.extend(&(width - 1).to_le_bytes()[..3]);
    body.extend(&(height - 1).to_le_bytes()[..3]);
    write_chunk(file, b"VP8X", &body);
}

/// Only for chunks that were read, whose length fits, or chunks of a few bytes.
fn write_chunk(file: &mut Vec<u8>, name: &Name, body: &[u8]) {
    file.extend(name);
    file.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    file.extend(body);
    file.resize(file.len() + body.len() % 2, 0);
}
