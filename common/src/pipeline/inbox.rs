//! The inbox: durable pushes per user, gapless by `seq`, with a cursor per device.
//!
//! One partition a user in [`Table::Inbox`]: `head` holds the newest `seq`, `e#<seq>` an entry, `d#<device>` a device's cursor.
//! Workers append in the same transaction as the effect; edges read and ack.

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

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "head of an inbox",
        table: Table::Inbox,
        pk: "<h>",
        sk: "head",
        attributes: &["seq"],
        of: Of::User,
        summary: "The newest place in a user's inbox.",
    },
    Holding {
        kind: "entry of an inbox",
        table: Table::Inbox,
        pk: "<h>",
        sk: "e#<seq>",
        attributes: &["type", "mid", "by", "body", "expires"],
        of: Of::User,
        summary: "A durable push. `by` is whose content it is, withheld from readers across a block. It goes when all known devices have it, or after 30 days.",
    },
    Holding {
        kind: "cursor of a device",
        table: Table::Inbox,
        pk: "<h>",
        sk: "d#<device>",
        attributes: &["cursor", "expires"],
        of: Of::User,
        summary: "How far a device has acknowledged.",
    },
];

/// How long an entry waits for a device, and how long a device that never comes back is waited for: 30 days, in seconds.
pub const KEPT_S: u64 = 30 * 24 * 3600;

/// The type and body of an entry whose author and reader have blocked each other since: `seq` stays gapless, the content is gone.
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
    /// What the type says.
    pub body: Box<RawValue>,
}

fn head_key(user: &Handle) -> Key {
    Key::new(user.as_str(), "head")
}

fn entry_key(user: &Handle, seq: u64) -> Key {
    Key::new(user.as_str(), format!("e#{seq:020}"))
}

fn device_key(user: &Handle, device: &str) -> Key {
    // Devices are named by clients: hex keeps any name a lawful key.
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
    Ok(items.into_iter().map(|item| item.and_then(|i| i.number("seq")).unwrap_or(0)).collect())
}

/// The writes that append `entries` after `head`. They fail as one if anybody else has appended since `head` was read.
#[must_use]
pub fn append(user: &Handle, head: u64, entries: &[Entry], now_s: u64) -> Vec<Write> {
    let newest = head + entries.len() as u64;
    let expected = if head == 0 { Condition::Absent("seq") } else { Condition::Equals("seq", head.into()) };
    let bump = vec![Change::Set("seq", newest.into())];
    let mut writes = vec![Write::update(Table::Inbox, head_key(user), bump).when(expected)];
    for (seq, entry) in (head + 1..).zip(entries) {
        let item = Item::new()
            .with("type", entry.push_type.as_str())
            .with("mid", entry.mid.to_string())
            .with("by", entry.by.as_str())
            .with("body", entry.body.get())
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
        push_type: text("type")?.to_owned(),
        mid: text("mid")?.parse().map_err(|_| corrupt("mid"))?,
        by: text("by")?.parse().map_err(|_| corrupt("by"))?,
        body: RawValue::from_string(text("body")?.to_owned()).map_err(|_| corrupt("body"))?,
    })
}

/// Up to `limit` entries after `after`, in order, with what a block has withheld since.
///
/// The first `seq` is over `after + 1` only when older ones are gone by age.
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

/// Where a device goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The last `seq` the device has seen.
    pub cursor: u64,
    /// The newest `seq` there is.
    pub head: u64,
}

/// Where a device goes on: at its own `cursor`, else after its last ack, else (never seen) at the newest. A device that is new is remembered.
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
    let known = remembered.as_ref().and_then(|item| item.number("cursor"));
    let cursor = cursor.or(known).unwrap_or(head).min(head);
    // A device that comes back is waited for anew; one write in half the time is enough.
    let lapses = remembered.and_then(|item| item.number(EXPIRES)).unwrap_or(0);
    if let Some(device) = device
        && lapses < now_s + KEPT_S / 2
    {
        save_cursor(tables, user, device, known.unwrap_or(cursor), now_s).await?;
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
    let head = found.next().flatten().and_then(|item| item.number("seq")).unwrap_or(0);
    Ok((head, found.next().flatten()))
}

async fn save_cursor(
    tables: &dyn Tables,
    user: &Handle,
    device: &str,
    cursor: u64,
    now_s: u64,
) -> Result<(), TableError> {
    let item = Item::new().with("cursor", cursor).with(EXPIRES, now_s + KEPT_S);
    tables.write(vec![Write::put(Table::Inbox, device_key(user, device), item)]).await
}

/// Remembers that a device holds everything up to `cursor`, and drops what all known devices hold.
///
/// A cursor past the newest entry counts as the newest, one below an earlier ack as nothing. Costs one write, two reads and one write per 100 dropped entries, so callers gather acks.
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
    let (head, remembered) = places(tables, user, Some(device)).await?;
    let known = remembered.and_then(|item| item.number("cursor"));
    let cursor = cursor.min(head);
    if known.is_some_and(|known| known >= cursor) {
        // A device has one word to keep; two of its sockets may say it in any order.
        return Ok(());
    }
    save_cursor(tables, user, device, cursor, now_s).await?;
    let devices = tables.query(Query::prefix(Table::Inbox, user.as_str(), "d#", 1000)).await?;
    let alive = devices.items.iter().filter(|(_, item)| item.number(EXPIRES).is_none_or(|at| at > now_s));
    let Some(held_by_all) = alive.filter_map(|(_, item)| item.number("cursor")).min() else { return Ok(()) };
    if devices.more {
        // So many devices are no person's; age trims for them.
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
            page.items.into_iter().map(|(sk, _)| Write::delete(Table::Inbox, Key::new(user.as_str(), sk)));
        tables.write(gone.collect()).await?;
    }
}
