//! A walk over a file's parts before anything is decoded: how much it would ask for is judged, and the parts that the picture
//! does not need are left out. So decoders, of which some believe any length they read, never see those.

mod gif;
mod jpeg;
mod png;
mod webp;

use image::codecs::gif::Repeat;
use image::metadata::Orientation;

use crate::{Bounds, Kind, Refused};

/// A longer colour profile is not looked at. Those of cameras and phones are of 0.5 to 4 KB.
const MAX_ICC_BYTES: usize = 64 << 10;

/// What of a file makes its picture.
#[derive(Debug)]
pub(crate) struct Essence {
    /// A file of the same kind with nothing else in it.
    pub(crate) file: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    pub(crate) icc: Option<Vec<u8>>,
    /// More than one only if it moves.
    pub(crate) frames: usize,
    pub(crate) repeat: Option<Repeat>,
    /// Whether a JPEG has no colours.
    pub(crate) grey: bool,
}

impl Essence {
    fn still(file: Vec<u8>, (width, height): (u32, u32), exif: Option<&[u8]>) -> Self {
        let orientation = exif.and_then(orientation).unwrap_or(Orientation::NoTransforms);
        Self { file, width, height, orientation, icc: None, frames: 1, repeat: None, grey: false }
    }
}

/// Some writers put JPEG's prefix before it in the other kinds as well.
fn orientation(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

pub(crate) fn scan(bytes: &[u8], kind: Kind, bounds: &Bounds) -> Result<Essence, Refused> {
    if Kind::sniff(bytes) != Some(kind) {
        return Err(Refused::damaged("it does not begin like its kind"));
    }
    match kind {
        Kind::Jpeg => jpeg::scan(bytes, bounds),
        Kind::Png => png::scan(bytes, bounds),
        Kind::Gif => gif::scan(bytes, bounds),
        Kind::Webp => webp::scan(bytes, bounds),
    }
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Refused> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Refused::NotWhole)?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (front, rest) = self.0.split_first_chunk().ok_or(Refused::NotWhole)?;
        self.0 = rest;
        Ok(*front)
    }

    fn u8(&mut self) -> Result<u8, Refused> {
        Ok(u8::from_be_bytes(self.array()?))
    }
}
