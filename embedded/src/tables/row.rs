//! The format of items in the store: keys sort as the port demands, and the expiry of a value can be read without
//! parsing it.
//!
//! A key is `pk`, a NUL and `sk`. Neither part holds a NUL. So every key of a partition is between `pk\0` and `pk\x01`,
//! and a partition never overlaps another whose name begins with its own. A value is eight bytes of expiry (big-endian,
//! [`NEVER`] for none) and the item as JSON.

use std::ops::Bound;

use soundoff_common::ports::tables::{EXPIRES, Item, Key, TableError, rules};

/// The expiry of an item that has none. It cannot be zero: a client may write that.
pub(super) const NEVER: u64 = u64::MAX;

const HEADER: usize = 8;

pub(super) fn encode_key(key: &Key) -> Result<Vec<u8>, TableError> {
    rules::key(key)?;
    Ok(join(&key.pk, 0, &key.sk))
}

fn join(pk: &str, separator: u8, sk: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pk.len() + 1 + sk.len());
    bytes.extend_from_slice(pk.as_bytes());
    bytes.push(separator);
    bytes.extend_from_slice(sk.as_bytes());
    bytes
}

/// The two parts of a stored key.
pub(super) fn split_key(key: &[u8]) -> Result<(&str, &str), TableError> {
    let corrupt = || TableError::Corrupt("a stored key is not pk NUL sk".to_owned());
    let end = key.iter().position(|b| *b == 0).ok_or_else(corrupt)?;
    let pk = std::str::from_utf8(&key[..end]).map_err(|_| corrupt())?;
    let sk = std::str::from_utf8(&key[end + 1..]).map_err(|_| corrupt())?;
    Ok((pk, sk))
}

/// The partition key's bytes in a stored key, for callers that need no text.
pub(super) fn partition_of(key: &[u8]) -> &[u8] {
    key.split(|b| *b == 0).next().unwrap_or(key)
}

pub(super) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The stored keys of a range of one partition; `None` when no key can be in it.
pub(super) fn range(
    pk: &str,
    from: &Bound<String>,
    to: &Bound<String>,
) -> Result<Option<KeyRange>, TableError> {
    rules::partition(pk)?;
    let low = match from {
        Bound::Included(sk) => Bound::Included(join(pk, 0, sk)),
        Bound::Excluded(sk) => Bound::Excluded(join(pk, 0, sk)),
        Bound::Unbounded => Bound::Included(join(pk, 0, "")),
    };
    let high = match to {
        Bound::Included(sk) => Bound::Included(join(pk, 0, sk)),
        Bound::Excluded(sk) => Bound::Excluded(join(pk, 0, sk)),
        Bound::Unbounded => Bound::Excluded(join(pk, 1, "")),
    };
    let empty = match (&low, &high) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    };
    Ok((!empty).then_some((low, high)))
}

pub(super) fn encode_item(item: &Item) -> Result<Vec<u8>, TableError> {
    // Most items have a few hundred bytes: one allocation for those, not a series of doublings.
    let mut bytes = Vec::with_capacity(512);
    let expires = item.number(EXPIRES).unwrap_or(NEVER);
    bytes.extend_from_slice(&expires.to_be_bytes());
    serde_json::to_writer(&mut bytes, item)
        .map_err(|e| TableError::Invalid(format!("the item is not storable: {e}")))?;
    rules::size(bytes.len() - HEADER)?;
    Ok(bytes)
}

pub(super) fn decode_item(value: &[u8]) -> Result<Item, TableError> {
    let json = value.get(HEADER..).ok_or_else(|| TableError::Corrupt("a stored value is cut".to_owned()))?;
    serde_json::from_slice(json).map_err(|e| TableError::Corrupt(format!("a stored item is not JSON: {e}")))
}

/// When a stored value expires.
pub(super) fn expiry(value: &[u8]) -> u64 {
    value.first_chunk::<HEADER>().map_or(NEVER, |bytes| u64::from_be_bytes(*bytes))
}

/// The row of the expiry index for an item: sorted by time, so that a sweep reads only what is due.
pub(super) fn expiry_row(expires: u64, table: usize, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 1 + key.len());
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes.push(u8::try_from(table).expect("there are fewer than 256 tables"));
    bytes.extend_from_slice(key);
    bytes
}

/// What a row of the expiry index says: time, table and key.
pub(super) fn split_expiry_row(row: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (time, rest) = row.split_first_chunk::<HEADER>()?;
    let (table, key) = rest.split_first()?;
    Some((u64::from_be_bytes(*time), usize::from(*table), key))
}
