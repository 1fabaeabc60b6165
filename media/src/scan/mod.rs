//! Walks over a file's parts before anything is decoded: checks how much decoding could cost, and leaves out the parts
//! that the picture does not need. So decoders, some of which believe any length that they read, never see those.

mod essence;
mod gif;
mod jpeg;
mod png;
mod webp;

pub(crate) use essence::Essence;

use crate::bounds::Bounds;
use crate::kind::Kind;
use crate::refused::Refused;

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

#[cfg(test)]
mod tests {
    use super::scan;
    use crate::bounds::Bounds;
    use crate::kind::Kind;

    #[test]
    fn what_decoding_goes_over_is_known_before_it() {
        let pixels = |kind, file: &[u8]| scan(file, kind, &Bounds::default()).unwrap().pixels;
        let jpeg = |scans| {
            let head = b"\xFF\xD8\xFF\xC2\0\x0B\x08\0\x02\0\x03\x01\x01\x11\0".to_vec();
            let scan = b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0?";
            [head, scan.repeat(scans), b"\xFF\xD9".to_vec()].concat()
        };
        for (scans, expected) in [(1, 6), (10, 6), (11, 12), (64, 42)] {
            assert_eq!(pixels(Kind::Jpeg, &jpeg(scans)), expected, "{scans} scans");
        }
        let gif = |frames| {
            let head = b"GIF89a\x03\0\x02\0\0\0\0".to_vec();
            let frame = b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x4C\x01\0";
            [head, frame.repeat(frames), b";".to_vec()].concat()
        };
        assert_eq!((pixels(Kind::Gif, &gif(1)), pixels(Kind::Gif, &gif(5))), (6, 30), "on the whole canvas");
    }

    /// Encoding again would hide it if a decoder got more than it needs.
    #[test]
    fn decoders_see_only_the_picture() {
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
        // The sizes of the parts that are left: header, Adobe, frame, scan and padding of the JPEG, and so on.
        let files: &[(Kind, &[u8], usize)] = &[
            (Kind::Jpeg, jpeg, 2 + 16 + 13 + 11 + 16),
            (Kind::Png, png, 8 + 25 + 13 + 12),
            (Kind::Gif, gif, 13 + 8 + 10 + 5 + 1),
            (Kind::Webp, webp, 12 + 18 + 14),
        ];
        for (kind, file, size) in files {
            let essence = scan(file, *kind, &Bounds::default());
            let essence = essence.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            let text = String::from_utf8_lossy(&essence.file);
            assert!(!text.contains("FO"), "{kind:?}: {text:?}");
            assert_eq!(essence.file.len(), *size, "{kind:?}: {text:?}");
        }
    }
}
