//! Encoded pictures, and the sizes that they are made in.

use crate::kind::Kind;

/// The most pixels of the longer side of [`Rendered::full`].
pub const FULL_SIDE: u32 = 4096;
/// The most pixels of the longer side of [`Rendered::feed`].
pub const FEED_SIDE: u32 = 1080;
/// The most pixels of the longer side of [`Rendered::thumb`].
pub const THUMB_SIDE: u32 = 320;

/// A picture, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Pixels of a row.
    pub width: u32,
    /// Pixels of a column.
    pub height: u32,
}

/// One picture in all its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// All of it. JPEG from a JPEG, PNG from a PNG, GIF from an animated GIF and PNG from a still one; from a WebP JPEG
    /// or, if it has alpha, PNG.
    pub full: Picture,
    /// For a list of posts: JPEG or, with alpha, PNG. The first frame of an animation.
    pub feed: Picture,
    /// For a corner of the screen, otherwise as `feed`.
    pub thumb: Picture,
}
