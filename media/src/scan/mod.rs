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

#[cfg(test)]
mod tests {
    use super::scan;
    use crate::{Bounds, Kind};

    /// Encoding anew would hide it if a decoder were given more than it needs.
    #[test]
    fn decoders_see_the_picture_only() {
        let jpeg = b"\xFF\xD8\xFF\xE0\0\x07FOUND\xFF\xE1\0\x0DExif\0\0FOUND\
            \xFF\xE2\0\x15ICC_PROFILE\0\x01\x01FOUND\xFF\xEE\0\x13Adobe\0\x64\0\0\0\0\x01FOUND\
            \xFF\xFE\0\x07FOUND between \xFF\xC0\0\x0B\x08\0\x01\0\x01\x01\x01\x11\0\
            \xFF\xDA\0\x08\x01\x01\0\0\x3F\0?\xFF\xD9FOUND";
        let png = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0....\
            \0\0\0\x05tEXtFOUND....\0\0\0\x05eXIfFOUND....\0\0\0\x05fdATFOUND....\
            \0\0\0\x01IDAT?....\0\0\0\0IEND....FOUND";
        let gif = b"GIF89a\x01\0\x01\0\0\0\0!\xFE\x05FOUND\0!\x01\x05FOUND\0!\xFF\x05FOUND\0\
            !\xF9\x04\0\0\0\0\x05FOUND\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x4C\x01\0;FOUND";
        let webp = b"RIFF\x4A\0\0\0WEBPVP8X\x0A\0\0\0\x2C\0\0\0\0\0\0\0\0\0ICCP\x05\0\0\0FOUND\0\
            VP8L\x05\0\0\0\x2F\0\0\0\0\0EXIF\x05\0\0\0FOUND\0XMP \x02\0\0\0FOFOUND";
        // By the parts that are left: header, Adobe, frame, scan and padding of the JPEG, and so on.
        let files: [(Kind, &[u8], usize); 4] = [
            (Kind::Jpeg, jpeg, 2 + 16 + 13 + 11 + 16),
            (Kind::Png, png, 8 + 25 + 13 + 12),
            (Kind::Gif, gif, 13 + 8 + 10 + 5 + 1),
            (Kind::Webp, webp, 12 + 18 + 14),
        ];
        for (kind, file, size) in files {
            let essence = scan(file, kind, &Bounds::default());
            let essence = essence.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            let text = String::from_utf8_lossy(&essence.file);
            assert!(!text.contains("FO"), "{kind:?}: {text:?}");
            assert_eq!(essence.file.len(), size, "{kind:?}: {text:?}");
        }
    }
}
