//! What each service may touch: features declare it, the deployment's policies are generated from it, and debug builds
//! enforce it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::holdings::{Holding, fits};
use crate::ports::queues::QueueName;
use crate::ports::tables::Table;

/// What a feature touches in one tier, beside the queues of its rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Touches {
    /// Tables that it reads by key and by query.
    pub reads: &'static [Table],
    /// Tables that it scans.
    pub scans: &'static [Table],
    /// Tables that it writes or checks conditions in, all of each.
    pub writes: &'static [Table],
    /// Whether it writes the items that the feature keeps. Of tables that are not among `writes` it then has the
    /// partitions of such items, and no others.
    pub own: bool,
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
    /// Of other tables, the forms of the partitions that it writes, such as `post#<id>`.
    pub partitions: BTreeMap<Table, BTreeSet<&'static str>>,
    /// Whether it archives.
    pub archive: bool,
    /// Whether it has blobs.
    pub blobs: bool,
}

impl Grants {
    /// Adds the tables that a feature touches which keeps items of these kinds.
    pub(crate) fn add(&mut self, touches: &Touches, kinds: &[Holding]) {
        self.reads.extend(touches.reads);
        self.scans.extend(touches.scans);
        self.writes.extend(touches.writes);
        for kind in kinds.iter().filter(|_| touches.own) {
            self.partitions.entry(kind.table).or_default().insert(kind.pk);
        }
        // Who may write all of a table needs no partitions of it.
        self.partitions.retain(|table, _| !self.writes.contains(table));
    }

    /// Whether it may write to this partition of a table.
    pub(crate) fn writes_to(&self, table: Table, partition: &str) -> bool {
        let is_one = |forms: &BTreeSet<&str>| forms.iter().any(|form| fits(form, partition));
        self.writes.contains(&table) || self.partitions.get(&table).is_some_and(is_one)
    }
}
