//! Media: pictures come in, are looked into, and are shown; what somebody sends is never what others get.
//!
//! An upload's bytes go to a blob that nobody is shown, through this service or, where there is S3, straight from the client. A job on the check's queue renders it and passes on what it found; a handler
//! makes that true and tells the owner; from then on posts may show it. What no post shows is collected.
//!
//! Every picture is decoded within [`Bounds`] and encoded anew in three sizes. Nothing of the file it came in goes on: no place,
//! no name of a camera or an owner, no second file hidden behind or between.

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
mod kind;
mod movie;
mod receive;
mod refused;
mod render;
mod scan;
mod service;
mod show;
mod shrink;
mod timed;
mod uploaded;
mod uploads;

pub use bounds::Bounds;
pub use check::feature;
pub use config::{MAX_POST_BYTES, MAX_UPLOAD_BYTES, MediaConfig};
pub use kind::{Kind, SNIFF_BYTES, describe};
pub use refused::Refused;
pub use render::{FEED_SIDE, FULL_SIDE, Picture, Rendered, THUMB_SIDE, render};
pub use service::{Media, MediaDeps};
pub use uploaded::UPLOADED;
