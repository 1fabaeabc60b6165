//! Passkeys (WebAuthn level 3): an identity that is a key in somebody's device. What the device signs is judged here;
//! which account it opens is `sign_in`'s matter, as for every other way.
//!
//! No attestation is asked for. Which maker's device it is decides nothing here, and what an adding user sends is bound
//! to the account by their session and its fresh proof.

pub(crate) mod answers;
pub(crate) mod challenge;
mod faults;
pub(crate) mod judge;
mod keys;
pub(crate) mod stored;
