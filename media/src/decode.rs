//! From the essence of a file to its pixels: 8 bits for each colour, sRGB, the right way up, and with alpha only if it
//! is used.

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, Limits, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::bounds::{Bounds, Deadline};
use crate::colour;
use crate::kind::Kind;
use crate::refused::Refused;
use crate::scan::Essence;
use crate::timed::Timed;

pub(crate) fn decode(
    essence: Essence,
    kind: Kind,
    bounds: &Bounds,
    deadline: Deadline,
) -> Result<DynamicImage, Refused> {
    let file = Timed::new(&essence.file, deadline);
    let refused = |error| refused(error, bounds, deadline);
    let (image, icc) = match kind {
        Kind::Jpeg => (decode_jpeg(&essence, bounds, deadline)?, essence.icc),
        Kind::Png => {
            let mut decoder = PngDecoder::with_limits(file, limits(bounds)).map_err(refused)?;
            let icc = decoder.icc_profile().map_err(refused)?;
            (pixels(decoder, &essence, bounds, deadline)?, icc)
        }
        Kind::Gif => (pixels(GifDecoder::new(file).map_err(refused)?, &essence, bounds, deadline)?, None),
        Kind::Webp => {
            let decoder = WebPDecoder::new(file).map_err(refused)?;
            (pixels(decoder, &essence, bounds, deadline)?, essence.icc)
        }
    };
    deadline.check()?;
    let mut image = plain(image);
    if let Some(icc) = icc {
        colour::to_srgb(&mut image, &icc);
    }
    image.apply_orientation(essence.orientation);
    deadline.check()?;
    Ok(image)
}

pub(crate) fn limits(bounds: &Bounds) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(bounds.side);
    limits.max_image_height = Some(bounds.side);
    limits.max_alloc = Some(bounds.memory);
    limits
}

/// When the time is over, decoders only say that they could not read: the clock says why.
pub(crate) fn refused(error: ImageError, bounds: &Bounds, deadline: Deadline) -> Refused {
    match (deadline.check(), error) {
        (Err(late), _) => late,
        (Ok(()), ImageError::Limits(_)) => Refused::TooMuchMemory { bound: bounds.memory },
        (Ok(()), error) => Refused::damaged(error),
    }
}

fn pixels<D: ImageDecoder>(
    mut decoder: D,
    essence: &Essence,
    bounds: &Bounds,
    deadline: Deadline,
) -> Result<DynamicImage, Refused> {
    // The bounds were checked for the size that the scan found; a decoder that reads another size is not trusted.
    if decoder.dimensions() != (essence.width, essence.height) {
        return Err(Refused::damaged("it states two sizes"));
    }
    decoder
        .set_limits(limits(bounds))
        .and_then(|()| DynamicImage::from_decoder(decoder))
        .map_err(|error| refused(error, bounds, deadline))
}

/// Without `image`, which makes the decoder fill missing parts with grey, and gives it no time limit.
fn decode_jpeg(essence: &Essence, bounds: &Bounds, deadline: Deadline) -> Result<DynamicImage, Refused> {
    let colours = if essence.grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let side = usize::try_from(bounds.side).map_err(Refused::damaged)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_max_scans(bounds.jpeg_scans)
        .jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(Timed::new(&essence.file, deadline), options);
    let pixels = decoder.decode().map_err(|error| match deadline.check() {
        Err(late) => late,
        Ok(()) => Refused::damaged(error),
    })?;
    let (width, height) = (essence.width, essence.height);
    let image = if essence.grey {
        GrayImage::from_raw(width, height, pixels).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
    };
    image.ok_or_else(|| Refused::damaged("it states two sizes"))
}

/// As grey, coloured, or coloured with alpha: later steps know nothing else.
pub(crate) fn plain(image: DynamicImage) -> DynamicImage {
    let opaque = match &image {
        DynamicImage::ImageRgba8(image) => image.pixels().all(|p| p.0[3] == u8::MAX),
        DynamicImage::ImageLumaA8(image) => image.pixels().all(|p| p.0[1] == u8::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().all(|p| p.0[3] == u16::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().all(|p| p.0[1] == u16::MAX),
        _ => true,
    };
    match (image.color().has_color(), opaque) {
        (_, false) => image.into_rgba8().into(),
        (true, true) => image.into_rgb8().into(),
        (false, true) => image.into_luma8().into(),
    }
}
