//! The User service: who somebody is, and the tokens that say so.
//!
//! Each way to sign in proves an *identity* (a mail address, a phone number, an account elsewhere) and returns the
//! write that uses the proof up. `sign_in` turns that into a session, in one transaction, for every way. Access tokens
//! are short-lived and signed. Refresh tokens are opaque and rotate at each use; when one is used twice, its whole
//! family ends.

mod account;
mod audit;
mod calls;
mod changes;
mod config;
mod couriers;
mod dev;
mod feature;
pub mod fetch;
mod foreign;
mod holdings;
mod keys;
mod limits;
mod linking;
mod notices;
mod openid_calls;
mod passkeys;
mod proof;
mod refusal;
mod reseal;
mod service;
mod sessions;
mod sign_in;
mod ways;

pub use config::{
    AppleConfig, AppleWeb, MAX_ACCESS_LIFETIME, OpenIdConfig, PasskeyConfig, TwitterConfig, UsersConfig,
};
pub use couriers::{Outbox, Smtp, Webhook};
pub use dev::{DevTokens, DevTokensRequest};
pub use feature::{UsersSettings, feature};
pub use foreign::{ForeignConfig, ForeignKey, ForeignTokens};
pub use keys::ring::Ring;
pub use keys::tokens::{Issuer, Verifier};
pub use reseal::{LASTS_MS, Reseal, Resealed};
pub use ways::texts::{TextPlace, TextsConfig};
