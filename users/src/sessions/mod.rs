//! Sessions, and the refresh tokens that prolong them.

pub(crate) mod client;
pub(crate) mod families;
pub(crate) mod lasting;
pub(crate) mod list;
pub(crate) mod refresh;
