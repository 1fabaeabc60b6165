//! Helpers that the tests of all types share.

pub(crate) mod world;
