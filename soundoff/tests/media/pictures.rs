//! Pictures as phones make them, and pictures that only an attacker makes.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What must never be seen again.
pub(crate) const SECRET: &[u8] = b"SECRETGPS 52.5163N 13.3777E";

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x + y) % 256) as u8])
    })
}

/// A picture in a format.
pub(crate) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(gradient(width, height)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture of random pixels, which no format can compress: about three bytes for each pixel.
pub(crate) fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut pixels = vec![0; (width * height * 3) as usize];
    rng.fill(&mut pixels[..]);
    let noise = RgbImage::from_raw(width, height, pixels).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(noise).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A photograph turned on its side, with its location in EXIF: a GPS directory, and the secret as the area's name.
pub(crate) fn with_gps() -> Vec<u8> {
    let plain = picture(640, 480, ImageFormat::Jpeg);
    let mut tiff = b"MM\0\x2a\0\0\0\x08".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
    };
    // IFD 0: orientation 6 (turn right by 90 degrees), and where the GPS directory is.
    tiff.extend([0, 2]);
    tiff.extend(entry(0x0112, 3, 1, [0, 6, 0, 0]));
    tiff.extend(entry(0x8825, 4, 1, 38u32.to_be_bytes()));
    tiff.extend([0; 4]);
    // The GPS directory: its version, and GPSAreaInformation with the secret behind it.
    tiff.extend([0, 2]);
    tiff.extend(entry(0x0000, 1, 4, [2, 3, 0, 0]));
    tiff.extend(entry(0x001c, 7, SECRET.len() as u32, 68u32.to_be_bytes()));
    tiff.extend([0; 4]);
    assert_eq!(tiff.len(), 68);
    tiff.extend(SECRET);
    let body = [b"Exif\0\0", &tiff[..]].concat();
    let mut jpeg = plain[..2].to_vec();
    jpeg.extend([0xff, 0xe1]);
    jpeg.extend(u16::try_from(body.len() + 2).unwrap().to_be_bytes());
    jpeg.extend(body);
    jpeg.extend(&plain[2..]);
    jpeg
}

/// A JPEG that is an archive as well, and holds a page in its comment.
pub(crate) fn polyglot() -> Vec<u8> {
    let plain = picture(64, 64, ImageFormat::Jpeg);
    let comment = b"<script>alert('SECRETGPS')</script>";
    let mut jpeg = plain[..2].to_vec();
    jpeg.extend([0xff, 0xfe]);
    jpeg.extend(u16::try_from(comment.len() + 2).unwrap().to_be_bytes());
    jpeg.extend(comment);
    jpeg.extend(&plain[2..]);
    jpeg.extend(b"PK\x03\x04SECRETGPS");
    jpeg
}

/// A few bytes that ask for gigabytes: a PNG whose header says 60,000 pixels on each side.
pub(crate) fn bomb() -> Vec<u8> {
    let mut png = picture(8, 8, ImageFormat::Png);
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let sum = flate2_crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

fn flate2_crc(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Whether `needle` is anywhere in `hay`.
pub(crate) fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// A PNG that is small, and slow to check: a square that nobody sees.
pub(crate) fn slow_png(side: u32) -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    RgbaImage::new(side, side).write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}
