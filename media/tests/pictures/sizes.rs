//! Kinds, sizes, orientation and animation of rendered pictures.

use crate::samples::{
    all, anmf, exif, exif_segment, frame_colour, gif, jpeg, jpeg_with, ok, photo, pixels, png, png_with,
    progressive, sticker, vp8x, webp, webp_file, webp_with,
};
use image::codecs::gif::GifDecoder;
use image::metadata::LoopCount;
use image::{AnimationDecoder, DynamicImage, GenericImageView, Rgb, RgbImage};
use soundoff_media::Kind;

#[test]
fn each_kind_comes_out_as_it_should() {
    use Kind::{Gif, Jpeg, Png};
    let image = photo(60, 40);
    let coloured = DynamicImage::from(image.clone());
    let clear = DynamicImage::from(sticker(60, 40));
    let grey = DynamicImage::from(coloured.to_luma8());
    let deep = DynamicImage::from(coloured.to_rgb16());
    let opaque = DynamicImage::from(coloured.to_rgba8());
    let table = [
        ("jpeg", jpeg(&coloured), [Jpeg, Jpeg]),
        ("progressive jpeg", progressive(60, 4), [Jpeg, Jpeg]),
        ("png", png(&coloured), [Png, Jpeg]),
        ("png with alpha", png(&clear), [Png, Png]),
        ("png with idle alpha", png(&opaque), [Png, Jpeg]),
        ("grey png", png(&grey), [Png, Jpeg]),
        ("png of 16 bits", png(&deep), [Png, Jpeg]),
        ("png of 16 bits with alpha", png(&clear.to_rgba16().into()), [Png, Png]),
        ("grey png with alpha", png(&clear.to_luma_alpha8().into()), [Png, Png]),
        ("webp", webp(&coloured), [Jpeg, Jpeg]),
        ("webp with alpha", webp(&clear), [Png, Png]),
        ("extended webp", webp_with(&clear, &exif(1), b""), [Png, Png]),
        ("still gif", gif(60, 40, 1), [Png, Jpeg]),
        ("gif", gif(60, 40, 2), [Gif, Jpeg]),
    ];
    for (name, bytes, [full, small]) in table {
        let rendered = ok(&bytes);
        let kinds = all(&rendered).map(|picture| picture.kind);
        assert_eq!(kinds, [full, small, small], "{name}");
        for picture in all(&rendered) {
            let image = pixels(picture);
            assert_eq!(image.width(), 60, "{name}");
            let before = image::load_from_memory(&bytes).unwrap().to_rgba8();
            let (before, after) = (before.get_pixel(10, 10).0, image.to_rgba8().get_pixel(10, 10).0);
            let near = before.iter().zip(after).all(|(a, b)| a.abs_diff(b) < 40);
            assert!(near, "{name}: {before:?} became {after:?}");
        }
    }
}

#[test]
fn three_sizes_and_none_is_larger_than_it_was() {
    let table = [
        ((5000, 1000), [(4096, 819), (1080, 216), (320, 64)]),
        ((600, 1200), [(600, 1200), (540, 1080), (160, 320)]),
        ((400, 10), [(400, 10), (400, 10), (320, 8)]),
        ((1, 1), [(1, 1); 3]),
    ];
    for ((width, height), sizes) in table {
        let rendered = ok(&jpeg(&photo(width, height).into()));
        assert_eq!(all(&rendered).map(|p| (p.width, p.height)), sizes);
        for picture in all(&rendered) {
            pixels(picture);
        }
    }
}

/// Red, green, blue and white corners.
fn corners(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb([255, 0, 0]),
        (false, true) => Rgb([0, 255, 0]),
        (true, false) => Rgb([0, 0, 255]),
        (false, false) => Rgb([255, 255, 255]),
    })
}

fn corner_names(image: &DynamicImage) -> String {
    let (width, height) = image.dimensions();
    let image = image.to_rgb8();
    let name = |x, y| match image.get_pixel(x, y).0.map(|c| c > 127) {
        [true, false, false] => 'r',
        [false, true, false] => 'g',
        [false, false, true] => 'b',
        [true, true, true] => 'w',
        other => panic!("{other:?}"),
    };
    [(2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)]
        .map(|(x, y)| name(x, y))
        .iter()
        .collect()
}

