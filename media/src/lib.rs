//! Media: pictures are uploaded, checked and shown; what others see is never the file that was sent.
//!
//! The bytes of an upload go to a blob that nobody is shown, through this service or, with S3, straight from the
//! client. A job on the check's queue renders it and reports what it found; a handler stores that and tells the owner;
//! from then on posts may show it. What no post shows is collected.
//!
//! Every picture is decoded within [`Bounds`] and encoded again in three sizes. Nothing else of its file is kept: no
//! place, no name of a camera or an owner, no second file hidden behind or between.

mod begin;
mod blob;
mod bounds;
mod check;
mod checked;
mod collect;
mod colour;
mod config;
mod decode;
mod encode;
mod feature;
mod items;
mod kind;
mod messages;
mod movie;
mod pages;
mod picture;
mod places;
mod purge;
mod receive;
mod refusals;
mod refused;
mod render;
mod scan;
mod show;
mod shrink;
mod sizes;
mod timed;
mod turns;
mod uploaded;
mod uploads;

pub use bounds::Bounds;
pub use config::{MAX_POST_BYTES, MAX_UPLOAD_BYTES, MediaConfig};
pub use feature::feature;
pub use kind::{Kind, SNIFF_BYTES, describe};
pub use messages::UPLOADED;
pub use picture::{FEED_SIDE, FULL_SIDE, Picture, Rendered, THUMB_SIDE};
pub use purge::Purger;
pub use refused::Refused;
pub use render::render;
