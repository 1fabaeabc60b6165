//! Precomputed timelines: a page for every user before they ask. `docs/timelines.md` says what is on one.

mod affinities;
mod author_lists;
mod candidates;
mod config;
mod cursor;
mod fetch;
mod follow_lists;
mod format;
mod graph;
mod hydrate;
mod jobs;
mod listing;
pub mod merge;
mod prefetch;
mod radix;
pub mod rank;
mod reads;
mod recent;
mod schedule;
pub mod shelf;
mod sources;
mod status;
#[cfg(test)]
mod test_cache;
mod timelines;
pub mod weights;

pub use config::{Tiers, TimelineConfig};
pub use jobs::feature;
pub use status::Status;
pub use timelines::{TimelineDeps, Timelines};
