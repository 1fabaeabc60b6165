//! Makes files of every kind, valid and invalid.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{Delay, DynamicImage, Frame, Rgb, RgbImage, Rgba, RgbaImage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use soundoff_media::{Bounds, Kind, Refused, Rendered, render};

pub(crate) const SECRET: &str = "SECRETGPS 48.8584N 2.2945E";

/// A gradient with noise, like a photo of the evening sky.
pub(crate) fn photo(width: u32, height: u32) -> RgbImage {
    let mut random = StdRng::seed_from_u64(7);
    RgbImage::from_fn(width, height, |x, y| {
        let noise = random.random_range(0..24);
        let part = |n: u32, of: u32| u8::try_from(n * 200 / of).unwrap();
        Rgb([part(x, width) + noise, part(y, height) + noise, 100 + noise])
    })
}

/// Opaque on the left, transparent on the right.
pub(crate) fn sticker(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(
        width,
        height,
        |x, _| if x < width / 2 { Rgba([200, 40, 40, 255]) } else { Rgba([0; 4]) },
    )
}

pub(crate) fn jpeg(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 90)).unwrap();
    bytes
}

pub(crate) fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xFF, marker][..], &length, body].concat()
}

/// A JPEG with more segments in front.
pub(crate) fn jpeg_with(image: &RgbImage, segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let plain = jpeg(&image.clone().into());
    let more: Vec<u8> = segments.iter().flat_map(|(marker, body)| segment(*marker, body)).collect();
    [&plain[..2], &more, &plain[2..]].concat()
}

pub(crate) fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_with_encoder(PngEncoder::new(&mut bytes)).unwrap();
    bytes
}

pub(crate) fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [name, body].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], &named, &crc32fast::hash(&named).to_be_bytes()].concat()
}

/// Behind the signature and the header chunk.
pub(crate) const PNG_BODY: usize = 8 + 25;

pub(crate) fn png_with(image: &DynamicImage, chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let plain = png(image);
    let more: Vec<u8> = chunks.iter().flat_map(|(name, body)| chunk(name, body)).collect();
    [&plain[..PNG_BODY], &more, &plain[PNG_BODY..]].concat()
}

/// A PNG that states this size, with `data` compressed as its pixels.
pub(crate) fn png_of(width: u32, height: u32, more: &[u8], data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let parts = [chunk(b"IHDR", &header), more.to_vec(), chunk(b"IDAT", &deflate(data)), chunk(b"IEND", &[])];
    [b"\x89PNG\r\n\x1A\n".to_vec(), parts.concat()].concat()
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn riff(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut chunk = [&name[..], &length, body].concat();
    chunk.resize(chunk.len() + body.len() % 2, 0);
    chunk
}

pub(crate) fn webp_file(chunks: &[Vec<u8>]) -> Vec<u8> {
    riff(b"RIFF", &[b"WEBP".to_vec(), chunks.concat()].concat())
}

/// A lossless picture's own chunk, with its header.
pub(crate) fn vp8l(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_with_encoder(WebPEncoder::new_lossless(&mut bytes)).unwrap();
    bytes.split_off(12)
}

pub(crate) fn webp(image: &DynamicImage) -> Vec<u8> {
    webp_file(&[vp8l(image)])
}

pub(crate) fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    riff(b"VP8X", &[vec![flags, 0, 0, 0], side(width), side(height)].concat())
}

/// An extended WebP with Exif and XMP.
pub(crate) fn webp_with(image: &DynamicImage, exif: &[u8], xmp: &[u8]) -> Vec<u8> {
    let alpha = if image.color().has_alpha() { 0x10 } else { 0 };
    let flags = 0x08 | 0x04 | alpha;
    let chunks =
        [vp8x(flags, image.width(), image.height()), vp8l(image), riff(b"EXIF", exif), riff(b"XMP ", xmp)];
    webp_file(&chunks)
}

