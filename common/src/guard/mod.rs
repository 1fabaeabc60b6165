//! Circuit breakers around the engines: an engine that is away is asked now and then instead of always, and everybody
//! who waits for it hears when it is back.
//!
//! [`Breaker`] judges one engine. The files named after ports wrap them: a call that an open breaker refuses fails at
//! once with the port's own `Unavailable`. [`Weather`] knows the breakers of a process.

mod archive;
mod blobs;
mod breaker;
#[cfg(test)]
mod breaker_tests;
mod courier;
mod queues;
mod tables;
mod weather;

pub use archive::GuardedArchive;
pub use blobs::GuardedBlobs;
pub use breaker::{Breaker, Pass};
pub use courier::GuardedCourier;
pub use queues::GuardedQueues;
pub use tables::GuardedTables;
pub use weather::{Away, Weather};
