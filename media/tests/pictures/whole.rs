//! Files that are not whole, or were changed.

use image::DynamicImage;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use soundoff_media::{Bounds, Kind, Refused, render};

use crate::samples::{
    PNG_BODY, anmf, exif, exif_segment, gif, gif_body, jpeg, jpeg_with, ok, photo, png, png_with,
    progressive, refused, riff, segment, sticker, vp8x, webp, webp_file, webp_with,
};

fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let image = photo(40, 30);
    let coloured = DynamicImage::from(image.clone());
    let clear = DynamicImage::from(sticker(40, 30));
    let animated = [vp8x(0x12, 40, 30), riff(b"ANIM", &[0; 6]), anmf(0, 0, &clear), anmf(0, 0, &clear)];
    vec![
        ("jpeg", jpeg_with(&image, &[exif_segment(6)])),
        ("progressive jpeg", progressive(40, 5)),
        ("png", png_with(&coloured, &[(b"eXIf", exif(3)), (b"tEXt", b"a\0b".to_vec())])),
        ("png with alpha", png(&clear)),
        ("gif", gif(40, 30, 3)),
        ("still gif", gif(40, 30, 1)),
        ("webp", webp(&coloured)),
        ("extended webp", webp_with(&clear, &exif(8), b"<x/>")),
        ("animated webp", webp_file(&animated)),
    ]
}

#[test]
fn a_file_without_its_end_is_refused() {
    for (name, bytes) in one_of_each() {
        ok(&bytes);
        let kind = Kind::sniff(&bytes).unwrap();
        for end in 0..bytes.len() {
            let rendered = render(&bytes[..end], kind, &Bounds::default());
            let refused =
                rendered.err().unwrap_or_else(|| panic!("{name}: taken at {end} of {}", bytes.len()));
            assert!(end < 16 || refused == Refused::NotWhole, "{name} at {end}: {refused}");
        }
    }
}

#[test]
fn a_part_that_is_longer_than_all_is_refused() {
    let image = DynamicImage::from(photo(16, 16));
    let vp8l = webp(&image)[12..].to_vec();
    let bytes = webp_file(&[vp8l, b"EXIF\xFF\xFF\xFF\x7F".to_vec()]);
    assert_eq!(refused(&bytes, &Bounds::default()), Refused::NotWhole);
    let mut bytes = png_with(&image, &[(b"tEXt", vec![0; 9])]);
    bytes[PNG_BODY] = 0x7F;
    assert_eq!(refused(&bytes, &Bounds::default()), Refused::NotWhole);
}

#[test]
fn what_comes_behind_the_end_is_not_missed() {
    for (name, bytes) in one_of_each() {
        for tail in [&[0][..], &[0xFF; 100], b"PK\x03\x04", &bytes] {
            assert_eq!(ok(&[&bytes[..], tail].concat()), ok(&bytes), "{name}");
        }
    }
}

#[test]
fn a_picture_that_lost_its_middle_is_refused() {
    // With an end again, as if an upload had been cut off and repaired.
    for image in [DynamicImage::from(photo(300, 200)), DynamicImage::from(photo(300, 200)).to_luma8().into()]
    {
        let whole = jpeg(&image);
        let scan = whole.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
        for kept in [20, scan + 40, whole.len() / 2, whole.len() * 9 / 10] {
            let cut = [&whole[..kept.max(scan + 20)], b"\0\xFF\xD9"].concat();
            assert!(matches!(refused(&cut, &Bounds::default()), Refused::Damaged(_)), "at {kept}");
        }
        // Another scan where the first should continue.
        let again = whole[scan..].to_vec();
        let cut = [&whole[..whole.len() / 2], b"\0", &again].concat();
        assert!(matches!(refused(&cut, &Bounds::default()), Refused::Damaged(_)));
    }

    let whole = png(&DynamicImage::from(photo(300, 200)));
    let cut = crate::samples::png_of(300, 200, &[], &vec![0; 301 * 100]);
    assert!(matches!(refused(&cut, &Bounds::default()), Refused::Damaged(_)));
    ok(&whole);

    // One pixel of ten thousand, in a palette of two colours: begin, colour 1, end, of three bits each.
    let frame = b"\x2C\0\0\0\0\x64\0\x64\0\x80\0\0\0\xFF\xFF\xFF\x02\x02\x4C\x01\0";
    let whole = gif(100, 100, 1);
    let body = gif_body(&whole);
    for before in [&whole[..body], &whole[..whole.len() - 1]] {
        let cut = [before, frame, b"\x3B"].concat();
        assert!(matches!(refused(&cut, &Bounds::default()), Refused::Damaged(_)));
    }

    let whole = webp(&DynamicImage::from(photo(300, 200)));
    let cut = webp_file(&[riff(b"VP8L", &whole[20..whole.len() / 2])]);
    assert!(matches!(refused(&cut, &Bounds::default()), Refused::Damaged(_)));
}

