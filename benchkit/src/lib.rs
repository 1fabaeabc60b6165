//! What benchmarks and `hotpaths` share: a synthetic world, its files, the computation of everybody's timeline on them,
//! and what a process has used. The product does not depend on it.

pub mod files;
pub mod ours;
pub mod usage;
pub mod world;
