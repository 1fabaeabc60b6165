//! What the tests of all types share.

pub(crate) mod memory;
pub(crate) mod world;
