use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Item, Key, Query, Table, TableError, Tables, Write};
use super::{Harness, get, numbered, partition, put};

const T: Table = Table::Relationships;

fn all(pk: &str) -> Query {
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    Query { table: T, pk: pk.to_owned(), from, to, descending: false, limit: 1_000 }
}

async fn sks(tables: &dyn Tables, query: Query) -> (Vec<String>, bool) {
    let page = tables.query(query).await.expect("a valid query is Ok");
    (page.items.into_iter().map(|(sk, _)| sk).collect(), page.more)
}

/// Law 3: a read that starts after a write has returned sees it, whichever way it reads.
pub async fn writes_are_seen_at_once(harness: &impl Harness) {
    let tables = harness.open().await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let tables = tables.clone();
        tasks.push(tokio::spawn(async move {
            let pk = partition("fresh");
            for n in 0..25 {
                put(&*tables, T, &pk, "one", numbered(n)).await;
                let read = get(&*tables, T, &pk, "one").await;
                assert_eq!(read, Some(numbered(n)), "law 3: get sees the write that answered");
                put(&*tables, T, &pk, &format!("row{n:02}"), numbered(n)).await;
                let page = tables.query(all(&pk).newest_first()).await.expect("a query is Ok");
                let newest = page.items.first().map(|(sk, _)| sk.clone());
                assert_eq!(newest, Some(format!("row{n:02}")), "law 3: query sees the write that answered");
            }
        }));
    }
    for task in tasks {
        task.await.expect("law 3 holds in every task");
    }
}

/// Any number of keys, found or not: one result each, in order.
pub async fn get_many_answers_in_order(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("many");
    for n in 0..150u64 {
        put(&*tables, T, &pk, &format!("{n}"), numbered(n)).await;
    }
    put(&*tables, Table::Inbox, &pk, "7", numbered(7_000)).await;
    // 450 keys, more than any engine takes at once: descending, every third missing, some repeated, two tables mixed.
    let mut keys = Vec::new();
    let mut expected = Vec::new();
    for n in (0..150u64).rev() {
        keys.push((T, Key::new(&*pk, format!("{n}"))));
        expected.push(Some(numbered(n)));
        keys.push((T, Key::new(&*pk, format!("missing{n}"))));
        expected.push(None);
        let table = if n % 2 == 0 { T } else { Table::Inbox };
        keys.push((table, Key::new(&*pk, "7")));
        expected.push(Some(if n % 2 == 0 { numbered(7) } else { numbered(7_000) }));
    }
    let answers = tables.get_many(&keys).await.expect("law 3: any number of keys is Ok");
    assert_eq!(answers.len(), keys.len(), "get_many answers once a key");
    for (place, (answer, expected)) in answers.into_iter().zip(expected).enumerate() {
        assert_eq!(answer, expected, "get_many answers in order: key {place}");
    }
    assert_eq!(tables.get_many(&[]).await, Ok(vec![]), "get_many of nothing answers nothing");
}

/// Law 5: order is by the bytes of `sk`, not by numbers, letters or language.
pub async fn query_orders_by_bytes(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("order");
    let mut ordered = vec![
        " ",
        "!",
        "#",
        "-1",
        "0",
        "00",
        "10",
        "2",
        "9",
        "A",
        "Z",
        "_",
        "a",
        "a#",
        "aa",
        "ab",
        "b",
        "z",
        "~",
        "~~",
        "\u{7f}",
        "é",
        "ü",
        "€",
        "日",
        "\u{ffff}",
        "\u{10000}",
        "😀",
    ];
    for (n, sk) in ordered.iter().rev().enumerate() {
        put(&*tables, T, &pk, sk, numbered(n as u64)).await;
    }
    let (rising, _) = sks(&*tables, all(&pk)).await;
    assert_eq!(rising, ordered, "law 5: query rises by the bytes of sk");
    ordered.reverse();
    let (falling, _) = sks(&*tables, all(&pk).newest_first()).await;
    assert_eq!(falling, ordered, "law 5: newest first is the exact reverse");
}

