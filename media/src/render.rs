use std::panic::{AssertUnwindSafe, catch_unwind};

use image::DynamicImage;

use crate::bounds::Deadline;
use crate::{Bounds, Kind, Refused, decode, encode, movie, scan, shrink};

/// The longer side of [`Rendered::full`] at most.
pub const FULL_SIDE: u32 = 4096;
/// The longer side of [`Rendered::feed`] at most.
pub const FEED_SIDE: u32 = 1080;
/// The longer side of [`Rendered::thumb`] at most.
pub const THUMB_SIDE: u32 = 320;

const FULL_QUALITY: u8 = 90;
const SMALL_QUALITY: u8 = 82;

/// A picture, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// How wide it is.
    pub width: u32,
    /// How high it is.
    pub height: u32,
}

/// One picture in all its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// All of it: JPEG of a JPEG, PNG of a PNG, GIF of a GIF that moves and PNG of one that does not; of a WebP, JPEG or, if it
    /// has alpha, PNG.
    pub full: Picture,
    /// For a list of posts: JPEG or, with alpha, PNG. Of what moves, the first frame.
    pub feed: Picture,
    /// For a corner of the screen, as `feed`.
    pub thumb: Picture,
}

/// Decodes `bytes` and encodes them anew in three sizes. It takes a core and a half for as long as `bounds` allow, so it belongs
/// on a thread that may be kept.
///
/// What is not of the picture itself stays behind, its place and time and colour profile included: it is turned the right way
/// up and brought to sRGB instead. Of an animated PNG or WebP the first frame is kept.
///
/// # Errors
/// When it is over a bound, not whole, damaged, or not of `kind`. Never half a picture.
pub fn render(bytes: &[u8], kind: Kind, bounds: &Bounds) -> Result<Rendered, Refused> {
    guarded(|| render_all(bytes, kind, bounds))
}

/// The files are hostile and the decoders large. They own all they change, so nothing half done is left behind.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Refused::damaged("its decoder gave up")))
}

fn render_all(bytes: &[u8], kind: Kind, bounds: &Bounds) -> Result<Rendered, Refused> {
    let deadline = Deadline::of(bounds);
    let essence = scan::scan(bytes, kind, bounds)?;
    deadline.check()?;
    if essence.frames > 1 {
        return movie::render(&essence, bounds, deadline);
    }
    let image = shrink::averaged(decode::decode(essence, kind, bounds, deadline)?, FULL_SIDE);
    deadline.check()?;
    let (full, small) = rayon::join(|| full(&image, kind), || small(&image));
    let (feed, thumb) = small?;
    deadline.check()?;
    Ok(Rendered { full: full?, feed, thumb })
}

fn full(image: &DynamicImage, kind: Kind) -> Result<Picture, Refused> {
    match kind {
        Kind::Jpeg => encode::jpeg(image, FULL_QUALITY),
        Kind::Png | Kind::Gif => encode::png(image),
        Kind::Webp => encode::smallest(image, FULL_QUALITY),
    }
}

/// `feed` and `thumb`.
pub(crate) fn small(image: &DynamicImage) -> Result<(Picture, Picture), Refused> {
    let feed = shrink::filtered(image, FEED_SIDE);
    let (feed, thumb) = rayon::join(
        || encode::smallest(&feed, SMALL_QUALITY),
        || encode::smallest(&shrink::filtered(&feed, THUMB_SIDE), SMALL_QUALITY),
    );
    Ok((feed?, thumb?))
}

#[cfg(test)]
mod tests {
    use super::guarded;
    use crate::Refused;

    #[test]
    fn a_panic_is_a_refusal() {
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        let refused = guarded(|| -> Result<(), _> { panic!("as a decoder might") });
        assert!(matches!(refused, Err(Refused::Damaged(_))));
        let (_, refused) = rayon::join(
            || (),
            || guarded(|| Ok(rayon::join(|| 1, || -> i32 { panic!("in another thread of it") }))),
        );
        assert!(matches!(refused, Err(Refused::Damaged(_))));
    }
}
