//! The nouns: people, posts, media and who relates to whom, as stored and shown.

pub mod accounts;
pub mod affinity;
pub mod audit;
pub mod blocks;
pub mod follows;
pub mod gate;
pub mod holdings;
pub mod ids;
pub mod media;
pub mod media_checks;
pub mod posts;
pub mod privacy;
pub mod pseudonyms;
pub mod relations;
pub mod removal;
pub mod sign_ins;
