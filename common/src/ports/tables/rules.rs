//! Law 4 of [`Tables`](super::Tables), as far as it can be checked without looking at what is stored: the same for
//! every adapter.

use super::{Key, MAX_WRITES, Query, TableError, Write};

/// The longest key part, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;

/// The largest item, in bytes of JSON.
pub const MAX_ITEM_BYTES: usize = 400 * 1_024;

/// The most items of a query.
pub const MAX_QUERY: usize = 1_000;

/// Checks a key.
///
/// # Errors
/// [`TableError::Invalid`] when a part is empty, too long or holds a NUL. The functions below return that error too.
pub fn key(key: &Key) -> Result<(), TableError> {
    part("pk", &key.pk)?;
    part("sk", &key.sk)
}

/// Checks the name of a partition.
///
/// # Errors
/// As [`key`].
pub fn partition(pk: &str) -> Result<(), TableError> {
    part("pk", pk)
}

fn part(name: &str, part: &str) -> Result<(), TableError> {
    if part.is_empty() {
        return Err(TableError::Invalid(format!("{name} is empty")));
    }
    if part.len() > MAX_KEY_BYTES {
        return Err(TableError::Invalid(format!("{name} is over {MAX_KEY_BYTES} bytes")));
    }
    if part.as_bytes().contains(&0) {
        return Err(TableError::Invalid(format!("{name} holds a NUL")));
    }
    Ok(())
}

/// Checks an item's size.
///
/// # Errors
/// When it has more than [`MAX_ITEM_BYTES`].
pub fn size(json_bytes: usize) -> Result<(), TableError> {
    if json_bytes > MAX_ITEM_BYTES {
        return Err(TableError::Invalid(format!("the item is over {MAX_ITEM_BYTES} bytes")));
    }
    Ok(())
}

/// Checks that a transaction is not too large and has no item twice.
///
/// # Errors
/// When it is or has.
pub fn transaction(writes: &[Write]) -> Result<(), TableError> {
    if writes.len() > MAX_WRITES {
        return Err(TableError::Invalid(format!("{} writes; at most {MAX_WRITES}", writes.len())));
    }
    let mut items: Vec<_> = writes.iter().map(|write| (write.table, &write.key)).collect();
    items.sort_unstable();
    if items.windows(2).any(|two| two[0] == two[1]) {
        return Err(TableError::Invalid("two writes on one item".to_owned()));
    }
    Ok(())
}

/// Checks a query's partition and limit.
///
/// # Errors
/// When one of them is out of bounds.
pub fn query(query: &Query) -> Result<(), TableError> {
    if !(1..=MAX_QUERY).contains(&query.limit) {
        return Err(TableError::Invalid(format!("a limit of {}; 1 to {MAX_QUERY}", query.limit)));
    }
    partition(&query.pk)
}

/// Checks a scan's part and limit.
///
/// # Errors
/// When there is no such part, or nothing is asked for.
pub fn scan(segment: u32, segments: u32, limit: usize) -> Result<(), TableError> {
    if segment >= segments || limit == 0 {
        return Err(TableError::Invalid(format!("segment {segment} of {segments}, limit {limit}")));
    }
    Ok(())
}
