//! An animated GIF: decoded, drawn and encoded frame by frame, so that only one frame is in memory.

use image::codecs::gif::{GifDecoder, GifEncoder};
use image::{AnimationDecoder, DynamicImage, Frame, ImageDecoder};

use crate::bounds::{Bounds, Deadline};
use crate::kind::Kind;
use crate::picture::{FULL_SIDE, Picture, Rendered};
use crate::refused::Refused;
use crate::scan::Essence;
use crate::sizes::small;
use crate::timed::Timed;
use crate::{decode, shrink};

/// From 1 to 30. Colours are chosen again only for a frame that has more than 256, and this speed is hard to
/// distinguish from the best quality.
const SPEED: i32 = 10;

pub(crate) fn render(essence: &Essence, bounds: &Bounds, deadline: Deadline) -> Result<Rendered, Refused> {
    let refused = |error| decode::refused(error, bounds, deadline);
    let mut decoder = GifDecoder::new(Timed::new(&essence.file, deadline)).map_err(refused)?;
    decoder.set_limits(decode::limits(bounds)).map_err(refused)?;
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, SPEED);
    if let Some(repeat) = essence.repeat {
        encoder.set_repeat(repeat).map_err(refused)?;
    }
    let (mut frames, mut still) = (0, None);
    for frame in decoder.into_frames() {
        let frame = frame.map_err(refused)?;
        deadline.check()?;
        let delay = frame.delay();
        let image = shrink::averaged(frame.into_buffer().into(), FULL_SIDE);
        if still.is_none() {
            still = Some(((image.width(), image.height()), first(&image)?));
        }
        encoder.encode_frame(Frame::from_parts(image.into_rgba8(), 0, 0, delay)).map_err(refused)?;
        frames += 1;
    }
    drop(encoder);
    let Some(((width, height), (feed, thumb))) = still.filter(|_| frames == essence.frames) else {
        return Err(Refused::damaged("frames are missing"));
    };
    deadline.check()?;
    Ok(Rendered { full: Picture { bytes, kind: Kind::Gif, width, height }, feed, thumb })
}

fn first(image: &DynamicImage) -> Result<(Picture, Picture), Refused> {
    small(&decode::plain(image.clone()))
}
