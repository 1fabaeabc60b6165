//! Pictures as they are sent, and as they are not meant to be.

mod bounds;
mod samples;
mod sizes;
mod stays_behind;
mod whole;
