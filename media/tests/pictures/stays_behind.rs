//! What must not be kept: places, names, texts, and files behind or inside the file.

use crate::samples::{
    SECRET, all, chunk, deflate, exif, exif_segment, gif, gif_body, jpeg, jpeg_with, ok, photo, png,
    png_with, segment, sticker, vp8l, vp8x, webp_file, webp_with,
};
use image::DynamicImage;
use soundoff_media::{Kind, Picture};

/// The names of a file's parts, to its last byte.
fn parts(picture: &Picture) -> Vec<String> {
    match picture.kind {
        Kind::Jpeg => jpeg_parts(&picture.bytes),
        Kind::Png => png_parts(&picture.bytes),
        Kind::Gif => gif_parts(&picture.bytes),
        Kind::Webp => panic!("none is made"),
    }
}

fn jpeg_parts(bytes: &[u8]) -> Vec<String> {
    let (mut at, mut names) = (2, Vec::new());
    loop {
        assert_eq!(bytes[at], 0xFF);
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        names.push(format!("{:02X}", bytes[at + 1]));
        let scan = bytes[at + 1] == 0xDA;
        at += 2 + length;
        if scan {
            let end = bytes[at..].windows(2).position(|w| w[0] == 0xFF && w[1] != 0).unwrap();
            assert_eq!(bytes[at + end..], [0xFF, 0xD9], "one scan, and nothing behind the end");
            return names;
        }
    }
}

fn png_parts(bytes: &[u8]) -> Vec<String> {
    let (mut at, mut names) = (8, Vec::new());
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        names.push(String::from_utf8(bytes[at + 4..at + 8].to_vec()).unwrap());
        at += 12 + usize::try_from(length).unwrap();
    }
    assert_eq!(names.pop().unwrap(), "IEND");
    names
}

fn gif_parts(bytes: &[u8]) -> Vec<String> {
    let palette = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let (mut at, mut names) = (13 + palette(bytes[10]), Vec::new());
    loop {
        match bytes[at] {
            0x3B => {
                assert_eq!(at + 1, bytes.len(), "nothing behind the end");
                return names;
            }
            0x21 => {
                names.push(format!("{:02X}", bytes[at + 1]));
                at += 2;
            }
            0x2C => at += 11 + palette(bytes[at + 9]),
            other => panic!("a block {other:02X}"),
        }
        while bytes[at] != 0 {
            at += 1 + usize::from(bytes[at]);
        }
        at += 1;
    }
}

/// None of the texts is anywhere, and no part could hold one.
fn assert_clean(name: &str, bytes: &[u8], foreign: &[&str]) {
    for text in foreign {
        let planted = bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(planted, "{name}: {text} was never in it");
    }
    for picture in all(&ok(bytes)) {
        for text in foreign {
            let found = picture.bytes.windows(text.len()).any(|w| w == text.as_bytes());
            assert!(!found, "{name}: {text} went on");
        }
        let allowed = match picture.kind {
            Kind::Jpeg => &["E0", "C0", "C4", "DB", "DA"][..],
            Kind::Png => &["IHDR", "IDAT"],
            _ => &["F9", "FF"],
        };
        for part in parts(picture) {
            assert!(allowed.contains(&part.as_str()), "{name}: a part {part}");
        }
    }
}

const XMP: &str =
    "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><exif:GPSLatitude>SECRETXMP</exif:GPSLatitude></x:xmpmeta>";

#[test]
fn places_and_texts_stay_behind() {
    let image = photo(64, 48);
    let coloured = DynamicImage::from(image.clone());
    let clear = DynamicImage::from(sticker(64, 48));
    let text = b"Comment\0SECRETTEXT".to_vec();

    let segments =
        [exif_segment(1), (0xE1, XMP.into()), (0xFE, b"SECRETCOM".to_vec()), (0xED, b"SECRETIPTC".to_vec())];
    let bytes = jpeg_with(&image, &segments);
    assert_clean("jpeg", &bytes, &[SECRET, "SECRETXMP", "SECRETCOM", "SECRETIPTC"]);

    let chunks = [(b"eXIf", exif(1)), (b"tEXt", text.clone()), (b"juNk", b"SECRETJUNK".to_vec())];
    for image in [&coloured, &clear] {
        let bytes = png_with(image, &chunks);
        assert_clean("png", &bytes, &[SECRET, "SECRETTEXT", "SECRETJUNK"]);
        let bytes = webp_with(image, &exif(1), XMP.as_bytes());
        assert_clean("webp", &bytes, &[SECRET, "SECRETXMP"]);
    }

    for frames in [1, 3] {
        let plain = gif(20, 20, frames);
        let body = gif_body(&plain);
        let comment = b"\x21\xFE\x0ASECRETCOM!\0";
        let xmp = b"\x21\xFF\x0BXMP DataXMP\x0ASECRETXMP!\0";
        let bytes = [&plain[..body], comment, xmp, &plain[body..]].concat();
        assert_clean("gif", &bytes, &["SECRETCOM", "SECRETXMP"]);
    }
}

