//! What every part of Sound Off shares: the client protocol, the envelope, the ports and the machinery around them.
//!
//! Arrows point here and never out: this crate knows no other crate of the workspace.

pub mod accounts;
pub mod affinity;
pub mod blocks;
pub mod catalog;
pub mod consumer;
pub mod deliver;
mod effect;
pub mod envelope;
pub mod follows;
pub mod handler;
pub mod hex;
pub mod http;
pub mod ids;
pub mod inbox;
pub mod inbox_heads;
pub mod lists;
pub mod media;
pub mod operator;
pub mod ports;
pub mod posts;
pub mod problem;
pub mod protocol;
pub mod replies;
pub mod secret;
pub mod shutdown;
pub mod sign_ins;
pub mod telemetry;
pub mod uploads;
pub mod worker;
