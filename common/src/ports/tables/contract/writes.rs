use std::sync::Arc;

use serde_json::json;

use super::super::{
    Action, Change, Condition, EXPIRES, Item, Key, MAX_WRITES, Table, TableError, Tables, Write,
};
use super::{Harness, get, numbered, partition, put};

const T: Table = Table::Entities;

/// Law 1: what was written is there after a restart.
pub async fn survives_reopening(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("durable");
    for table in Table::ALL {
        put(&*tables, table, &pk, "kept", numbered(1)).await;
        put(&*tables, table, &pk, "gone", numbered(2)).await;
        let delete = Write::delete(table, Key::new(&*pk, "gone"));
        tables.write(vec![delete]).await.expect("law 1: a delete is Ok");
    }
    let tables = harness.reopen(tables).await;
    for table in Table::ALL {
        let kept = get(&*tables, table, &pk, "kept").await;
        assert_eq!(kept, Some(numbered(1)), "law 1: {table:?} keeps what was written across a restart");
        let gone = get(&*tables, table, &pk, "gone").await;
        assert_eq!(gone, None, "law 1: {table:?} keeps a delete across a restart");
    }
}

/// Laws 1 and 2: increments from many tasks all count, each once.
pub async fn increments_add_up(harness: &impl Harness) {
    let tables = harness.open().await;
    let key = Key::new(partition("counter"), "c");
    let mut tasks = Vec::new();
    for _ in 0..32 {
        let (tables, key) = (tables.clone(), key.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                let add = Write::update(T, key.clone(), vec![Change::Add("n", 1), Change::Add("twice", 2)]);
                retrying(&*tables, vec![add]).await.expect("law 1: an increment is Ok");
            }
        }));
    }
    for task in tasks {
        task.await.expect("the task ran");
    }
    let item = tables.get(T, key).await.expect("readable").expect("law 1: the item is there");
    assert_eq!(item.number("n"), Some(640), "law 1: 32 tasks of 20 increments add up exactly");
    assert_eq!(item.number("twice"), Some(1_280), "law 1: both changes of one update are made together");
}