#[test]
fn a_file_that_is_two_files_becomes_one() {
    let image = photo(32, 32);
    let coloured = DynamicImage::from(image.clone());
    let zip = b"PK\x03\x04SECRETZIP";
    let html = b"Title\0<html><script>alert('SECRETHTML')</script></html>".to_vec();

    let tailed = [&jpeg(&coloured)[..], zip].concat();
    assert_clean("jpeg and zip", &tailed, &["SECRETZIP"]);
    let pdf = jpeg_with(&image, &[(0xFE, b"%PDF-1.4 SECRETPDF".to_vec())]);
    assert_clean("jpeg and pdf", &pdf, &["%PDF", "SECRETPDF"]);
    // A second picture behind the first, as phones keep the depth of a portrait.
    let twice = [jpeg(&coloured), jpeg_with(&image, &[(0xFE, b"SECRETSECOND".to_vec())])].concat();
    assert_clean("jpeg and jpeg", &twice, &["SECRETSECOND"]);

    assert_clean("png and html", &png_with(&coloured, &[(b"tEXt", html)]), &["<script>"]);
    assert_clean("png and zip", &[&png(&coloured)[..], zip].concat(), &["SECRETZIP"]);
    // Compressed: the bytes are not in the file as they are.
    let packed = png_with(&coloured, &[(b"zTXt", [&b"a\0\0"[..], &deflate(b"SECRETZTXT")].concat())]);
    assert_clean("png and packed text", &packed, &["zTXt"]);

    for frames in [1, 2] {
        let plain = gif(20, 20, frames);
        let body = gif_body(&plain);
        let script = b"\x21\xFE\x1C*/=1;alert('SECRETJS');/*....\0";
        let script = &[&script[..2], &[u8::try_from(script.len() - 4).unwrap()], &script[3..]].concat();
        let bytes = [&plain[..body], script, &plain[body..], b"*/alert('SECRETTAIL')"].concat();
        assert_clean("gif and script", &bytes, &["SECRETJS", "SECRETTAIL"]);
        // "GIF89a/*": the width is the beginning of a comment.
        let wide = gif(u32::from(u16::from_le_bytes(*b"/*")), 1, frames);
        assert!(wide.starts_with(b"GIF89a/*"));
        assert_clean("gif that begins a comment", &wide, &[]);
    }

    let hidden = webp_file(&[
        vp8x(0, 32, 32),
        crate::samples::riff(b"SECR", b"SECRETCHUNK"),
        vp8l(&coloured),
        crate::samples::riff(b"TAIL", b"SECRETTAIL!"),
    ]);
    assert_clean(
        "webp and chunks",
        &[&hidden[..], zip].concat(),
        &["SECRETCHUNK", "SECRETTAIL", "SECRETZIP"],
    );
}

#[test]
fn a_profile_is_used_and_stays_behind() {
    // Red and green are swapped: nothing else would show so clearly that the profile was used.
    let mut profile = moxcms::ColorProfile::new_srgb();
    (profile.red_colorant, profile.green_colorant) = (profile.green_colorant, profile.red_colorant);
    let icc = profile.encode().unwrap();
    let red = DynamicImage::from(image::RgbImage::from_pixel(16, 16, image::Rgb([255, 0, 0])));

    let in_jpeg =
        jpeg_with(&red.to_rgb8(), &[(0xE2, [b"ICC_PROFILE\0\x01\x01".to_vec(), icc.clone()].concat())]);
    let in_png = png_with(&red, &[(b"iCCP", [b"SECRETICC\0\0".to_vec(), deflate(&icc)].concat())]);
    let in_webp = webp_file(&[vp8x(0x20, 16, 16), crate::samples::riff(b"ICCP", &icc), vp8l(&red)]);
    for (bytes, tag) in [(in_jpeg, "ICC_PROFILE"), (in_png, "SECRETICC"), (in_webp, "acsp")] {
        assert_clean("a profile", &bytes, &[tag]);
        for picture in all(&ok(&bytes)) {
            let pixel = crate::samples::pixels(picture).to_rgb8().get_pixel(8, 8).0;
            assert!(pixel[0] < 40 && pixel[1] > 215, "{tag}: {pixel:?}");
        }
    }

    // A profile that is not understood, or is far too long, is ignored.
    for broken in [b"no profile".to_vec(), vec![0; 70 << 10], icc[..200].to_vec()] {
        let bytes = png_with(&red, &[(b"iCCP", [b"x\0\0".to_vec(), deflate(&broken)].concat())]);
        let pixel = crate::samples::pixels(&ok(&bytes).full).to_rgb8().get_pixel(8, 8).0;
        assert_eq!(pixel, [255, 0, 0]);
    }
}

#[test]
fn the_helpers_see_what_is_there() {
    let bytes = jpeg_with(&photo(8, 8), &[exif_segment(1)]);
    assert!(jpeg_parts(&bytes).contains(&"E1".to_owned()));
    let bytes = png_with(&photo(8, 8).into(), &[(b"tEXt", b"a\0b".to_vec())]);
    assert!(png_parts(&bytes).contains(&"tEXt".to_owned()));
    assert_eq!(segment(0xFE, b"abc"), b"\xFF\xFE\0\x05abc");
    assert_eq!(chunk(b"IEND", &[]), b"\0\0\0\0IEND\xAE\x42\x60\x82");
}
