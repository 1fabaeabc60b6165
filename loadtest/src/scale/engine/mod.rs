//! Two engines for one plan: every message by itself, or a second's messages as one cohort.

mod cohorts;
mod messages;
mod state;

pub(crate) use cohorts::Cohorts;
pub(crate) use messages::Messages;
pub(crate) use state::{Engine, Seen};

#[cfg(test)]
mod tests;
