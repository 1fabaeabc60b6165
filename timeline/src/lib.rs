//! Precomputed timelines: a page for every user before they ask. `docs/timelines.md` says what is on one.

mod accounts;
mod affinities;
mod author_lists;
mod compute;
mod config;
mod cursor;
mod feature;
mod fetch;
mod follow_lists;
mod format;
mod gather;
mod graph;
mod hydrator;
mod listing;
mod measure;
mod memory;
pub mod merge;
mod messages;
mod name;
mod operators;
mod page;
mod pager;
mod personalize;
mod prefetch;
mod radix;
pub mod rank;
mod ranker;
mod readers;
mod reads;
mod recent;
mod repair;
mod rings;
mod schedule;
mod session;
pub mod shelf;
mod sources;
mod store;
#[cfg(test)]
mod testing;
mod ticker;
pub mod weights;

pub use config::{Tiers, TimelineConfig};
pub use feature::feature;
pub use operators::{Operators, Status};
