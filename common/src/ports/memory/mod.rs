//! The ports in memory, for tests: one fake of each, held to the port's contract suite like every adapter.
//!
//! A test that must hold, fail or watch calls wraps one of these.

mod cache;
mod queues;
mod sessions;
mod tables;

pub use cache::MemoryCache;
pub use queues::MemoryQueues;
pub use sessions::MemorySessions;
pub use tables::MemoryTables;
