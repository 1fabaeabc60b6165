//! Which values are stored, which tables are opened, and what is billed.

use serde_json::{Value, json};
use soundoff_aws::dynamodb::{DynamoTables, provision};
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::telemetry::{BillLabel, Metrics};

use crate::engine::{ENGINES, EXACT, LOCAL, MINISTACK};

const T: Table = Table::Entities;

fn key(sk: &str) -> Key {
    Key::new("p", sk)
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn values_come_back_equal() {
    let values = json!({
        "most": u64::MAX, "more": i64::MAX, "least": i64::MIN, "zero": 0, "half": 1.5, "whole": 1.0, "tiny": 1e-100,
        "large": 1.234_567_890_123_456_7e100, "third": 1.0 / 3.0, "minus": -0.1, "none": null, "empty": "",
        "text": "é\u{1F600}\u{1}", "yes": true, "list": [1, 1.0, "1", [], {}, null], "map": {"pk": 1, "a": {"b": [null]}},
        "pk": "p", "sk": 2, "~pk": 3, "~": 5, "~~": 6, "name": 7, "status": 8, "with space": 9, "a.b": 10, "#x": 11, ":v": 12,
    });
    let Value::Object(map) = values else { panic!("an object") };
    let names: Vec<String> = map.keys().cloned().collect();
    let item = Item(map);
    for engine in ENGINES {
        let tables = engine.start().await.tables(&Metrics::new()).await;
        tables.write(vec![Write::put(T, key("a"), item.clone())]).await.unwrap();
        assert_eq!(tables.get(T, key("a")).await.unwrap().as_ref(), Some(&item), "by get");
        let page = tables.query(Query::prefix(T, "p", "", 10)).await.unwrap();
        assert_eq!(page.items, [("a".to_owned(), item.clone())], "by query");
        let scanned = tables.scan(T, 0, 1, None, 10).await.unwrap();
        assert_eq!(scanned, [(key("a"), item.clone())], "by scan");
        // Each value: as a condition, and set by an update.
        for name in &names {
            let name: &'static str = name.clone().leak();
            let value = item.get(name).unwrap().clone();
            let set = Write::update(T, key("b"), vec![Change::Set(name, value.clone())]);
            tables.write(vec![set.when(Condition::Absent(name))]).await.unwrap();
            for sk in ["a", "b"] {
                let equal = Condition::Equals(name, value.clone());
                let touch = Write::update(T, key(sk), vec![Change::Remove("nothing")]);
                tables.write(vec![touch.when(equal)]).await.unwrap_or_else(|e| panic!("{name} on {sk}: {e}"));
            }
        }
        let both = [(T, key("b")), (T, key("a"))];
        assert_eq!(tables.get_many(&both).await.unwrap(), [Some(item.clone()), Some(item.clone())]);
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn sums_that_do_not_fit_are_refused() {
    for engine in EXACT {
        let tables = engine.start().await.tables(&Metrics::new()).await;
        let (most, least) = (json!(u64::MAX), json!(i64::MIN));
        let odd = Item::new().with("most", most).with("least", least).with("text", "3").with("whole", 2.0);
        let odd = odd.with("none", Value::Null).with("minus", -1);
        tables.write(vec![Write::put(T, key("s"), odd.clone())]).await.unwrap();
        let other = || Write::put(T, key("other"), Item::new());
        for (name, delta) in
            [("most", 1), ("least", -1), ("least", i64::MIN), ("text", 1), ("whole", 1), ("none", 1)]
        {
            let add = || Write::update(T, key("s"), vec![Change::Add(name, delta)]);
            for writes in [vec![add()], vec![other(), add()], vec![add().when(Condition::Exists)]] {
                let refused = tables.write(writes).await;
                assert!(matches!(refused, Err(TableError::Invalid(_))), "{name}: {refused:?}");
            }
            let otherwise = tables.write(vec![add().when(Condition::Missing)]).await;
            assert_eq!(otherwise, Err(TableError::ConditionFailed { index: 0 }), "{name}");
            assert_eq!(tables.get(T, key("s")).await.unwrap().as_ref(), Some(&odd));
            assert_eq!(tables.get(T, key("other")).await, Ok(None));
        }
        let fitting = ["most", "least", "minus"].into_iter().zip([-1, 1, i64::MAX]);
        let changes = fitting.map(|(name, delta)| Change::Add(name, delta)).collect();
        tables.write(vec![Write::update(T, key("s"), changes)]).await.unwrap();
        let item = tables.get(T, key("s")).await.unwrap().unwrap();
        assert_eq!(item.get("most"), Some(&json!(u64::MAX - 1)));
        assert_eq!(item.get("least"), Some(&json!(i64::MIN + 1)));
        assert_eq!(item.get("minus"), Some(&json!(i64::MAX - 1)));
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn an_update_that_only_removes_makes_the_item() {
    for engine in ENGINES {
        let tables = engine.start().await.tables(&Metrics::new()).await;
        for (sk, changes) in [("a", vec![]), ("b", vec![Change::Remove("x")])] {
            tables.write(vec![Write::update(T, key(sk), changes.clone())]).await.unwrap();
            let both = vec![Write::update(T, key(&format!("{sk}2")), changes), Write::delete(T, key("none"))];
            tables.write(both).await.unwrap();
            for sk in [sk.to_owned(), format!("{sk}2")] {
                assert_eq!(tables.get(T, key(&sk)).await, Ok(Some(Item::new())), "{sk}");
            }
        }
        assert_eq!(tables.write(vec![]).await, Ok(()));
        let vacuous = Write::check(T, key("c"), Condition::All(vec![Condition::Always]));
        let failing = Write::check(T, key("d"), Condition::Exists);
        let delete = Write::delete(T, key("a"));
        let refused = tables.write(vec![vacuous.clone(), delete, failing]).await;
        assert_eq!(
            refused,
            Err(TableError::ConditionFailed { index: 2 }),
            "a write that is not sent still counts"
        );
        let delete = Write::delete(T, key("d")).when(Condition::Exists);
        let refused = tables.write(vec![vacuous.clone(), delete]).await;
        assert_eq!(refused, Err(TableError::ConditionFailed { index: 1 }));
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn long_queries_and_batches_are_whole() {
    for engine in EXACT {
        let tables = engine.start().await.tables(&Metrics::new()).await;
        // 300 KB each: a page of a query ends after three, the answer to a batch after about fifty.
        let text = "x".repeat(300_000);
        let name = |n: usize| format!("{n:03}");
        for n in 0..70 {
            let item = Item::new().with("n", n).with("text", text.as_str());
            tables.write(vec![Write::put(T, key(&name(n)), item)]).await.unwrap();
        }
        let keys: Vec<_> = (0..140).map(|n| (T, key(&name(n / 2)))).collect();
        let items = tables.get_many(&keys).await.unwrap();
        for (n, item) in items.iter().enumerate() {
            assert_eq!(item.as_ref().and_then(|item| item.number("n")), Some(n as u64 / 2));
        }
        for (limit, more) in [(10, true), (69, true), (70, false), (71, false)] {
            for descending in [false, true] {
                let query = Query { descending, ..Query::prefix(T, "p", "", limit) };
                let page = tables.query(query).await.unwrap();
                let mut expected: Vec<_> = (0..70).map(name).collect();
                if descending {
                    expected.reverse();
                }
                expected.truncate(limit);
                let found: Vec<_> = page.items.into_iter().map(|(sk, _)| sk).collect();
                assert_eq!((found, page.more), (expected, more), "limit {limit}");
            }
        }
        let long = "é".repeat(512);
        tables.write(vec![Write::put(T, key(&long), Item::new())]).await.unwrap();
        for prefix in [&long[..1_022], &long, &format!("{long}é")] {
            let page = tables.query(Query::prefix(T, "p", prefix, 10)).await.unwrap();
            assert_eq!(page.items.len(), usize::from(prefix.len() <= long.len()), "{}", prefix.len());
        }
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn tables_are_made_once_and_missed_by_name() {
    for engine in ENGINES {
        let started = engine.start().await;
        let aws = started.aws(&Metrics::new()).await;
        let tables = started.tables(&Metrics::new()).await;
        tables.write(vec![Write::put(T, key("kept"), Item::new())]).await.unwrap();
        provision(&aws, &started.prefix).await.unwrap();
        assert_eq!(tables.get(T, key("kept")).await, Ok(Some(Item::new())), "existing items stay");
        let missing = DynamoTables::open(&aws, "elsewhere-").await.unwrap_err();
        let text = format!("{missing:#}");
        assert!(text.contains("elsewhere-") && text.contains("soundoff provision"), "{text}");
    }
}

/// What the meter billed since the last call: read units, write units.
struct Bill(Metrics, (f64, f64));

impl Bill {
    fn since(&mut self) -> (f64, f64) {
        let billed = |unit| self.0.bill.units.get_or_create(&BillLabel { service: "dynamodb", unit }).get();
        let now = (billed("read_unit"), billed("write_unit"));
        let before = std::mem::replace(&mut self.1, now);
        (now.0 - before.0, now.1 - before.1)
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn requests_are_billed() {
    // MiniStack counts any read as one.
    let metrics = Metrics::new();
    let tables = LOCAL.start().await.tables(&metrics).await;
    let mut bill = Bill(metrics, (0.0, 0.0));
    let large = Item::new().with("text", "x".repeat(5_000));
    tables.write(vec![Write::put(T, key("a"), large)]).await.unwrap();
    assert_eq!(bill.since(), (0.0, 5.0), "a put of 5 KB");
    tables.get(T, key("a")).await.unwrap();
    assert_eq!(bill.since(), (2.0, 0.0), "a strong read of 5 KB");
    tables.query(Query::prefix(T, "p", "", 10)).await.unwrap();
    assert_eq!(bill.since(), (2.0, 0.0), "a query");
    let put = || vec![Write::put(T, key("b"), Item::new()).when(Condition::Missing)];
    tables.write(put()).await.unwrap();
    assert_eq!(bill.since(), (0.0, 1.0), "a conditional put");
    tables.write(put()).await.unwrap_err();
    assert_eq!(bill.since(), (0.0, 1.0), "one that fails");
    tables.get_many(&[(T, key("a")), (T, key("b")), (T, key("a"))]).await.unwrap();
    assert_eq!(bill.since(), (3.0, 0.0), "each item by itself, and once");
    tables.write(vec![Write::check(T, key("b"), Condition::Exists)]).await.unwrap();
    assert_eq!(bill.since(), (1.0, 0.0), "a lone check is a read");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn transactions_are_billed_twice() {
    // DynamoDB Local counts them once.
    let metrics = Metrics::new();
    let tables = MINISTACK.start().await.tables(&metrics).await;
    let mut bill = Bill(metrics, (0.0, 0.0));
    let two = || ["c", "d"].map(|sk| Write::put(T, key(sk), Item::new()).when(Condition::Missing)).to_vec();
    tables.write(two()).await.unwrap();
    assert_eq!(bill.since(), (0.0, 4.0), "a transaction of two");
    tables.write(two()).await.unwrap_err();
    assert_eq!(bill.since(), (0.0, 4.0), "one that is cancelled");
    tables.write(vec![Write::update(T, key("n"), vec![Change::Add("n", 1)])]).await.unwrap();
    assert_eq!(bill.since(), (0.0, 2.0), "a lone addition is a transaction");
}
