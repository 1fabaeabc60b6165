//! Makes pictures smaller. Pixels are averaged down to twice the wanted size, which is fast and takes hardly any
//! memory. A good filter, which takes 16 bytes for every pixel that it reads, does the last half.

use std::borrow::Cow;

use image::imageops::FilterType;
use image::{DynamicImage, RgbaImage};

/// `image` with a longer side of at most `side`, by averaging: good enough for what is still large.
pub(crate) fn averaged(image: DynamicImage, side: u32) -> DynamicImage {
    match fit(&image, side) {
        None => image,
        Some((width, height)) => associated(&image, |image| image.thumbnail_exact(width, height)),
    }
}

/// `image` with a longer side of at most `side`, by a good filter.
pub(crate) fn filtered(image: &DynamicImage, side: u32) -> Cow<'_, DynamicImage> {
    let Some((width, height)) = fit(image, side) else { return Cow::Borrowed(image) };
    Cow::Owned(associated(image, |image| {
        let half_way = fit(image, side * 2).map(|(width, height)| image.thumbnail_exact(width, height));
        half_way.as_ref().unwrap_or(image).resize_exact(width, height, FilterType::Lanczos3)
    }))
}

/// Nothing is ever enlarged.
fn fit(image: &DynamicImage, side: u32) -> Option<(u32, u32)> {
    let (width, height) = (image.width(), image.height());
    let long = width.max(height);
    let scaled = |short: u32| {
        let scaled = (u64::from(short) * u64::from(side) + u64::from(long) / 2) / u64::from(long);
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    (long > side).then(|| (scaled(width), scaled(height)))
}

/// Resizes with colours weighted by their alpha; otherwise the colours of invisible pixels would bleed into visible
/// ones.
fn associated(image: &DynamicImage, resize: impl Fn(&DynamicImage) -> DynamicImage) -> DynamicImage {
    let DynamicImage::ImageRgba8(straight) = image else { return resize(image) };
    let mut weighted = straight.clone();
    each_colour(&mut weighted, |colour, alpha| colour * alpha / 255);
    let mut resized = resize(&weighted.into()).into_rgba8();
    each_colour(&mut resized, |colour, alpha| (colour * 255).checked_div(alpha).unwrap_or(0));
    resized.into()
}

fn each_colour(image: &mut RgbaImage, change: impl Fn(u32, u32) -> u32) {
    for pixel in image.pixels_mut() {
        let [.., alpha] = pixel.0;
        for colour in &mut pixel.0[..3] {
            *colour = u8::try_from(change(u32::from(*colour), u32::from(alpha))).unwrap_or(u8::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgba, RgbaImage};

    use super::{averaged, filtered};

    #[test]
    fn the_long_side_fits_and_nothing_grows() {
        let table = [
            ((4000, 3000), (1080, 810)),
            ((3000, 4000), (810, 1080)),
            ((1080, 1080), (1080, 1080)),
            ((1081, 1), (1080, 1)),
            ((16_000, 2), (1080, 1)),
            ((20, 10), (20, 10)),
        ];
        for ((width, height), size) in table {
            let image = DynamicImage::new_luma8(width, height);
            let small = filtered(&image, 1080);
            assert_eq!((small.width(), small.height()), size, "{width} x {height}");
            let small = averaged(image, 1080);
            assert_eq!((small.width(), small.height()), size, "{width} x {height}");
        }
    }

    #[test]
    fn invisible_pixels_do_not_bleed() {
        let stripes = RgbaImage::from_fn(200, 200, |x, _| {
            if x % 2 == 0 { Rgba([255, 0, 0, 0]) } else { Rgba([0, 0, 255, 255]) }
        });
        let image = DynamicImage::from(stripes);
        for small in [filtered(&image, 37).into_owned(), averaged(image.clone(), 37)] {
            for pixel in small.into_rgba8().pixels() {
                assert!(pixel.0[0] == 0 && pixel.0[2] > 250, "{pixel:?}");
            }
        }
    }
}
