//! Sessions, and the refresh tokens that prolong them.

pub(crate) mod families;
pub(crate) mod refresh;
