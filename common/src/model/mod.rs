//! The nouns: people, posts, media and who relates to whom, as stored and shown.

pub mod accounts;
pub mod affinity;
pub mod audit;
pub mod blocks;
pub mod close;
pub mod follows;
pub mod gate;
pub mod groups;
pub mod holdings;
pub mod ids;
pub mod media;
pub mod media_checks;
mod media_loose;
#[cfg(test)]
mod media_tests;
pub mod posts;
pub mod privacy;
pub mod pseudonyms;
pub mod relations;
pub mod removal;
pub mod sight;
pub mod sign_ins;
