//! Keys: those that sign access tokens, and those that protect what is stored.

pub(crate) mod ring;
pub(crate) mod seal;
pub(crate) mod signing;
pub(crate) mod tokens;