/// Law 5: each kind of bound, alone and together, and limits at, below and above what is there.
pub async fn query_bounds_and_limits(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("bounds");
    for sk in ["a1", "a2", "a3", "b", "b1", "b2", "c"] {
        put(&*tables, T, &pk, sk, numbered(1)).await;
    }
    let prefix = |text: &str| Query::prefix(T, &*pk, text, 1_000);
    let between = |from: Bound<&str>, to: Bound<&str>| Query {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        ..all(&pk)
    };
    use Bound::{Excluded, Included, Unbounded};
    let cases = [
        ("all", all(&pk), vec!["a1", "a2", "a3", "b", "b1", "b2", "c"]),
        ("prefix a", prefix("a"), vec!["a1", "a2", "a3"]),
        ("prefix b, itself included", prefix("b"), vec!["b", "b1", "b2"]),
        ("prefix of nothing", prefix("x"), vec![]),
        ("above", prefix("a").above("a1"), vec!["a2", "a3"]),
        ("below", prefix("a").below("a3"), vec!["a1", "a2"]),
        ("above and below", prefix("a").above("a1").below("a3"), vec!["a2"]),
        ("above what is not there", all(&pk).above("a22"), vec!["a3", "b", "b1", "b2", "c"]),
        ("included on both sides", between(Included("a3"), Included("b1")), vec!["a3", "b", "b1"]),
        ("excluded on both sides", between(Excluded("a3"), Excluded("b1")), vec!["b"]),
        ("from", between(Included("b2"), Unbounded), vec!["b2", "c"]),
        ("up to", between(Unbounded, Included("a2")), vec!["a1", "a2"]),
        ("one item", between(Included("b"), Included("b")), vec!["b"]),
        ("an empty range", between(Included("b"), Excluded("b")), vec![]),
        ("nothing between neighbours", between(Excluded("a1"), Excluded("a2")), vec![]),
        ("a range upside down", between(Included("c"), Included("a1")), vec![]),
    ];
    for (what, query, mut expected) in cases {
        for descending in [false, true] {
            let query = Query { descending, ..query.clone() };
            assert_eq!(sks(&*tables, query).await.0, expected, "law 5: {what}, descending {descending}");
            expected.reverse();
        }
    }
    for (limit, more) in [(1, true), (2, true), (3, false), (4, false)] {
        let page = sks(&*tables, Query { limit, ..prefix("a") }).await;
        let expected: Vec<_> = ["a1", "a2", "a3"].into_iter().take(limit).map(str::to_owned).collect();
        assert_eq!(page, (expected, more), "law 5: limit {limit} of three, and whether there is more");
        let page = sks(&*tables, Query { limit, ..prefix("a").newest_first() }).await;
        let expected: Vec<_> = ["a3", "a2", "a1"].into_iter().take(limit).map(str::to_owned).collect();
        assert_eq!(page, (expected, more), "law 5: limit {limit} of three from the top");
    }
}

/// Law 5: a partition whose name starts with another's, or would sort into it, is another.
pub async fn partitions_are_apart(harness: &impl Harness) {
    let tables = harness.open().await;
    let base = partition("apart");
    let partitions = ["", "a", "aa", "#", " ", "\u{1}", "~", "é"].map(|end| format!("{base}{end}"));
    for (n, pk) in partitions.iter().enumerate() {
        for sk in ["\u{1}", "a", "\u{10FFFF}"] {
            put(&*tables, T, pk, sk, numbered(n as u64)).await;
        }
        put(&*tables, Table::Inbox, pk, "elsewhere", numbered(99)).await;
    }
    for (n, pk) in partitions.iter().enumerate() {
        for query in [all(pk), all(pk).newest_first()] {
            let page = tables.query(query).await.expect("a query is Ok");
            assert_eq!(page.items.len(), 3, "law 5: {pk:?} has its three items and no other's");
            let own = page.items.iter().all(|(_, item)| *item == numbered(n as u64));
            assert!(own, "law 5: what {pk:?} answers is its own");
        }
    }
    let nobody = format!("{base}nobody");
    assert_eq!(sks(&*tables, all(&nobody)).await, (vec![], false), "law 5: no such partition, no items");
}