#[test]
fn all_are_turned_the_right_way_up() {
    // As the Exif standard has it: where row 0 and column 0 are.
    let table = [
        (0, "rgbw"),
        (1, "rgbw"),
        (2, "grwb"),
        (3, "wbgr"),
        (4, "bwrg"),
        (5, "rbgw"),
        (6, "brwg"),
        (7, "wgbr"),
        (8, "gwrb"),
        (9, "rgbw"),
    ];
    let image = corners(48, 32);
    let coloured = DynamicImage::from(image.clone());
    for (orientation, names) in table {
        let prefixed = [b"Exif\0\0".to_vec(), exif(orientation)].concat();
        let files = [
            jpeg_with(&image, &[exif_segment(orientation)]),
            png_with(&coloured, &[(b"eXIf", exif(orientation))]),
            webp_with(&coloured, &exif(orientation), b""),
            webp_with(&coloured, &prefixed, b""),
        ];
        for bytes in files {
            for picture in all(&ok(&bytes)) {
                assert_eq!(corner_names(&pixels(picture)), names, "{orientation}: {:?}", Kind::sniff(&bytes));
                let turned = (5..=8).contains(&orientation);
                assert_eq!(picture.width, if turned { 32 } else { 48 });
            }
        }
    }
}

#[test]
fn a_gif_keeps_its_frames_its_times_and_its_turns() {
    for (width, height, frames) in [(30, 20, 2), (30, 20, 17), (4200, 30, 2)] {
        let rendered = ok(&gif(width, height, frames));
        let decoder = GifDecoder::new(std::io::Cursor::new(&rendered.full.bytes)).unwrap();
        assert!(matches!(decoder.loop_count(), LoopCount::Finite(n) if n.get() == 3));
        let shown = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(shown.len(), usize::try_from(frames).unwrap());
        for (n, frame) in (0..).zip(&shown) {
            assert_eq!(frame.delay().numer_denom_ms(), (70 * (n + 1), 1));
            assert_eq!(*frame.buffer().get_pixel(7, 7), frame_colour(n));
            assert_eq!(frame.buffer().dimensions(), (rendered.full.width, rendered.full.height));
        }
        assert!(rendered.full.width <= 4096);
        for picture in [&rendered.feed, &rendered.thumb] {
            let (pixel, first) = (pixels(picture).to_rgb8().get_pixel(1, 1).0, frame_colour(0).0);
            assert!(pixel.iter().zip(first).all(|(a, b)| a.abs_diff(b) < 8), "{pixel:?}, not {first:?}");
        }
    }
}

#[test]
fn alpha_is_kept_where_it_is() {
    let clear = DynamicImage::from(sticker(1300, 700));
    for bytes in [png(&clear), webp(&clear)] {
        for picture in all(&ok(&bytes)) {
            let image = pixels(picture).into_rgba8();
            let (left, right) = (picture.width / 4, picture.width * 3 / 4);
            assert_eq!(image.get_pixel(left, 5).0, [200, 40, 40, 255]);
            assert_eq!(image.get_pixel(right, 5).0[3], 0);
        }
    }
}

#[test]
fn of_an_animated_webp_the_first_frame_is_kept() {
    let small = DynamicImage::from(corners(20, 16));
    let other = DynamicImage::from(sticker(40, 30));
    // The first frame is at (4, 6) on its canvas.
    let chunks = [
        vp8x(0x12, 40, 30),
        crate::samples::riff(b"ANIM", &[0; 6]),
        anmf(2, 3, &small),
        anmf(0, 0, &other),
        crate::samples::riff(b"EXIF", &exif(1)),
    ];
    let rendered = ok(&webp_file(&chunks));
    let image = pixels(&rendered.full).into_rgba8();
    assert_eq!(image.dimensions(), (40, 30));
    assert_eq!(image.get_pixel(0, 0).0[3], 0, "beside the frame there is nothing");
    // Blending rounds colours.
    for ((x, y), colour) in [((5, 7), [255, 0, 0, 255]), ((23, 21), [255; 4])] {
        assert!(image.get_pixel(x, y).0.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 2), "{x}, {y}");
    }
}
