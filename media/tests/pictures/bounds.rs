//! Small files that would cost much.

use std::time::{Duration, Instant};

use image::DynamicImage;
use soundoff_media::{Bounds, Kind, Refused, render};

use crate::samples::{
    chunk, deflate, gif, gif_body, jpeg, ok, photo, png, png_of, progressive, refused, riff, sticker, vp8l,
    vp8x, webp, webp_file,
};

/// A JPEG that states this size.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg(&photo(8, 8).into());
    let at = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap() + 5;
    bytes[at..at + 4].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
    bytes
}

fn gif_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = gif(8, 8, 1);
    bytes[6..10].copy_from_slice(&[width.to_le_bytes(), height.to_le_bytes()].concat());
    bytes
}

/// Only the beginning of a chunk: `image` would want all pixels first.
fn vp8l_of(width: u32, height: u32) -> Vec<u8> {
    let bits = (width - 1) | (height - 1) << 14;
    riff(b"VP8L", &[&[0x2F][..], &bits.to_le_bytes(), &[0; 20]].concat())
}

fn vp8_of(width: u16, height: u16) -> Vec<u8> {
    let body = [&[0x10, 0, 0, 0x9D, 0x01, 0x2A][..], &width.to_le_bytes(), &height.to_le_bytes(), &[0; 40]];
    riff(b"VP8 ", &body.concat())
}

#[test]
fn a_size_is_judged_by_the_header() {
    let bounds = Bounds::default();
    let many = |width, height| Refused::TooManyPixels {
        width,
        height,
        pixels: u64::from(width) * u64::from(height),
        bound: 40_000_000,
    };
    let long = |side| Refused::SideTooLong { side, bound: 16_384 };
    let table = [
        (png_of(60_000, 60_000, &[], b""), long(60_000)),
        (png_of(16_000, 16_000, &[], b""), many(16_000, 16_000)),
        (png_of(u32::MAX, 1, &[], b""), long(u32::MAX)),
        (jpeg_of(65_535, 65_535), long(65_535)),
        (jpeg_of(6400, 6400), many(6400, 6400)),
        (gif_of(65_535, 8), long(65_535)),
        (webp_file(&[vp8l_of(16_384, 16_384)]), many(16_384, 16_384)),
        (webp_file(&[vp8_of(16_383, 16_383)]), many(16_383, 16_383)),
        (webp_file(&[vp8x(2, 1 << 24, 5), riff(b"ANMF", &[0; 40])]), long(1 << 24)),
    ];
    for (bytes, why) in table {
        let begun = Instant::now();
        assert_eq!(refused(&bytes, &bounds), why);
        assert!(begun.elapsed() < Duration::from_millis(500), "{why}");
    }
    // A decoder keeps no more than this for a frame.
    assert!(matches!(
        refused(&gif_of(4000, 4000), &bounds),
        Refused::TooManyPixels { bound: 12_500_000, .. }
    ));
    for nothing in [png_of(0, 9, &[], b""), jpeg_of(9, 0), gif_of(0, 0)] {
        assert!(matches!(refused(&nothing, &bounds), Refused::Damaged(_)));
    }
}

#[test]
fn a_size_that_is_stated_twice_must_be_the_same() {
    let image = DynamicImage::from(photo(16, 16));
    let frame =
        |inner: Vec<u8>| riff(b"ANMF", &[&[0; 6][..], &[15, 0, 0, 15, 0, 0], &[0; 4], &inner].concat());
    let animated = |frame| webp_file(&[vp8x(2, 16, 16), riff(b"ANIM", &[0; 6]), frame]);
    let says = |bytes: &[u8], why: &str| {
        let refused = refused(bytes, &Bounds::default()).to_string();
        assert!(refused.contains(why), "{refused}, not {why}");
    };
    let table = [
        webp_file(&[vp8x(0, 16, 16), vp8_of(6000, 6000)]),
        webp_file(&[vp8x(0, 17, 16), vp8l(&image)]),
        animated(frame(vp8_of(6000, 6000))),
        animated(frame(vp8l_of(6000, 6000))),
    ];
    for bytes in table {
        says(&bytes, "two sizes");
    }
    let beside = [&[1, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0][..], &vp8l(&image)].concat();
    says(&animated(riff(b"ANMF", &beside)), "a frame lies outside of it");
    ok(&animated(frame(vp8l(&image))));

    // The decoder would believe a second header in a JPEG.
    let mut bytes = jpeg(&photo(8, 8).into());
    let at = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    let second = jpeg_of(5000, 5000)[at..at + 19].to_vec();
    bytes.splice(at + 19..at + 19, second);
    says(&bytes, "its size twice");
}

