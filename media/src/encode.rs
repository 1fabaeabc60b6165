//! Encodes pictures.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageResult};

use crate::kind::Kind;
use crate::picture::Picture;
use crate::refused::Refused;

/// JPEG at this quality, or PNG if `image` has alpha.
pub(crate) fn smallest(image: &DynamicImage, quality: u8) -> Result<Picture, Refused> {
    if image.color().has_alpha() { png(image) } else { jpeg(image, quality) }
}

pub(crate) fn jpeg(image: &DynamicImage, quality: u8) -> Result<Picture, Refused> {
    let mut bytes = Vec::new();
    let written = image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality));
    picture(image, bytes, Kind::Jpeg, written)
}

pub(crate) fn png(image: &DynamicImage) -> Result<Picture, Refused> {
    let mut bytes = Vec::new();
    let written = image.write_with_encoder(PngEncoder::new(&mut bytes));
    picture(image, bytes, Kind::Png, written)
}

fn picture(
    image: &DynamicImage,
    bytes: Vec<u8>,
    kind: Kind,
    written: ImageResult<()>,
) -> Result<Picture, Refused> {
    written.map_err(Refused::damaged)?;
    Ok(Picture { bytes, kind, width: image.width(), height: image.height() })
}
