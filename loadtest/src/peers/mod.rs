//! Servers of others, measured by the same generator in the same run.

mod install;
pub(crate) mod servers;
