//! The ports on one machine: files and memory, and no server beside the process.

pub mod archive;
pub mod blobs;
pub mod cache;
pub mod disk;
pub mod queues;
pub mod sessions;
pub mod tables;
