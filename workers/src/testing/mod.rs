//! Helpers that the tests of all types share.

mod groups;
pub(crate) mod world;
