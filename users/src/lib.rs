//! The User service: who a token speaks for, and the tokens themselves.

mod dev;
mod keys;
mod tokens;

pub use dev::{DevTokens, DevTokensRequest};
pub use keys::SigningKey;
pub use tokens::{Issuer, Verifier};
