//! The kind of a file, by its first bytes. What a client says about it is ignored.

/// How many bytes [`Kind::sniff`] and [`describe`] read.
pub const SNIFF_BYTES: usize = 16;

/// A kind of picture that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG. An animated one becomes its still picture.
    Png,
    /// GIF, with its animation.
    Gif,
    /// WebP. An animated one becomes its first frame.
    Webp,
}

impl Kind {
    /// The kind that these first bytes belong to.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let riff = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ if riff => Some(Self::Webp),
            _ => None,
        }
    }

    /// The `Content-Type` to serve it with.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }
}

/// What a file is when [`Kind::sniff`] does not know it, and what to send instead: for the error that its sender gets.
#[must_use]
pub fn describe(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match head {
        [] => "nothing at all: the file is empty",
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => describe_brand(brand),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF or a camera's raw picture; send JPEG",
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "a BMP picture; send PNG",
        [0, 0, 1, 0, ..] => "an icon file; send PNG",
        [b'8', b'B', b'P', b'S', ..] => "a Photoshop document; send JPEG or PNG",
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', ..] => "a JPEG XL picture; send JPEG",
        [0, 0, 0, 12, b'j', b'P', ..] => "a JPEG 2000 picture; send JPEG",
        [b'%', b'P', b'D', b'F', ..] => "a PDF; send its pages as JPEG or PNG",
        [0x1A, 0x45, 0xDF, 0xA3, ..] => "a video; send a picture",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => "a video; send a picture",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] | [b'I', b'D', b'3', ..] => {
            "sound; send a picture"
        }
        [b'P', b'K', 3 | 5, ..] | [0x1F, 0x8B, ..] => "an archive; send the picture itself",
        _ if text.starts_with(b"<") => "SVG, HTML or XML text; send PNG",
        _ if text.starts_with(b"{") || text.starts_with(b"[") => {
            "JSON text; send the bytes of the picture as the body"
        }
        _ if text.starts_with(b"data:") || text.starts_with(b"/9j/") || text.starts_with(b"iVBORw") => {
            "base64 text; send the bytes themselves"
        }
        _ if text.starts_with(b"--") => "a multipart form; send the bytes of the picture as the body",
        _ => "not a picture that is known here; send JPEG, PNG, GIF or WebP",
    }
}

/// ISO base media files, distinguished by their major brand.
fn describe_brand(brand: &[u8]) -> &'static str {
    match brand.get(..4) {
        Some(b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
            "an HEIC picture; send JPEG"
        }
        Some(b"avif" | b"avis") => "an AVIF picture; send JPEG, PNG or WebP",
        Some(b"M4A " | b"M4B ") => "sound; send a picture",
        Some(b"crx ") => "a camera's raw picture; send JPEG",
        _ => "a video; send a picture",
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, SNIFF_BYTES, describe};

    #[test]
    fn the_first_bytes_say_the_kind() {
        let table: &[(&[u8], Option<Kind>)] = &[
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", Some(Kind::Jpeg)),
            (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", Some(Kind::Png)),
            (b"GIF87a", Some(Kind::Gif)),
            (b"GIF89a/*", Some(Kind::Gif)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(Kind::Webp)),
            (b"", None),
            (b"\xFF\xD8", None),
            (b"\x89PNG\n\x1A\n", None),
            (b"GIF88a", None),
            (b"RIFF\x10\0\0\0WAVE", None),
            (b"RIFF\x10\0\0\0WEB", None),
            (b"<svg xmlns=", None),
            (b" GIF89a", None),
            (b"\0\0\0\x18ftypheic", None),
        ];
        for (bytes, kind) in table {
            assert!(bytes.len() <= SNIFF_BYTES, "{bytes:?}");
            assert_eq!(Kind::sniff(bytes), *kind, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        let table: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x18ftypmif1", "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"\x1A\x45\xDF\xA3", "video"),
            (b"RIFF\0\0\0\0AVI LIST", "video"),
            (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
            (b"<svg xmlns=\"http", "SVG"),
            (b"\xEF\xBB\xBF\n<!DOCTYPE html", "HTML"),
            (b"%PDF-1.7", "PDF"),
            (b"PK\x03\x04", "archive"),
            (b"BM\x10\0\0\0\0\0\0\0", "BMP"),
            (b"data:image/png;base64,AAAA", "base64"),
            (b"--boundary\r\n", "multipart"),
            (b"hello, this is a text", "not a picture that is known here"),
        ];
        for (bytes, name) in table {
            assert!(describe(bytes).contains(*name), "{bytes:?}: {}", describe(bytes));
        }
    }
}
