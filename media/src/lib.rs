//! Pictures: what somebody sends is never what others get.
//!
//! Every picture is decoded within [`Bounds`] and encoded anew in three sizes. Nothing of the file it came in goes on: no place,
//! no name of a camera or an owner, no second file hidden behind or between.

mod bounds;
mod colour;
mod decode;
mod encode;
mod kind;
mod movie;
mod refused;
mod render;
mod scan;
mod shrink;
mod timed;

pub use bounds::Bounds;
pub use kind::{Kind, SNIFF_BYTES, describe};
pub use refused::Refused;
pub use render::{FEED_SIDE, FULL_SIDE, Picture, Rendered, THUMB_SIDE, render};