#[test]
fn what_is_packed_stays_packed() {
    // 256 MB in 250 KB each: of a text, of a profile, and of more pixels than there are.
    let zeros = deflate(&vec![0; 256 << 20]);
    let text = chunk(b"zTXt", &[&b"a\0\0"[..], &zeros].concat());
    let profile = chunk(b"iCCP", &[&b"a\0\0"[..], &zeros].concat());
    let mut pixels = png_of(1, 1, &[], &[0, 7]);
    let data = chunk(b"IDAT", &zeros);
    let at = pixels.windows(4).position(|w| w == b"IDAT").unwrap() - 4;
    let end = pixels.len() - 12;
    pixels.splice(at..end, data);
    // There is no memory for any of it: none must be allocated.
    let bounds = Bounds { memory: 1 << 20, ..Bounds::default() };
    for bytes in [png_of(1, 1, &text, &[0, 7]), png_of(1, 1, &profile, &[0, 7]), pixels] {
        assert!(bytes.len() > 200 << 10, "it is a bomb");
        let begun = Instant::now();
        let rendered = render(&bytes, Kind::Png, &bounds);
        assert!(rendered.is_ok_and(|r| r.full.bytes.len() < 200));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // A profile that is short enough to be unpacked, but is too long afterwards.
    let profile = chunk(b"iCCP", &[&b"a\0\0"[..], &deflate(&vec![0; 40 << 20])].concat());
    assert!(render(&png_of(1, 1, &profile, &[0, 7]), Kind::Png, &bounds).is_ok());
}

#[test]
fn an_animation_is_bounded_in_frames_and_in_all_their_pixels() {
    let bounds = Bounds { frames: 20, animation_pixels: 20_000, ..Bounds::default() };
    let kind = Kind::Gif;
    assert!(render(&gif(30, 30, 20), kind, &bounds).is_ok());
    assert_eq!(refused(&gif(1, 1, 21), &bounds), Refused::TooManyFrames { bound: 20 });
    assert_eq!(refused(&gif(40, 40, 13), &bounds), Refused::AnimationTooLarge { bound: 20_000 });

    // Frames of one pixel each on a large canvas.
    let small = gif(1, 1, 19);
    let mut bytes = small.clone();
    bytes[6..10].copy_from_slice(&[0, 1, 0, 1]);
    assert_eq!(refused(&bytes, &bounds), Refused::AnimationTooLarge { bound: 20_000 });
    // A large frame on a small canvas.
    let mut bytes = gif(200, 150, 2);
    bytes[6..10].copy_from_slice(&[1, 0, 1, 0]);
    assert_eq!(refused(&bytes, &bounds), Refused::AnimationTooLarge { bound: 20_000 });

    // By default: ten thousand frames of nothing.
    let one = gif(1, 1, 1);
    let body = gif_body(&one);
    let frame = &one[body..one.len() - 1];
    let many = [&one[..body], &frame.repeat(10_000), &[0x3B]].concat();
    assert_eq!(refused(&many, &Bounds::default()), Refused::TooManyFrames { bound: 500 });
}

#[test]
fn a_jpeg_of_thousands_of_scans_is_refused_at_once() {
    ok(&progressive(16, 64));
    assert_eq!(refused(&progressive(16, 65), &Bounds::default()), Refused::TooManyScans { bound: 64 });
    let begun = Instant::now();
    assert_eq!(refused(&progressive(2000, 2000), &Bounds::default()), Refused::TooManyScans { bound: 64 });
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn time_is_bounded() {
    // 16 million pixels in each of 64 scans.
    let scans = progressive(4000, 64);
    // A GIF whose frames are decoded quickly, and quantized slowly.
    let movie = gif(300, 300, 500);
    let image = DynamicImage::from(photo(3000, 3000));
    let lossless = webp(&sticker(3000, 3000).into());
    for bytes in [scans, movie, png(&image), lossless, jpeg(&image)] {
        let bound = Duration::from_millis(30);
        let bounds = Bounds { time: bound, ..Bounds::default() };
        let begun = Instant::now();
        assert_eq!(refused(&bytes, &bounds), Refused::TookTooLong { bound });
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[test]
fn memory_is_bounded() {
    let image = DynamicImage::from(sticker(100, 100));
    let bounds = Bounds { memory: 159_999, ..Bounds::default() };
    for bytes in [png(&image), gif(100, 100, 2), webp(&image), jpeg(&photo(100, 100).into())] {
        assert_eq!(refused(&bytes, &bounds), Refused::TooMuchMemory { bound: 159_999 });
    }
    // Tables that no pixel uses: bounded by how many tables these bytes could describe.
    let noise = DynamicImage::from(photo(200, 200));
    let bounds = Bounds { memory: 10 << 20, ..Bounds::default() };
    assert!(vp8l(&noise).len() > 20 << 10);
    assert_eq!(refused(&webp(&noise), &bounds), Refused::TooMuchMemory { bound: 10 << 20 });
    let alpha = webp_file(&[vp8x(0x10, 9, 9), riff(b"ALPH", &[1; 20 << 10]), vp8_of(9, 9)]);
    assert_eq!(refused(&alpha, &bounds), Refused::TooMuchMemory { bound: 10 << 20 });
}

#[test]
fn an_error_says_what_to_do() {
    let error = refused(&png_of(16_000, 16_000, &[], b""), &Bounds::default()).to_string();
    assert!(
        error.contains("256000000") && error.contains("40000000") && error.contains("scale it down"),
        "{error}"
    );
    let error = refused(&png(&photo(8, 8).into())[..60], &Bounds::default()).to_string();
    assert!(error.contains("not whole") && error.contains("send all"), "{error}");
}
