//! An engine that is overloaded, leaves keys unprocessed, or whose answers are lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soundoff_aws::dynamodb::DynamoTables;
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::telemetry::Metrics;

use crate::engine::{ENGINES, EXACT, Engine, LOCAL, MOTO};
use crate::proxy::{Fault, Proxy};

const T: Table = Table::Entities;

async fn through_a_proxy(engine: Engine) -> (Arc<DynamoTables>, Proxy) {
    let proxy = Proxy::before(&engine.endpoint()).await;
    let tables = engine.start().await.by_way_of(proxy.endpoint.clone()).tables(&Metrics::new()).await;
    (tables, proxy)
}

fn key(sk: &str) -> Key {
    Key::new("p", sk)
}

fn numbered(n: u64) -> Item {
    Item::new().with("n", n)
}

fn add(sk: &str) -> Write {
    Write::update(T, key(sk), vec![Change::Add("n", 1)])
}

async fn number(tables: &DynamoTables, sk: &str) -> Option<u64> {
    tables.get(T, key(sk)).await.unwrap().and_then(|item| item.number("n"))
}

fn unavailable<V: std::fmt::Debug>(result: &Result<V, TableError>) -> bool {
    matches!(result, Err(TableError::Unavailable(why)) if why.starts_with("dynamodb: "))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_throttled_engine_loses_nothing() {
    for &engine in EXACT {
        let (tables, proxy) = through_a_proxy(engine).await;
        let busy = || vec![Fault::Throttle; 4];
        for action in ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "BatchGetItem", "Query", "Scan"] {
            proxy.next(action, busy());
        }
        proxy.next(
            "TransactWriteItems",
            [Fault::Throttle, Fault::CancelBusy, Fault::Throttle, Fault::CancelBusy],
        );
        let put = Write::put(T, key("a"), numbered(1));
        tables.write(vec![put.clone().when(Condition::Missing)]).await.unwrap();
        tables.write(vec![Write::put(T, key("b"), numbered(2)), add("a")]).await.unwrap();
        let set = Write::update(T, key("b"), vec![Change::Set("n", 5.into())]);
        tables.write(vec![set.when(Condition::Equals("n", 2.into()))]).await.unwrap();
        tables.write(vec![Write::delete(T, key("none"))]).await.unwrap();
        assert_eq!(number(&tables, "a").await, Some(2));
        let both = tables.get_many(&[(T, key("b")), (T, key("a"))]).await;
        assert_eq!(both, Ok(vec![Some(numbered(5)), Some(numbered(2))]));
        let page = tables.query(Query::prefix(T, "p", "", 10)).await.unwrap();
        assert_eq!(page.items.len(), 2);
        assert_eq!(tables.scan(T, 0, 1, None, 10).await.unwrap().len(), 2);
        for action in ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "BatchGetItem", "Query", "Scan"] {
            assert_eq!(proxy.seen(action), 5, "{action}: four refusals and the answer");
        }
        assert_eq!(proxy.seen("TransactWriteItems"), 5);
        assert_eq!(proxy.weak(), 0, "all reads are strongly consistent");
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn an_engine_that_stays_throttled_is_given_up_on() {
    let (tables, proxy) = through_a_proxy(LOCAL).await;
    for (action, fault) in [
        ("PutItem", Fault::Throttle),
        ("BatchGetItem", Fault::Unprocessed(0)),
        ("TransactWriteItems", Fault::CancelBusy),
    ] {
        proxy.always(action, fault);
        let begin = Instant::now();
        let refused = match action {
            "PutItem" => unavailable(&tables.write(vec![Write::put(T, key("a"), numbered(1))]).await),
            "BatchGetItem" => unavailable(&tables.get_many(&[(T, key("a")), (T, key("b"))]).await),
            _ => unavailable(&tables.write(vec![add("a"), add("b")]).await),
        };
        assert!(refused, "{action}: it is said to be unavailable");
        assert_eq!(proxy.seen(action), 9, "{action}: retries are bounded");
        assert!(begin.elapsed() < Duration::from_secs(10), "{action}: so is their time");
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn keys_left_unprocessed_are_asked_for_again() {
    for &engine in EXACT {
        let (tables, proxy) = through_a_proxy(engine).await;
        let writes =
            |table| (0..80).map(move |n| Write::put(table, key(&n.to_string()), numbered(n))).collect();
        for table in [T, Table::Inbox] {
            tables.write(writes(table)).await.unwrap();
        }
        let key_of =
            |n: u64| ([T, Table::Inbox][usize::from(n.is_multiple_of(3))], key(&(n / 2).to_string()));
        let keys: Vec<_> = (0..250).map(key_of).collect();
        // Three batches in parallel: some process a few keys, some none.
        let some = [0, 1, 30, 0, 0, 7, 60, 99, 0, 1, 2, 3].map(Fault::Unprocessed);
        proxy.next("BatchGetItem", some);
        let items = tables.get_many(&keys).await.unwrap();
        for (n, item) in (0..).zip(items) {
            let expected = (n / 2 < 80).then(|| numbered(n / 2));
            assert_eq!(item, expected, "key {n} of 250");
        }
        assert!(proxy.seen("BatchGetItem") >= 12, "the faults had their effect");
        assert_eq!(proxy.weak(), 0, "all reads are strongly consistent");
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_transaction_whose_answer_is_lost_happens_once() {
    for &engine in EXACT {
        let (tables, proxy) = through_a_proxy(engine).await;
        tables.write(vec![Write::put(T, key("a"), numbered(0))]).await.unwrap();
        for (round, fault) in (1..).zip([Fault::LoseAnswer, Fault::BreakAnswer]) {
            proxy.next("TransactWriteItems", [fault.clone(), fault.clone()]);
            let sk = format!("new{round}");
            let new = Write::put(T, key(&sk), numbered(1)).when(Condition::Missing);
            assert_eq!(tables.write(vec![new, add("a")]).await, Ok(()), "its own effect does not fail it");
            assert_eq!(number(&tables, "a").await, Some(round), "it happened once");
            assert_eq!(proxy.seen("TransactWriteItems"), 3, "and was sent three times");
            proxy.next("TransactWriteItems", [fault]);
            let lone = format!("lone{round}");
            assert_eq!(tables.write(vec![add(&lone)]).await, Ok(()));
            assert_eq!(number(&tables, &lone).await, Some(1), "so does a lone addition");
            assert_eq!(proxy.seen("TransactWriteItems"), 2);
        }
    }
}

/// moto does not know tokens. When this test fails, it has learned them, and belongs to the engines above.
#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn moto_does_a_transaction_twice() {
    let (tables, proxy) = through_a_proxy(MOTO).await;
    proxy.next("TransactWriteItems", [Fault::LoseAnswer]);
    assert_eq!(tables.write(vec![add("a")]).await, Ok(()));
    assert_eq!(number(&tables, "a").await, Some(2));
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_lone_conditional_write_never_fails_by_its_own_effect() {
    for &engine in ENGINES {
        let (tables, proxy) = through_a_proxy(engine).await;
        for (sk, fault) in [("a", Fault::LoseAnswer), ("b", Fault::BreakAnswer)] {
            proxy.next("PutItem", [fault.clone()]);
            let put = || vec![Write::put(T, key(sk), numbered(1)).when(Condition::Missing)];
            let lost = tables.write(put()).await;
            assert!(unavailable(&lost), "nobody knows: {lost:?}");
            assert_eq!(proxy.seen("PutItem"), 1, "so it is not made again");
            assert_eq!(number(&tables, sk).await, Some(1));
            let again = tables.write(put()).await;
            assert_eq!(again, Err(TableError::ConditionFailed { index: 0 }), "the caller decides again");
            proxy.seen("PutItem");
            // Writes that have the same effect twice are made again.
            proxy.next("PutItem", [fault.clone(), fault.clone()]);
            tables.write(vec![Write::put(T, key(sk), numbered(2))]).await.unwrap();
            assert_eq!((number(&tables, sk).await, proxy.seen("PutItem")), (Some(2), 3));
            proxy.next("GetItem", [fault.clone()]);
            assert_eq!(number(&tables, sk).await, Some(2), "so is a read");
        }
    }
}
