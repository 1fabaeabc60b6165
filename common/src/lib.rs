//! What every part of Sound Off shares: the client protocol, the envelope, the ports and the machinery around them.
//!
//! Arrows point here and never out: this crate knows no other crate of the workspace.

pub mod ports;
pub mod protocol;
