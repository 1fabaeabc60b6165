//! The inbox: durable pushes per user, gapless by `seq`, with a cursor per device.
//!
//! One partition for each user in [`Table::Inbox`]: `head` holds the newest `seq`, `e#<seq>` an entry, `d#<device>` a
//! device's cursor. Workers append in the same transaction as the effect; edges read and ack.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::hex::hex;
use crate::model::blocks;
use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{
    Change, Condition, EXPIRES, Item, Key, MAX_WRITES, Query, Table, TableError, Tables, Write,
};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of an inbox's head.
    pub mod head {
        SEQ = "seq",
    }
}

crate::attributes! {
    /// The attributes of an entry.
    pub mod entry {
        TYPE = "type",
        MID = "mid",
        BY = "by",
        BODY = "body",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

crate::attributes! {
    /// The attributes of a device's cursor.
    pub mod device {
        CURSOR = "cursor",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "head of an inbox",
        table: Table::Inbox,
        pk: "<h>",
        sk: "head",
        attributes: head::ALL,
        of: Of::User,
        summary: "The newest place in a user's inbox.",
    },
    Holding {
        kind: "entry of an inbox",
        table: Table::Inbox,
        pk: "<h>",
        sk: "e#<seq>",
        attributes: entry::ALL,
        of: Of::User,
        summary: "A durable push. `by` is whose content it is, withheld from readers across a block. It is removed when all known devices have it, or after 30 days.",
    },
    Holding {
        kind: "cursor of a device",
        table: Table::Inbox,
        pk: "<h>",
        sk: "d#<device>",
        attributes: device::ALL,
        of: Of::User,
        summary: "The last `seq` that a device has acknowledged.",
    },
];

/// How long an entry waits for a device, and how long we wait for a device that never comes back: 30 days, in seconds.
pub const KEPT_S: u64 = 30 * 24 * 3600;

/// How often an ack is tried that another socket of the same device overtakes.
const ACK_TRIES: u32 = 16;

/// The type of an entry whose author and reader have a block between them since. `seq` stays gapless, the body is
/// empty.
pub const WITHHELD: &str = "withheld";

/// One durable push.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What happened, such as `dm.received`.
    #[serde(rename = "type")]
    pub push_type: String,
    /// The message that caused it.
    pub mid: Ulid,
    /// Whose content it is.
    pub by: Handle,
    /// The body, as the type defines it.
    pub body: Box<RawValue>,
}

/// The key of the head of a user's inbox.
#[must_use]
pub fn head_key(user: &Handle) -> Key {
    Key::new(user.as_str(), "head")
}

/// The key of an entry.
#[must_use]
pub fn entry_key(user: &Handle, seq: u64) -> Key {
    Key::new(user.as_str(), format!("e#{seq:020}"))
}

/// The key of a device's cursor.
#[must_use]
pub fn device_key(user: &Handle, device: &str) -> Key {
    // Clients choose the names of devices: in hex any name is a valid key.
    Key::new(user.as_str(), format!("d#{}", hex(device.as_bytes())))
}

fn seq_of(sk: &str) -> Result<u64, TableError> {
    let digits = sk.strip_prefix("e#").unwrap_or(sk);
    digits.parse().map_err(|_| TableError::Corrupt(format!("not an inbox key: {sk}")))
}

/// The newest `seq` of each user; 0 where nothing ever came.
///
/// # Errors
/// When the tables do not answer.
pub async fn heads(tables: &dyn Tables, users: &[Handle]) -> Result<Vec<u64>, TableError> {
    let keys: Vec<_> = users.iter().map(|user| (Table::Inbox, head_key(user))).collect();
    let items = tables.get_many(&keys).await?;
    Ok(items.into_iter().map(|item| item.and_then(|i| i.number(head::SEQ)).unwrap_or(0)).collect())
}

/// The writes that append `entries` after `newest`. They all fail if anybody else has appended since `newest` was read.
#[must_use]
pub fn append(user: &Handle, newest: u64, entries: &[Entry], now_s: u64) -> Vec<Write> {
    let bumped = newest + entries.len() as u64;
    let expected = match newest {
        0 => Condition::Absent(head::SEQ),
        newest => Condition::Equals(head::SEQ, newest.into()),
    };
    let bump = vec![Change::Set(head::SEQ, bumped.into())];
    let mut writes = vec![Write::update(Table::Inbox, head_key(user), bump).when(expected)];
    for (seq, Entry { push_type, mid, by, body }) in (newest + 1..).zip(entries) {
        let item = Item::new()
            .with(entry::TYPE, push_type.as_str())
            .with(entry::MID, mid.to_string())
            .with(entry::BY, by.as_str())
            .with(entry::BODY, body.get())
            .with(EXPIRES, now_s + KEPT_S);
        writes.push(Write::put(Table::Inbox, entry_key(user, seq), item));
    }
    writes
}

fn entry_of(item: &Item) -> Result<Entry, TableError> {
    let text =
        |name| item.text(name).ok_or_else(|| TableError::Corrupt(format!("inbox entry without {name}")));
    let corrupt = |what: &str| TableError::Corrupt(format!("inbox entry with a bad {what}"));
    Ok(Entry {
        push_type: text(entry::TYPE)?.to_owned(),
        mid: text(entry::MID)?.parse().map_err(|_| corrupt(entry::MID))?,
        by: text(entry::BY)?.parse().map_err(|_| corrupt(entry::BY))?,
        body: RawValue::from_string(text(entry::BODY)?.to_owned()).map_err(|_| corrupt(entry::BODY))?,
    })
}

/// Up to `limit` entries after `after`, in order. Content across a block is withheld.
///
/// The first `seq` is over `after + 1` only when older entries have expired.
///
/// # Errors
/// When the tables do not answer, or an entry is corrupt.
pub async fn read(
    tables: &dyn Tables,
    user: &Handle,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, TableError> {
    let query = Query::prefix(Table::Inbox, user.as_str(), "e#", limit).above(entry_key(user, after).sk);
    let page = tables.query(query).await?;
    let mut entries = Vec::with_capacity(page.items.len());
    for (sk, item) in &page.items {
        entries.push((seq_of(sk)?, entry_of(item)?));
    }
    let mut authors: Vec<Handle> =
        entries.iter().map(|(_, e)| e.by.clone()).filter(|by| by != user).collect();
    authors.sort_unstable();
    authors.dedup();
    let blocked = blocks::between(tables, user, &authors).await?;
    for (_, entry) in &mut entries {
        if authors.binary_search(&entry.by).is_ok_and(|at| blocked[at]) {
            WITHHELD.clone_into(&mut entry.push_type);
            entry.body = RawValue::from_string("{}".to_owned()).expect("an empty object is JSON");
        }
    }
    Ok(entries)
}

/// Where a device resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The last `seq` the device has seen.
    pub cursor: u64,
    /// The newest `seq` there is.
    pub head: u64,
}

/// Where a device resumes: at its own `cursor`, else after its last ack, else (never seen) at the newest. A new device
/// is remembered.
///
/// # Errors
/// When the tables do not answer.
pub async fn resume(
    tables: &dyn Tables,
    user: &Handle,
    device: Option<&str>,
    cursor: Option<u64>,
    now_s: u64,
) -> Result<Resume, TableError> {
    let (head, remembered) = places(tables, user, device).await?;
    let known = remembered.as_ref().and_then(|item| item.number(device::CURSOR));
    let cursor = cursor.or(known).unwrap_or(head).min(head);
    // The wait for a device that comes back starts again; one write in half the time is enough.
    let expires = remembered.and_then(|item| item.number(EXPIRES)).unwrap_or(0);
    if let Some(device) = device
        && expires < now_s + KEPT_S / 2
    {
        match save_cursor(tables, user, device, (known, known.unwrap_or(cursor)), now_s).await {
            // Another socket of the device has written it meanwhile.
            Ok(()) | Err(TableError::ConditionFailed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Resume { cursor, head })
}

/// The newest `seq`, and what is remembered of the device.
async fn places(
    tables: &dyn Tables,
    user: &Handle,
    device: Option<&str>,
) -> Result<(u64, Option<Item>), TableError> {
    let mut keys = vec![(Table::Inbox, head_key(user))];
    keys.extend(device.map(|device| (Table::Inbox, device_key(user, device))));
    let mut found = tables.get_many(&keys).await?.into_iter();
    let head = found.next().flatten().and_then(|item| item.number(head::SEQ)).unwrap_or(0);
    Ok((head, found.next().flatten()))
}

/// Writes a device's cursor, on condition that it is still `known`: two sockets of one device may act at once.
async fn save_cursor(
    tables: &dyn Tables,
    user: &Handle,
    device: &str,
    (known, cursor): (Option<u64>, u64),
    now_s: u64,
) -> Result<(), TableError> {
    let item = Item::new().with(device::CURSOR, cursor).with(EXPIRES, now_s + KEPT_S);
    let as_read = match known {
        None => Condition::Absent(device::CURSOR),
        Some(known) => Condition::Equals(device::CURSOR, known.into()),
    };
    tables.write(vec![Write::put(Table::Inbox, device_key(user, device), item).when(as_read)]).await
}

/// Remembers that a device holds everything up to `cursor`, and removes what all known devices hold.
///
/// A cursor past the newest entry counts as the newest; one below an earlier ack changes nothing. Costs one write, two
/// reads and one write per 100 removed entries, so callers gather acks.
///
/// # Errors
/// When the tables do not answer.
pub async fn ack(
    tables: &dyn Tables,
    user: &Handle,
    device: &str,
    cursor: u64,
    now_s: u64,
) -> Result<(), TableError> {
    for _ in 0..ACK_TRIES {
        let (head, remembered) = places(tables, user, Some(device)).await?;
        let known = remembered.and_then(|item| item.number(device::CURSOR));
        let cursor = cursor.min(head);
        if known.is_some_and(|known| known >= cursor) {
            // Two sockets of one device may send their acks in any order.
            return Ok(());
        }
        match save_cursor(tables, user, device, (known, cursor), now_s).await {
            Ok(()) => return trim(tables, user).await,
            // Another socket of the device was faster.
            Err(TableError::ConditionFailed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(TableError::Unavailable(format!("an ack lost {ACK_TRIES} races")))
}

/// Removes the entries that all known devices hold.
async fn trim(tables: &dyn Tables, user: &Handle) -> Result<(), TableError> {
    let devices = tables.query(Query::prefix(Table::Inbox, user.as_str(), "d#", 1000)).await?;
    // Devices that the engine has not removed yet count, whatever their time: a clock that is a year ahead must not
    // take from them what they have not read.
    let Some(held_by_all) = devices.items.iter().filter_map(|(_, item)| item.number(device::CURSOR)).min()
    else {
        return Ok(());
    };
    if devices.more {
        // No person has that many devices; their entries are removed by age.
        return Ok(());
    }
    loop {
        let mut query = Query::prefix(Table::Inbox, user.as_str(), "e#", MAX_WRITES);
        query = query.below(entry_key(user, held_by_all + 1).sk);
        let page = tables.query(query).await?;
        if page.items.is_empty() {
            return Ok(());
        }
        let gone =
            page.items.iter().map(|(sk, _)| Ok(Write::delete(Table::Inbox, entry_key(user, seq_of(sk)?))));
        tables.write(gone.collect::<Result<_, TableError>>()?).await?;
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
