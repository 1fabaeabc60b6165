//! What holds across message types: once each, in any order, in any race, and hidden across blocks.

mod costs;
mod once;
mod order;
mod privacy;
mod races;
