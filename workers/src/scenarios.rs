//! What is true across message types: one effect each, in any order, in any race, and hidden across blocks.

mod costs;
mod groups;
mod once;
mod order;
mod privacy;
mod private;
mod races;
mod sight;
