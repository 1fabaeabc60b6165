//! What a scan keeps of a file.

use image::codecs::gif::Repeat;
use image::metadata::Orientation;

use crate::refused::Refused;

/// Longer colour profiles are ignored. Those of cameras and phones have 0.5 to 4 KB.
pub(super) const MAX_ICC_BYTES: usize = 64 << 10;

/// The parts of a file that make its picture.
#[derive(Debug)]
pub(crate) struct Essence {
    /// A file of the same kind with nothing else in it.
    pub(crate) file: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    pub(crate) icc: Option<Vec<u8>>,
    /// More than one only for an animation.
    pub(crate) frames: usize,
    pub(crate) repeat: Option<Repeat>,
    /// How many pixels decoding goes over: those of all frames, and once more for each ten scans of a JPEG.
    pub(crate) pixels: u64,
    /// Whether it is a JPEG without colours.
    pub(crate) grey: bool,
}

impl Essence {
    pub(super) fn still(file: Vec<u8>, (width, height): (u32, u32), exif: Option<&[u8]>) -> Self {
        let orientation = exif.and_then(orientation).unwrap_or(Orientation::NoTransforms);
        let pixels = u64::from(width) * u64::from(height);
        Self { file, width, height, orientation, icc: None, frames: 1, repeat: None, pixels, grey: false }
    }
}

/// Some writers put JPEG's prefix before Exif in the other kinds as well.
fn orientation(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

/// Bytes, taken from the front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Refused> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Refused::NotWhole)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (front, rest) = self.0.split_first_chunk().ok_or(Refused::NotWhole)?;
        self.0 = rest;
        Ok(*front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Refused> {
        Ok(u8::from_be_bytes(self.array()?))
    }
}
