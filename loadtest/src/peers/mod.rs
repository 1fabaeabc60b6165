//! Servers of others, measured by the same generator in the same run.

pub(crate) mod servers;