/// One frame of an animated WebP, at twice `(x, y)`.
pub(crate) fn anmf(x: u32, y: u32, image: &DynamicImage) -> Vec<u8> {
    let number = |n: u32| n.to_le_bytes()[..3].to_vec();
    let place = [x, y, image.width() - 1, image.height() - 1, 100].map(number).concat();
    riff(b"ANMF", &[place, vec![0], vp8l(image)].concat())
}

/// Frames of one colour each, shown for 70 ms, 140 ms and so on.
pub(crate) fn gif(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    encoder.set_repeat(Repeat::Finite(3)).unwrap();
    for n in 0..frames {
        let image = RgbaImage::from_pixel(width, height, frame_colour(n));
        let delay = Delay::from_numer_denom_ms(70 * (n + 1), 1);
        encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    bytes
}

pub(crate) fn frame_colour(n: u32) -> Rgba<u8> {
    let shade = u8::try_from(n % 5 * 50).unwrap();
    Rgba([shade, 255 - shade, 77, 255])
}

/// Behind a GIF's header and its palette, where blocks begin.
pub(crate) fn gif_body(gif: &[u8]) -> usize {
    13 + if gif[10] & 0x80 == 0 { 0 } else { 3 << ((gif[10] & 7) + 1) }
}

/// Exif as cameras write it: an orientation, and a place.
pub(crate) fn exif(orientation: u16) -> Vec<u8> {
    let text = format!("{SECRET}\0");
    let count = u32::try_from(text.len()).unwrap();
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    [
        b"II\x2A\0\x08\0\0\0\x02\0".to_vec(),
        entry(0x010E, 2, count, 38),
        entry(0x0112, 3, 1, u32::from(orientation)),
        vec![0; 4],
        text.into_bytes(),
    ]
    .concat()
}

pub(crate) fn exif_segment(orientation: u16) -> (u8, Vec<u8>) {
    (0xE1, [b"Exif\0\0".to_vec(), exif(orientation)].concat())
}

/// A grey progressive JPEG of `scans` scans. Each scan after the first says that nothing changes.
pub(crate) fn progressive(side: u16, scans: usize) -> Vec<u8> {
    let table = |class: u8| segment(0xC4, &[&[class, 1][..], &[0; 15], &[0]].concat());
    let side_bytes = side.to_be_bytes();
    let frame = [&[8][..], &side_bytes, &side_bytes, &[1, 1, 0x11, 0]].concat();
    let blocks = usize::from(side).div_ceil(8).pow(2);
    // One bit for each block, all zero, filled up with ones.
    let mut data = vec![0; blocks / 8];
    data.push(0xFF >> (blocks % 8) & 0x7F);
    let mut bytes = [
        vec![0xFF, 0xD8],
        segment(0xDB, &[&[0][..], &[1; 64]].concat()),
        segment(0xC2, &frame),
        table(0x00),
        table(0x10),
    ]
    .concat();
    for scan in 0..scans {
        let (from, to) = if scan == 0 { (0, 0) } else { (1, 63) };
        bytes.extend(segment(0xDA, &[1, 1, 0, from, to, 0]));
        bytes.extend(&data);
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

pub(crate) fn ok(bytes: &[u8]) -> Rendered {
    let kind = Kind::sniff(bytes).expect("a picture");
    render(bytes, kind, &Bounds::default()).unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

pub(crate) fn refused(bytes: &[u8], bounds: &Bounds) -> Refused {
    let kind = Kind::sniff(bytes).expect("a picture");
    match render(bytes, kind, bounds) {
        Ok(rendered) => panic!("taken: {} x {}", rendered.full.width, rendered.full.height),
        Err(refused) => refused,
    }
}

pub(crate) fn pixels(picture: &soundoff_media::Picture) -> DynamicImage {
    let image = image::load_from_memory(&picture.bytes).unwrap();
    assert_eq!((image.width(), image.height()), (picture.width, picture.height));
    assert_eq!(Kind::sniff(&picture.bytes), Some(picture.kind));
    image
}

pub(crate) fn all(rendered: &Rendered) -> [&soundoff_media::Picture; 3] {
    [&rendered.full, &rendered.feed, &rendered.thumb]
}
