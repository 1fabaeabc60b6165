//! The small sizes of a picture.

use image::DynamicImage;

use crate::picture::{FEED_SIDE, Picture, THUMB_SIDE};
use crate::refused::Refused;
use crate::{encode, shrink};

const QUALITY: u8 = 82;

/// `feed` and `thumb`.
pub(crate) fn small(image: &DynamicImage) -> Result<(Picture, Picture), Refused> {
    let feed = shrink::filtered(image, FEED_SIDE);
    let (feed, thumb) = rayon::join(
        || encode::smallest(&feed, QUALITY),
        || encode::smallest(&shrink::filtered(&feed, THUMB_SIDE), QUALITY),
    );
    Ok((feed?, thumb?))
}
