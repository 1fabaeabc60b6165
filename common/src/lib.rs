//! What every part of Sound Off shares, as a stair: each folder may use those above it in this list, and none below it.
//!
//! 1. `protocol`: what clients and edges say to each other.
//! 2. `ports`: what the pipeline needs from engines: a trait and its laws for each.
//! 3. `telemetry`: the metrics.
//! 4. `guard`: circuit breakers around the engines.
//! 5. `web`: what pages on HTTP share, and the keys that are derived from the deployment's secret.
//! 6. `model`: people, posts, media and who relates to whom, as stored and shown.
//! 7. `pipeline`: from an envelope on a queue to an effect, replies and pushes; and the seam at which features join it.
//!
//! This crate uses no other crate of the workspace.

pub mod counts;
pub mod guard;
pub mod hex;
pub mod invisible;
pub mod lock;
pub mod model;
pub mod pipeline;
pub mod ports;
pub mod protocol;
pub mod telemetry;
pub mod terminal;
pub mod web;
