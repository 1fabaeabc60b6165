//! Why a picture is not accepted.

use std::time::Duration;

/// Why a picture is not accepted. The text is for the developer of the app that sent it: it says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Width times height is over the bound.
    #[error(
        "the picture has {width} x {height} = {pixels} pixels and at most {bound} are taken: scale it down before sending"
    )]
    TooManyPixels {
        /// Its width, by its own header.
        width: u32,
        /// Its height, by its own header.
        height: u32,
        /// Width times height.
        pixels: u64,
        /// [`crate::Bounds::pixels`].
        bound: u64,
    },
    /// One side is over the bound.
    #[error(
        "the picture has a side of {side} pixels and at most {bound} are taken: scale it down before sending"
    )]
    SideTooLong {
        /// The longer side.
        side: u32,
        /// [`crate::Bounds::side`].
        bound: u32,
    },
    /// An animation has more frames than the bound.
    #[error("the animation has more than the {bound} frames that are taken: shorten it or leave frames out")]
    TooManyFrames {
        /// [`crate::Bounds::frames`].
        bound: usize,
    },
    /// All frames of an animation together have more pixels than the bound.
    #[error(
        "the frames of the animation together have more than the {bound} pixels that are taken: \
         make it smaller or shorter"
    )]
    AnimationTooLarge {
        /// [`crate::Bounds::animation_pixels`].
        bound: u64,
    },
    /// A JPEG has more scans than the bound. No camera makes such a file; a usual progressive one has about ten.
    #[error("the JPEG has more than the {bound} scans that are taken: save it as a baseline JPEG")]
    TooManyScans {
        /// [`crate::Bounds::jpeg_scans`].
        bound: usize,
    },
    /// Decoding could take more memory than the bound.
    #[error(
        "the picture could take more than the {bound} bytes of memory that are given: \
         scale it down, or send it as JPEG"
    )]
    TooMuchMemory {
        /// [`crate::Bounds::memory`].
        bound: u64,
    },
    /// It took too long.
    #[error("the picture was not rendered within {} ms: scale it down or save it more plainly", bound.as_millis())]
    TookTooLong {
        /// [`crate::Bounds::time`].
        bound: Duration,
    },
    /// The file ends before the picture does.
    #[error("the picture is not whole, its end is missing: send all its bytes")]
    NotWhole,
    /// The file breaks the rules of its kind.
    #[error("the picture is damaged ({0}): open and save it again, then send it")]
    Damaged(String),
    /// Valid, but not seen in practice.
    #[error("the picture is {0}, which is not taken: save it as a plain JPEG or PNG")]
    Unsupported(&'static str),
}

impl Refused {
    pub(crate) fn damaged(why: impl std::fmt::Display) -> Self {
        // Decoders' texts are technical and sometimes long.
        Self::Damaged(why.to_string().chars().filter(|c| !c.is_control()).take(200).collect())
    }
}
