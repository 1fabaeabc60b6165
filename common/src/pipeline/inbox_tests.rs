use std::sync::Arc;

use super::*;
use crate::model::holdings::assert_knows;
use crate::model::relations::attribute::ON;
use crate::ports::memory::MemoryTables;

/// When these tests take place, in seconds since 1970.
const NOW: u64 = 1_000_000_000;

fn handle(name: &str) -> Handle {
    name.parse().unwrap()
}

fn ann() -> Handle {
    handle("ann")
}

fn made(n: u64, by: &str) -> Entry {
    let body = RawValue::from_string(format!(r#"{{"n":{n}}}"#)).unwrap();
    Entry { push_type: "note".to_owned(), mid: Ulid(n.into()), by: handle(by), body }
}

/// Ann's inbox with this many entries of her own.
async fn filled(entries: u64) -> Arc<MemoryTables> {
    let tables = Arc::new(MemoryTables::default());
    for n in 0..entries {
        tables.write(append(&ann(), n, &[made(n + 1, "ann")], NOW)).await.unwrap();
    }
    tables.calls();
    tables
}

async fn seqs(tables: &MemoryTables) -> Vec<u64> {
    read(tables, &ann(), 0, 1000).await.unwrap().into_iter().map(|(seq, _)| seq).collect()
}

/// A device's cursor, and until when it is kept.
fn kept(tables: &MemoryTables, name: &str) -> Option<(u64, u64)> {
    let item = tables.peek(Table::Inbox, device_key(&ann(), name))?;
    Some((item.number(device::CURSOR).unwrap(), item.number(EXPIRES).unwrap()))
}

/// Another process remembers a device.
fn remember(tables: &MemoryTables, name: &str, cursor: u64, expires: u64) {
    let item = Item::new().with(device::CURSOR, cursor).with(EXPIRES, expires);
    tables.apply(vec![Write::put(Table::Inbox, device_key(&ann(), name), item)]).unwrap();
}

#[test]
fn an_entry_is_written_with_all_its_attributes_and_read_back() {
    let made = made(1, "ann");
    assert_knows(entry::ALL, &made, &[entry::EXPIRES]);
    let writes = append(&ann(), 6, std::slice::from_ref(&made), 100);
    assert_eq!(writes[1].key, entry_key(&ann(), 7));
    let crate::ports::tables::Action::Put(item) = &writes[1].action else { panic!("an entry is put") };
    assert_knows(entry::ALL, item, &[]);
    assert_eq!(item.number(EXPIRES), Some(100 + KEPT_S));
    let read = entry_of(item).unwrap();
    assert_eq!((read.push_type, read.mid, read.by), (made.push_type, made.mid, made.by));
    assert_eq!(read.body.get(), made.body.get());
}

#[test]
fn what_waits_for_a_device_waits_for_thirty_days() {
    assert_eq!(KEPT_S, 2_592_000);
}

#[test]
fn keys_sort_by_number_and_take_any_name() {
    assert_eq!(head_key(&ann()), Key::new("ann", "head"));
    assert_eq!(entry_key(&ann(), 7), Key::new("ann", "e#00000000000000000007"));
    assert!(entry_key(&ann(), 9).sk < entry_key(&ann(), 10).sk);
    assert_eq!(device_key(&ann(), "a#\n"), Key::new("ann", "d#61230a"));
}

#[tokio::test]
async fn entries_are_appended_without_a_gap_and_only_once() {
    let tables = filled(0).await;
    let two = [made(1, "ann"), made(2, "ann")];
    tables.write(append(&ann(), 0, &two, NOW)).await.unwrap();
    let again = tables.write(append(&ann(), 0, &two, NOW)).await;
    assert_eq!(again, Err(TableError::ConditionFailed { index: 0 }), "somebody was faster");
    tables.write(append(&ann(), 2, &two[..1], NOW)).await.unwrap();
    let again = tables.write(append(&ann(), 2, &two[..1], NOW)).await;
    assert_eq!(again, Err(TableError::ConditionFailed { index: 0 }));
    assert_eq!(seqs(&tables).await, [1, 2, 3]);
    assert_eq!(heads(&*tables, &[ann(), handle("bob"), ann()]).await.unwrap(), [3, 0, 3]);
}

#[tokio::test]
async fn reading_goes_on_from_any_place_and_withholds_what_is_across_a_block() {
    let tables = filled(2).await;
    for (newest, by) in [(2, "bob"), (3, "eve"), (4, "bob")] {
        tables.write(append(&ann(), newest, &[made(newest + 1, by)], NOW)).await.unwrap();
    }
    let block = Item::new().with(ON, true);
    let key = blocks::key(&handle("bob"), &ann());
    tables.write(vec![Write::put(Table::Relationships, key, block)]).await.unwrap();
    let shown: Vec<_> = read(&*tables, &ann(), 1, 3).await.unwrap();
    let shown: Vec<_> = shown.iter().map(|(seq, e)| (*seq, &*e.push_type, e.body.get())).collect();
    assert_eq!(shown, [(2, "note", r#"{"n":2}"#), (3, WITHHELD, "{}"), (4, "note", r#"{"n":4}"#)]);
    let rest = read(&*tables, &ann(), 4, 3).await.unwrap();
    assert_eq!((rest.len(), rest[0].0, rest[0].1.mid), (1, 5, Ulid(5)));
    assert_eq!(read(&*tables, &ann(), 5, 3).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_key_or_an_entry_that_makes_no_sense_is_said_to_be_corrupt() {
    let tables = filled(1).await;
    let item = Item::new().with(entry::TYPE, "note");
    tables.apply(vec![Write::put(Table::Inbox, entry_key(&ann(), 2), item)]).unwrap();
    assert!(matches!(read(&*tables, &ann(), 0, 9).await, Err(TableError::Corrupt(_))));
    let tables = filled(1).await;
    let whole = tables.peek(Table::Inbox, entry_key(&ann(), 1)).unwrap();
    tables.apply(vec![Write::put(Table::Inbox, Key::new("ann", "e#one"), whole)]).unwrap();
    assert!(matches!(read(&*tables, &ann(), 0, 9).await, Err(TableError::Corrupt(_))));
}

#[tokio::test]
async fn a_device_resumes_at_its_cursor_else_after_its_ack_else_at_the_newest() {
    let tables = filled(5).await;
    let at = async |device, cursor| resume(&*tables, &ann(), device, cursor, NOW).await.unwrap();
    for (cursor, expected) in [(Some(0), 0), (Some(3), 3), (Some(5), 5), (Some(9), 5), (None, 5)] {
        assert_eq!(at(None, cursor).await, Resume { cursor: expected, head: 5 }, "{cursor:?}");
    }
    assert_eq!(tables.calls().1, 0, "who names no device is not remembered");
    assert_eq!(at(Some("new"), None).await.cursor, 5);
    assert_eq!(kept(&tables, "new"), Some((5, NOW + KEPT_S)));
    assert_eq!(at(Some("other"), Some(2)).await.cursor, 2);
    assert_eq!(kept(&tables, "other"), Some((2, NOW + KEPT_S)));
    remember(&tables, "acked", 3, NOW + KEPT_S);
    assert_eq!(at(Some("acked"), None).await.cursor, 3);
    assert_eq!(at(Some("acked"), Some(4)).await.cursor, 4);
    assert_eq!(kept(&tables, "acked"), Some((3, NOW + KEPT_S)), "only an ack moves it");
    remember(&tables, "rewound", 9, NOW + KEPT_S);
    assert_eq!(at(Some("rewound"), None).await.cursor, 5, "what is past the newest is the newest");
    assert_eq!(
        resume(&*tables, &handle("bob"), None, None, NOW).await.unwrap(),
        Resume { cursor: 0, head: 0 }
    );
}

#[tokio::test]
async fn the_wait_for_a_device_starts_again_when_half_of_it_is_over() {
    let tables = filled(5).await;
    let half = NOW + 15 * 24 * 3600;
    for (expires, after) in [(half, half), (half + 1, half + 1), (half - 1, NOW + KEPT_S), (0, NOW + KEPT_S)]
    {
        remember(&tables, "phone", 3, expires);
        assert_eq!(resume(&*tables, &ann(), Some("phone"), Some(4), NOW).await.unwrap().cursor, 4);
        assert_eq!(kept(&tables, "phone"), Some((3, after)), "{expires}");
    }
}

#[tokio::test]
async fn an_ack_is_kept_and_none_takes_another_back() {
    let tables = filled(5).await;
    remember(&tables, "laptop", 0, NOW + KEPT_S);
    for (cursor, after) in [(2, 2), (3, 3), (1, 3), (3, 3), (99, 5), (5, 5)] {
        let before = kept(&tables, "phone").map_or(0, |(cursor, _)| cursor);
        tables.calls();
        ack(&*tables, &ann(), "phone", cursor, NOW).await.unwrap();
        assert_eq!(kept(&tables, "phone"), Some((after, NOW + KEPT_S)), "{cursor}");
        assert_eq!(tables.calls().1, u64::from(after > before), "{cursor}: a write only for what is new");
    }
    assert_eq!(seqs(&tables).await, [1, 2, 3, 4, 5], "another device has none of them");
}

#[tokio::test]
async fn two_sockets_of_one_device_lose_no_ack_to_each_other() {
    for (mine, other, after) in [(2, 4, 4), (4, 2, 4)] {
        for known in [None, Some(1)] {
            let tables = filled(5).await;
            remember(&tables, "laptop", 0, NOW + KEPT_S);
            if let Some(known) = known {
                remember(&tables, "phone", known, NOW + KEPT_S);
            }
            let faster = tables.clone();
            tables.before_next_write(Box::pin(async move {
                ack(&*faster, &ann(), "phone", other, NOW).await.unwrap();
            }));
            ack(&*tables, &ann(), "phone", mine, NOW).await.unwrap();
            assert!(tables.has_come_between());
            assert_eq!(
                kept(&tables, "phone"),
                Some((after, NOW + KEPT_S)),
                "{mine} and {other} after {known:?}"
            );
            // A hello that renews the wait does not take it back either.
            remember(&tables, "phone", 1, NOW);
            let faster = tables.clone();
            tables.before_next_write(Box::pin(async move {
                ack(&*faster, &ann(), "phone", other, NOW).await.unwrap();
            }));
            resume(&*tables, &ann(), Some("phone"), None, NOW).await.unwrap();
            assert!(tables.has_come_between());
            assert_eq!(kept(&tables, "phone"), Some((other, NOW + KEPT_S)));
        }
    }
}

#[tokio::test]
async fn what_all_devices_hold_is_removed_and_nothing_else() {
    let tables = filled(250).await;
    remember(&tables, "laptop", 230, NOW + KEPT_S);
    ack(&*tables, &ann(), "phone", 240, NOW).await.unwrap();
    assert_eq!(seqs(&tables).await, (231..=250).collect::<Vec<_>>());
    ack(&*tables, &ann(), "laptop", 231, NOW).await.unwrap();
    assert_eq!(seqs(&tables).await, (232..=250).collect::<Vec<_>>());
    ack(&*tables, &ann(), "laptop", 250, NOW).await.unwrap();
    ack(&*tables, &ann(), "phone", 250, NOW).await.unwrap();
    assert!(seqs(&tables).await.is_empty());
    assert_eq!(heads(&*tables, &[ann()]).await.unwrap(), [250], "the numbers go on");
}

#[tokio::test]
async fn a_device_that_is_not_waited_for_any_longer_keeps_nothing() {
    for (expires, left) in [(NOW - 1, 5), (NOW, 5), (NOW + 1, 2)] {
        let tables = filled(5).await;
        remember(&tables, "lost", 1, expires);
        ack(&*tables, &ann(), "phone", 4, NOW).await.unwrap();
        assert_eq!(seqs(&tables).await, (left..=5).collect::<Vec<_>>(), "{expires}");
    }
    let tables = filled(5).await;
    let eternal = Item::new().with(device::CURSOR, 2);
    tables.apply(vec![Write::put(Table::Inbox, device_key(&ann(), "old"), eternal)]).unwrap();
    ack(&*tables, &ann(), "phone", 4, NOW).await.unwrap();
    assert_eq!(seqs(&tables).await, [3, 4, 5], "one without an end is waited for");
}

#[tokio::test]
async fn with_more_devices_than_are_read_nothing_is_removed() {
    let tables = filled(5).await;
    for n in 0..1000 {
        remember(&tables, &n.to_string(), 5, NOW + KEPT_S);
    }
    ack(&*tables, &ann(), "phone", 5, NOW).await.unwrap();
    assert_eq!(seqs(&tables).await.len(), 5);
}