/// Engines may call two transactions at one item a conflict: nothing was written, so it is tried again.
async fn retrying(tables: &dyn Tables, writes: Vec<Write>) -> Result<(), TableError> {
    loop {
        match tables.write(writes.clone()).await {
            Err(TableError::Conflict) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// Law 2: of many who expect the same state, one wins.
pub async fn compare_and_set_has_one_winner(harness: &impl Harness) {
    let tables = harness.open().await;
    let key = Key::new(partition("versions"), "v");
    put(&*tables, T, &key.pk, "v", Item::new().with("version", 0)).await;
    for version in 0..10u64 {
        let mut tasks = Vec::new();
        for task in 0..16u64 {
            let (tables, key) = (tables.clone(), key.clone());
            tasks.push(tokio::spawn(async move {
                let changes =
                    vec![Change::Set("version", json!(version + 1)), Change::Set("by", json!(task))];
                let expected = Condition::Equals("version", json!(version));
                let write = Write::update(T, key, changes).when(expected);
                (task, retrying(&*tables, vec![write]).await)
            }));
        }
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.expect("the task ran") {
                (task, Ok(())) => winners.push(task),
                (_, Err(TableError::ConditionFailed { index: 0 })) => {}
                (_, other) => panic!("law 2: a loser's condition fails, not {other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "law 2: version {version} has one winner, not {winners:?}");
        let item = get(&*tables, T, &key.pk, "v").await.expect("law 2: the item is there");
        assert_eq!(item.number("version"), Some(version + 1), "law 2: the version rose by one");
        assert_eq!(item.number("by"), winners.first().copied(), "law 2: what is stored is the winner's");
    }
}

/// Law 1: a condition that fails, at whichever place, leaves nothing of the transaction behind.
pub async fn transactions_are_all_or_nothing(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("atomic");
    let count = 7;
    let key = |n: usize| Key::new(&*pk, format!("i{n}"));
    for n in 0..count {
        put(&*tables, T, &pk, &format!("i{n}"), numbered(0)).await;
    }
    let actions = |n: usize| match n % 3 {
        0 => Action::Put(numbered(9)),
        1 => Action::Update(vec![Change::Add("n", 5)]),
        _ => Action::Delete,
    };
    for failing in 0..count {
        let write = |n| {
            let expected = if n == failing { Condition::Missing } else { Condition::Exists };
            Write { table: T, key: key(n), action: actions(n), condition: expected }
        };
        let result = tables.write((0..count).map(write).collect()).await;
        let expected = Err(TableError::ConditionFailed { index: failing });
        assert_eq!(result, expected, "law 2: the failed condition is named by its index");
        for n in 0..count {
            let item = get(&*tables, T, &pk, &format!("i{n}")).await;
            assert_eq!(
                item,
                Some(numbered(0)),
                "law 1: condition {failing} failed, so item {n} is untouched"
            );
        }
    }
    let first_of_two =
        (0..3).map(|n| Write::check(T, key(n), if n == 0 { Condition::Exists } else { Condition::Missing }));
    let result = tables.write(first_of_two.collect()).await;
    assert_eq!(result, Err(TableError::ConditionFailed { index: 1 }), "law 2: the first failed one is named");
    let all =
        (0..count).map(|n| Write { table: T, key: key(n), action: actions(n), condition: Condition::Exists });
    tables.write(all.collect()).await.expect("law 1: all conditions hold");
    for n in 0..count {
        let expected = [Some(numbered(9)), Some(numbered(5)), None][n % 3].clone();
        assert_eq!(get(&*tables, T, &pk, &format!("i{n}")).await, expected, "law 1: all of it is done");
    }
    across_tables(&*tables, &pk).await;
}

async fn across_tables(tables: &dyn Tables, pk: &str) {
    let write = |table| Write::put(table, Key::new(pk, "x"), numbered(1)).when(Condition::Missing);
    put(tables, Table::Dedupe, pk, "x", numbered(0)).await;
    let result = tables.write(Table::ALL.map(write).to_vec()).await;
    assert_eq!(
        result,
        Err(TableError::ConditionFailed { index: Table::ALL.len() - 1 }),
        "law 1: tables share a transaction"
    );
    assert_eq!(get(tables, Table::Inbox, pk, "x").await, None, "law 1: no table keeps a part");
    let most: Vec<_> =
        (0..MAX_WRITES).map(|n| Write::put(T, Key::new(pk, format!("most{n:03}")), numbered(1))).collect();
    tables.write(most).await.expect("law 4: as many writes as allowed are Ok");
    let last = get(tables, T, pk, "most099").await;
    assert_eq!(last, Some(numbered(1)), "law 1: a transaction of the most writes is done");
}

/// Law 2: every kind of condition, on an item that is there and on one that is not.
pub async fn conditions_hold_as_they_say(harness: &impl Harness) {
    use Condition::{Absent, All, Always, Below, Equals, Exists, Missing};
    let tables = harness.open().await;
    let pk = partition("conditions");
    let item = Item::new().with("n", 3).with("text", "x").with("yes", true).with("list", json!([1, 2]));
    put(&*tables, T, &pk, "there", item).await;
    // The condition, whether it holds on the item, and whether it holds where there is none.
    let cases = [
        (Always, true, true),
        (Exists, true, false),
        (Missing, false, true),
        (Equals("n", json!(3)), true, false),
        (Equals("n", json!(4)), false, false),
        (Equals("n", json!("3")), false, false),
        (Equals("text", json!("x")), true, false),
        (Equals("yes", json!(true)), true, false),
        (Equals("yes", json!("true")), false, false),
        (Equals("list", json!([1, 2])), true, false),
        (Equals("list", json!([2, 1])), false, false),
        (Equals("other", json!(1)), false, false),
        (Absent("other"), true, true),
        (Absent("n"), false, true),
        (Below("n", 4), true, true),
        (Below("n", 3), false, true),
        (Below("text", 4), false, true),
        (Below("yes", 4), false, true),
        (Below("other", 0), true, true),
        (All(vec![]), true, true),
        (All(vec![Exists, Equals("n", json!(3))]), true, false),
        (All(vec![Exists, Equals("n", json!(4))]), false, false),
        (All(vec![Equals("n", json!(4)), Exists]), false, false),
        (All(vec![Absent("other"), All(vec![Absent("n")])]), false, true),
    ];
    for (condition, on_item, on_none) in cases {
        for (sk, holds) in [("there", on_item), ("nowhere", on_none)] {
            let check = Write::check(T, Key::new(&*pk, sk), condition.clone());
            let expected = if holds { Ok(()) } else { Err(TableError::ConditionFailed { index: 0 }) };
            assert_eq!(tables.write(vec![check]).await, expected, "law 2: {condition:?} on {sk}");
        }
    }
    assert_eq!(get(&*tables, T, &pk, "nowhere").await, None, "law 2: a check makes no item");
}

/// Law 1: each change alters its attribute and no other; an update makes an item that is not there.
pub async fn changes_do_what_they_say(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("changes");
    put(&*tables, T, &pk, "a", Item::new().with("n", 10).with("old", "x").with("same", "é\u{1F600}")).await;
    let changes = vec![
        Change::Add("n", -4),
        Change::Add("fresh", -2),
        Change::Remove("old"),
        Change::Remove("never"),
        Change::Set("list", json!(["x", {"y": true}])),
        Change::Set("empty", json!("")),
    ];
    let expected = Item::new()
        .with("n", 6)
        .with("fresh", -2)
        .with("same", "é\u{1F600}")
        .with("list", json!(["x", {"y": true}]))
        .with("empty", "");
    tables.write(vec![Write::update(T, Key::new(&*pk, "a"), changes)]).await.expect("law 1: an update is Ok");
    assert_eq!(
        get(&*tables, T, &pk, "a").await,
        Some(expected),
        "law 1: each change is made, all else stays"
    );

    let made = vec![Write::update(T, Key::new(&*pk, "made"), vec![Change::Add("n", 2)])];
    tables.write(made).await.expect("law 1: an update of nothing is Ok");
    assert_eq!(get(&*tables, T, &pk, "made").await, Some(numbered(2)), "law 1: an update makes the item");
    put(&*tables, T, &pk, "a", numbered(1)).await;
    assert_eq!(get(&*tables, T, &pk, "a").await, Some(numbered(1)), "law 1: a put replaces the whole item");
    let nothing = vec![Write::delete(T, Key::new(&*pk, "nothing"))];
    assert_eq!(tables.write(nothing).await, Ok(()), "law 1: deleting nothing is Ok");
}

/// Law 4: what breaks the rules is refused as such, and nothing of it is done.
pub async fn invalid_writes_change_nothing(harness: &impl Harness) {
    let tables = harness.open().await;
    let pk = partition("invalid");
    put(&*tables, T, &pk, "text", Item::new().with("n", "three").with("half", 1.5)).await;
    let good = || Write::put(T, Key::new(&*pk, "good"), numbered(1));
    let other = |pk: &str, sk: &str| Write::put(T, Key::new(pk, sk), numbered(1));
    let long = "k".repeat(1_025);
    let too_many = (0..=MAX_WRITES).map(|n| other(&pk, &format!("many{n}"))).collect();
    let large = Write::put(T, Key::new(&*pk, "large"), Item::new().with("a", "x".repeat(500_000)));
    let grown = Write::update(T, Key::new(&*pk, "text"), vec![Change::Set("a", json!("x".repeat(500_000)))]);
    let add = |attribute| Write::update(T, Key::new(&*pk, "text"), vec![Change::Add(attribute, 1)]);
    let cases = [
        ("101 writes", too_many),
        ("two writes on one item", vec![good(), Write::check(T, Key::new(&*pk, "good"), Condition::Always)]),
        ("an empty pk", vec![good(), other("", "sk")]),
        ("an empty sk", vec![good(), other(&pk, "")]),
        ("a NUL in the pk", vec![good(), other("a\0b", "sk")]),
        ("a NUL in the sk", vec![good(), other(&pk, "a\0b")]),
        ("a long pk", vec![good(), other(&long, "sk")]),
        ("a long sk", vec![good(), other(&pk, &long)]),
        ("an item over 400 KB", vec![good(), large]),
        ("an item grown over 400 KB", vec![good(), grown]),
        ("adding to a text", vec![good(), add("n")]),
        ("adding to a fraction", vec![good(), add("half")]),
    ];
    for (what, writes) in cases {
        let result = tables.write(writes).await;
        assert!(matches!(result, Err(TableError::Invalid(_))), "law 4: {what} is Invalid, not {result:?}");
        assert_eq!(get(&*tables, T, &pk, "good").await, None, "law 4: {what} changes nothing");
    }
    let text = get(&*tables, T, &pk, "text").await.expect("there");
    assert_eq!(text.text("n"), Some("three"), "law 4: a refused change changes nothing");
    let longest = "k".repeat(1_024);
    put(&*tables, T, &pk, &longest, Item::new().with("a", "x".repeat(380_000))).await;
    let large = get(&*tables, T, &pk, &longest).await.and_then(|i| i.text("a").map(str::len));
    assert_eq!(large, Some(380_000), "law 4: the longest key and a large item are valid");
    let two_tables = [T, Table::Inbox].map(|t| Write::put(t, Key::new(&*pk, "both"), numbered(1)));
    assert_eq!(tables.write(two_tables.to_vec()).await, Ok(()), "law 4: one key in two tables is two items");
}

/// An item whose time has not come is never removed. Nothing is said about when an expired one goes: engines take days.
pub async fn unexpired_items_stay(harness: &impl Harness) {
    let tables: Arc<dyn Tables> = harness.open().await;
    let pk = partition("expiry");
    let year_2100 = 4_102_444_800u64;
    put(&*tables, T, &pk, "later", numbered(1).with(EXPIRES, year_2100)).await;
    put(&*tables, T, &pk, "odd", numbered(2).with(EXPIRES, "soon")).await;
    let tables = harness.reopen(tables).await;
    let later = get(&*tables, T, &pk, "later").await;
    assert_eq!(later, Some(numbered(1).with(EXPIRES, year_2100)), "law 1: an unexpired item stays, whole");
    let odd = get(&*tables, T, &pk, "odd").await;
    assert_eq!(
        odd,
        Some(numbered(2).with(EXPIRES, "soon")),
        "law 1: an expiry that is no number means nothing"
    );
}

/// Law 7: where writes are judged in order, each builds on the one handed over before it, answered or not.
pub async fn handed_over_writes_are_judged_in_order(harness: &dyn Harness) {
    let tables = harness.open().await;
    if !tables.judges_in_order() {
        return;
    }
    let pk = partition("in-order");
    put(&*tables, Table::Inbox, &pk, "head", numbered(0)).await;
    let bump = |n: u64| {
        let change = vec![Change::Set("n", (n + 1).into())];
        let write = Write::update(Table::Inbox, Key::new(pk.as_str(), "head"), change);
        tables.write(vec![write.when(Condition::Equals("n", n.into()))])
    };
    // `join_all` polls its futures in order: all are handed over before the first is answered.
    let answers = futures_util::future::join_all((0..25).map(bump)).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, Ok(()), "law 7: write {n} builds on those before it");
    }
    assert_eq!(
        get(&*tables, Table::Inbox, &pk, "head").await,
        Some(numbered(25)),
        "law 7: all of them count"
    );
}
