//! The rows by which loose media are found again, in order of time.

use ulid::Ulid;

use crate::ports::tables::{Key, Query, Table};

/// The number of partitions over which the rows of loose media are spread.
pub const LOOSE_SHARDS: u8 = 16;

/// The key of the row by which a loose medium is found again: the partition follows from the id, rows are in order of
/// time.
#[must_use]
pub fn loose_key(id: Ulid, since: u64) -> Key {
    let shard = id.to_bytes()[15] % LOOSE_SHARDS;
    Key::new(loose_partition(shard), format!("{since:015}#{id}"))
}

fn loose_partition(shard: u8) -> String {
    format!("media-loose#{shard:02}")
}

/// The rows of one shard that are older than a time (milliseconds since 1970), the oldest first.
#[must_use]
pub fn loose_rows(shard: u8, before: u64, limit: usize) -> Query {
    Query::prefix(Table::Entities, loose_partition(shard), "", limit).below(format!("{before:015}#"))
}

/// The medium that a row is about, and since when it is loose.
#[must_use]
pub fn loose_id(sk: &str) -> Option<(Ulid, u64)> {
    let (since, id) = sk.split_once('#')?;
    Some((crate::model::ids::parse(id)?, since.parse().ok()?))
}
