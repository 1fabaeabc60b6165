//! Converts colours to sRGB, so that no profile need be kept: a profile can hold any text, few apps use one in a small
//! picture, and all assume sRGB where there is none. Colours that sRGB does not have become the nearest ones that it
//! has.

use image::DynamicImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};
use rayon::prelude::*;

const PIXELS_AT_ONCE: usize = 1 << 14;
/// The most bytes of a profile, unpacked; a longer one is ignored.
const MAX_BYTES: usize = 64 << 10;

/// A profile that is not understood is ignored.
pub(crate) fn to_srgb(image: &mut DynamicImage, icc: &[u8]) {
    if icc.len() > MAX_BYTES {
        return;
    }
    let Ok(profile) = ColorProfile::new_from_slice(icc) else { return };
    if profile.color_space != DataColorSpace::Rgb {
        return;
    }
    let (layout, channels, samples): (_, _, &mut [u8]) = match image {
        DynamicImage::ImageRgb8(image) => (Layout::Rgb, 3, &mut *image),
        DynamicImage::ImageRgba8(image) => (Layout::Rgba, 4, &mut *image),
        _ => return,
    };
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(layout, &srgb, layout, TransformOptions::default())
    else {
        return;
    };
    samples.par_chunks_mut(PIXELS_AT_ONCE * channels).for_each(|chunk| {
        let before = chunk.to_vec();
        if transform.transform(&before, chunk).is_err() {
            chunk.copy_from_slice(&before);
        }
    });
}