#[test]
fn no_whole_jpeg_is_taken_for_a_cut_one() {
    for width in (1..40).chain([641]) {
        for height in [1, 7, 8, 9, 200] {
            let image = DynamicImage::from(image::RgbImage::new(width, height));
            ok(&jpeg(&image));
            ok(&jpeg(&image.to_luma8().into()));
            ok(&jpeg(&photo(width, height).into()));
        }
    }
}

/// A grey picture of four blocks, with a restart marker behind each.
fn restarting(end: &[u8]) -> Vec<u8> {
    let table = |class: u8| segment(0xC4, &[&[class, 1][..], &[0; 15], &[0]].concat());
    [
        vec![0xFF, 0xD8],
        segment(0xDB, &[&[0][..], &[1; 64]].concat()),
        segment(0xC0, &[8, 0, 16, 0, 16, 1, 1, 0x11, 0]),
        table(0x00),
        table(0x10),
        segment(0xDD, &[0, 1]),
        segment(0xDA, &[1, 1, 0, 0, 63, 0]),
        b"\x3F\xFF\xD0\x3F\xFF\xD1\x3F\xFF\xD2\x3F".to_vec(),
        end.to_vec(),
    ]
    .concat()
}

#[test]
fn restart_markers_are_no_end() {
    for end in [&b"\xFF\xD9"[..], b"\xFF\xD3\xFF\xD9", b"\0\0\0\xFF\xFF\xD9"] {
        let rendered = ok(&restarting(end));
        assert!(crate::samples::pixels(&rendered.full).to_luma8().pixels().all(|p| p.0[0].abs_diff(128) < 3));
    }
}

#[test]
fn what_is_of_another_kind_is_refused() {
    for (name, bytes) in one_of_each() {
        for kind in [Kind::Jpeg, Kind::Png, Kind::Gif, Kind::Webp] {
            let rendered = render(&bytes, kind, &Bounds::default());
            if Kind::sniff(&bytes) == Some(kind) {
                rendered.unwrap_or_else(|error| panic!("{name}: {error}"));
            } else {
                assert!(rendered.unwrap_err().to_string().contains("like its kind"), "{name} as {kind:?}");
            }
        }
    }
}

/// Flips bits, overwrites, removes and copies parts.
fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        let some = random.random_range(0..(bytes.len() - at).min(40) + 1);
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = if random.random() { 0xFF } else { 0 },
            3 if bytes.len() - some > 20 => drop(bytes.drain(at..at + some)),
            4 => {
                let part = bytes[at..at + some].to_vec();
                let to = random.random_range(0..bytes.len());
                bytes.splice(to..to, part);
            }
            _ => bytes[at..at + some].fill(random.random()),
        }
    }
}

/// A PNG's checksums would keep nearly all mutations from its decoder.
fn mend(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
        let Some(named) = bytes.get(at + 4..at + 8 + length) else { return };
        let sum = crc32fast::hash(named).to_be_bytes();
        let Some(place) = bytes.get_mut(at + 8 + length..at + 12 + length) else { return };
        place.copy_from_slice(&sum);
        at += 12 + length;
    }
}

#[test]
fn no_mutation_is_more_than_a_picture_or_a_refusal() {
    let bounds = Bounds { pixels: 20_000, animation_pixels: 60_000, frames: 8, ..Bounds::default() };
    let samples = one_of_each();
    let mut taken = 0;
    for seed in 0..2000_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let (name, bytes) = &samples[random.random_range(0..samples.len())];
        let kind = Kind::sniff(bytes).unwrap();
        let mut bytes = bytes.clone();
        mutate(&mut bytes, &mut random);
        if kind == Kind::Png && random.random() {
            mend(&mut bytes);
        }
        match render(&bytes, kind, &bounds) {
            Ok(rendered) => {
                taken += 1;
                for picture in crate::samples::all(&rendered) {
                    let pixels = u64::from(picture.width) * u64::from(picture.height);
                    assert!(pixels <= bounds.pixels, "{name} {seed}");
                    assert!(picture.bytes.len() < 300_000, "{name} {seed}");
                    crate::samples::pixels(picture);
                }
            }
            Err(Refused::TookTooLong { .. }) => panic!("{name} {seed}: endless"),
            Err(refused) => {
                assert!(!refused.to_string().contains("gave up"), "{name} {seed}: a decoder panicked");
            }
        }
    }
    assert!((100..1900).contains(&taken), "{taken} taken: nothing was tried");
}
