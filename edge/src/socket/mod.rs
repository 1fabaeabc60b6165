//! One socket's network connection, which only its reactor reads and writes.

mod act;
mod drive;
mod layout;
mod read;
mod write;

pub(crate) use drive::Driven;
pub(crate) use layout::{Readiness, Socket};
