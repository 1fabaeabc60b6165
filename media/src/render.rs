//! From a file to a picture in three sizes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::DynamicImage;

use crate::bounds::{Bounds, Deadline};
use crate::kind::Kind;
use crate::picture::{FULL_SIDE, Picture, Rendered};
use crate::refused::Refused;
use crate::sizes::small;
use crate::{decode, encode, movie, scan, shrink};

const FULL_QUALITY: u8 = 90;

/// Decodes `bytes` and encodes them again in three sizes. It uses up to one and a half cores for as long as `bounds`
/// allow, so it must run on a thread that may be blocked.
///
/// Everything but the picture itself is left out, its place, time and colour profile included: the picture is turned
/// the right way up and converted to sRGB instead. An animated PNG or WebP becomes its first frame.
///
/// # Errors
/// When the picture is over a bound, not whole, damaged, or not of `kind`. Never returns half a picture.
pub fn render(bytes: &[u8], kind: Kind, bounds: &Bounds) -> Result<Rendered, Refused> {
    guarded(|| render_all(bytes, kind, bounds))
}

/// How many pixels rendering will go over, by what the file says of itself: nothing is decoded.
///
/// # Errors
/// What [`render`] would refuse before decoding.
pub(crate) fn pixels(bytes: &[u8], kind: Kind, bounds: &Bounds) -> Result<u64, Refused> {
    guarded(|| Ok(scan::scan(bytes, kind, bounds)?.pixels))
}

/// Files may be hostile, and decoders are large. They own everything that they change, so a panic leaves nothing half
/// done.
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

#[cfg(test)]
mod tests {
    use super::guarded;
    use crate::refused::Refused;

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
