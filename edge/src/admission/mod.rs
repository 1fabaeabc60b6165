//! Who may do how much: nobody takes an edge from anybody else.
//!
//! A socket pays for each frame ([`bucket`]), a user for each message and hello, on all sockets together and over their
//! ends ([`budgets`]), and an address for its connections until they have proven more ([`guests`]). All hellos together ask the tables no faster
//! than those answer ([`hellos`]).

mod bucket;
mod budgets;
mod guests;
mod hellos;

pub(crate) use bucket::{Pace, Rate};
pub(crate) use budgets::{Budget, Budgets};
pub(crate) use guests::Guests;
pub(crate) use hellos::{Hellos, Slot};
