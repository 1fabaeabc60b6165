//! What each service may touch: features declare it, the deployment's policies are generated from it, and debug builds
//! enforce it.

use std::collections::BTreeSet;

use crate::ports::queues::QueueName;
use crate::ports::tables::Table;

/// What a feature touches in one tier, beside the queues of its rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Touches {
    /// Tables that it reads by key and by query.
    pub reads: &'static [Table],
    /// Tables that it scans.
    pub scans: &'static [Table],
    /// Tables that it writes or checks conditions in.
    pub writes: &'static [Table],
    /// Whether it puts records into the archive.
    pub archive: bool,
    /// Whether it reads and writes blobs.
    pub blobs: bool,
    /// Queues that it sends to without a message that causes it.
    pub sends: Sends,
}

/// Queues that are sent to without a message that causes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sends {
    /// None.
    #[default]
    Nothing,
    /// `main_q`.
    Main,
    /// Every queue but `main_q`.
    Types,
}

/// All that one tier may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Queues that it pulls.
    pub pulls: BTreeSet<QueueName>,
    /// Queues that it sends to.
    pub sends: BTreeSet<QueueName>,
    /// Tables that it reads.
    pub reads: BTreeSet<Table>,
    /// Tables that it scans.
    pub scans: BTreeSet<Table>,
    /// Tables that it writes.
    pub writes: BTreeSet<Table>,
    /// Whether it archives.
    pub archive: bool,
    /// Whether it has blobs.
    pub blobs: bool,
}
