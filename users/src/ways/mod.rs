//! The ways to sign in. Each proves an *identity* and returns the write that uses the proof up.

pub(crate) mod codes;
pub(crate) mod exchange;
pub(crate) mod identity;
pub(crate) mod jwks;
pub(crate) mod jwt;
mod mail;
pub(crate) mod meter;
pub(crate) mod openid;
pub(crate) mod passkeys;
mod phone;
pub(crate) mod remembered;
pub(crate) mod spelling;
pub(crate) mod texts;
pub(crate) mod twitter;