/// Law 4, for reads.
pub async fn reads_refuse_invalid_calls(harness: &impl Harness) {
    let tables = harness.open().await;
    for limit in [0, 1_001] {
        let result = tables.query(Query { limit, ..all("p") }).await;
        assert!(matches!(result, Err(TableError::Invalid(_))), "law 4: limit {limit} is Invalid: {result:?}");
    }
    let result = tables.query(all("")).await;
    assert!(matches!(result, Err(TableError::Invalid(_))), "law 4: an empty pk is Invalid: {result:?}");
    let result = tables.get(T, Key::new("p", "a\0b")).await;
    assert!(matches!(result, Err(TableError::Invalid(_))), "law 4: a NUL is Invalid: {result:?}");
    for (segment, segments, limit) in [(1, 1, 10), (0, 0, 10), (0, 1, 0)] {
        let result = tables.scan(T, segment, segments, None, limit).await;
        let refused = matches!(result, Err(TableError::Invalid(_)));
        assert!(refused, "law 4: segment {segment} of {segments}, limit {limit} is Invalid");
    }
}

/// Law 6: the parts together hold every item that was there throughout, once, while others come and go.
pub async fn scan_answers_everything_once(harness: &impl Harness) {
    let tables = harness.open().await;
    let base = partition("scan");
    let mut expected = Vec::new();
    for n in 0..300u64 {
        // Partitions of one item, of a few, and one of many: parts may be cut anywhere.
        let pk = format!("{base}-{}", if n < 100 { n } else { n % 7 });
        let key = Key::new(if n > 250 { base.clone() } else { pk }, format!("s{n:03}"));
        tables.write(vec![Write::put(T, key.clone(), numbered(n))]).await.expect("a put is Ok");
        expected.push((key, numbered(n)));
    }
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let rounds = Arc::new(AtomicU64::new(0));
    let noise = tokio::spawn(churn(tables.clone(), format!("{base}-noise"), rounds.clone()));
    for (segments, limit) in [(1, 7), (7, 13), (1, 10_000), (7, 1)] {
        loop {
            let begun = rounds.load(Ordering::Relaxed);
            let mut found = everything(&*tables, segments, limit).await;
            // The table may be shared, and the noise is not ours to judge.
            found.retain(|(key, _)| key.pk.starts_with(&base) && !key.pk.contains("noise"));
            found.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(found.len(), expected.len(), "law 6: {segments} parts answer every item once");
            assert!(found == expected, "law 6: {segments} parts answer the items as they are");
            assert!(!noise.is_finished(), "the noise goes on");
            // A scan that was over before an item came or went shows nothing: it is done again.
            if rounds.load(Ordering::Relaxed) > begun {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    noise.abort();
}

/// All items, one segment after the other, `limit` a page.
async fn everything(tables: &dyn Tables, segments: u32, limit: usize) -> Vec<(Key, Item)> {
    let mut found = Vec::new();
    for segment in 0..segments {
        let mut after = None;
        loop {
            let scan = tables.scan(T, segment, segments, after.clone(), limit);
            let page = scan.await.expect("law 6: a scan is Ok");
            assert!(page.len() <= limit, "law 6: a page holds at most its limit");
            let again = after.as_ref().is_some_and(|after| page.iter().any(|(key, _)| key == after));
            assert!(!again, "law 6: a page goes on after the last one's end, not at it");
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page);
        }
    }
    found
}

/// Makes and deletes items until it is aborted, and counts it. There are at most a hundred at a time: a scan of a fast
/// engine, one item a page, would otherwise follow a table that grows as fast as it reads.
async fn churn(tables: Arc<dyn Tables>, pk: String, rounds: Arc<AtomicU64>) {
    const ITEMS: u64 = 100;
    for round in 0.. {
        let n = round % ITEMS;
        let key = Key::new(format!("{pk}{}", n % 50), format!("{n}"));
        let deletes = (round / ITEMS) % 2 == 1;
        let write = if deletes { Write::delete(T, key) } else { Write::put(T, key, numbered(round)) };
        tables.write(vec![write]).await.expect("a put or a delete is Ok");
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}
