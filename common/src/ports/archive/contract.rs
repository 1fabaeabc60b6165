//! The suite of [`Archive`](super::Archive): a function for each law, for every adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use serde_json::value::RawValue;
use ulid::Ulid;

use super::{Archive, Record};

/// How a test gets the adapter, and what it wrote.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The archive. It may hold other tests' records.
    async fn open(&self) -> Arc<dyn Archive>;

    /// The same data through a new adapter, as after a kill: nothing is flushed in between.
    async fn reopen(&self, archive: Arc<dyn Archive>) -> Arc<dyn Archive>;

    /// Every file that a reader would find under `events/`, by its path from there, unpacked.
    ///
    /// # Panics
    /// When one cannot be unpacked to its very end: that is a broken law.
    async fn files(&self) -> Vec<(String, Vec<u8>)>;
}

/// A record of a type and time, with a body as a client may write it.
fn record(message_type: &str, ts: &str, body: &str) -> Record {
    Record {
        id: Ulid::generate().to_string().into(),
        message_type: message_type.to_owned(),
        v: 1,
        ts: ts.to_owned(),
        ingest_ts: "2026-11-22T13:59:59.999Z".into(),
        user_key: "0123456789abcdef0123456789abcdef".into(),
        trace_id: "trace".into(),
        body: Some(RawValue::from_string(body.to_owned()).expect("a JSON body")),
    }
}

/// The lines of all files, by record id, each with the path of its file.
async fn lines(harness: &impl Harness) -> BTreeMap<Arc<str>, Vec<(String, Value)>> {
    let mut lines: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
    for (path, text) in harness.files().await {
        let text = String::from_utf8(text).expect("law 3: a file is text");
        assert!(text.ends_with('\n'), "law 3: every line ends with a newline, the last of {path} too");
        for line in text.lines() {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("law 3: a line of {path} is one JSON value: {e}: {line}"));
            let id = value["id"].as_str().expect("law 3: a line is a record").into();
            lines.entry(id).or_default().push((path.clone(), value));
        }
    }
    lines
}

/// Laws 1 and 3: every record that was put is found at its place, as it was.
pub async fn records_are_found_at_their_place(harness: &impl Harness) {
    let archive = harness.open().await;
    let cases = [
        ("post.create", "2026-11-22T13:00:00Z", "dt=2026-11-22/hour=13"),
        ("post.create", "2026-11-22T13:59:59.999999Z", "dt=2026-11-22/hour=13"),
        ("post.create", "2026-11-22T14:00:00.000Z", "dt=2026-11-22/hour=14"),
        ("post.create", "2026-11-22T00:30:00+02:00", "dt=2026-11-21/hour=22"),
        ("dm.send", "2024-02-29T23:00:00Z", "dt=2024-02-29/hour=23"),
        ("user_session", "2026-01-01T00:00:00Z", "dt=2026-01-01/hour=00"),
    ];
    let mut expected = Vec::new();
    for (message_type, ts, place) in cases {
        let record = record(message_type, ts, r#"{"text":"h\u00e9llo\nworld","n":1}"#);
        expected.push((record.clone(), format!("type={message_type}/{place}/")));
        archive.put(vec![record]).await.expect("law 1: a put is Ok");
    }
    // Its body is null, so that readers find the same fields in all records.
    let bodiless = Record { body: None, ..record("dm.send", "2026-11-22T13:00:00Z", "{}") };
    expected.push((bodiless.clone(), "type=dm.send/dt=2026-11-22/hour=13/".to_owned()));
    archive.put(vec![bodiless]).await.expect("law 1: a put is Ok");
    archive.put(vec![]).await.expect("law 1: a put of nothing is Ok");
    archive.flush().await.expect("a flush is Ok");
    let found = lines(harness).await;
    for (record, place) in expected {
        let copies =
            found.get(&record.id).unwrap_or_else(|| panic!("law 1: the record for {place} is archived"));
        for (path, value) in copies {
            assert!(
                path.starts_with(&place),
                "law 3: {} {} is at {place}, not {path}",
                record.message_type,
                record.ts
            );
            let name = path.strip_prefix(&place).unwrap_or_default();
            assert!(!name.contains('/') && !name.is_empty(), "law 3: nothing is deeper: {path}");
            let expected = serde_json::to_value(&record).expect("a record is JSON");
            assert_eq!(*value, expected, "law 3: a line is the record, field by field");
        }
    }
}

/// Law 3: whatever the body's layout, a record is one line.
pub async fn a_record_is_one_line(harness: &impl Harness) {
    let archive = harness.open().await;
    let bodies = [
        "{\n  \"text\": \"pretty\",\r\n  \"list\": [\n    1,\n    2\n  ]\n}",
        "[\r1,\r2]",
        "\"\\n\\r\\u2028\u{2028}\u{2029}\u{85}\"",
        "{}",
        "null",
        " \n 7 \n ",
    ];
    let records: Vec<_> = bodies.map(|body| record("post.create", "2026-11-22T13:00:00Z", body)).into();
    archive.put(records.clone()).await.expect("law 1: a put is Ok");
    archive.flush().await.expect("a flush is Ok");
    let found = lines(harness).await;
    for record in records {
        let (_, value) = &found.get(&record.id).expect("law 1: the record is archived")[0];
        let said = record.body.as_ref().expect("it has a body").get();
        let body: Value = serde_json::from_str(said).expect("JSON");
        assert_eq!(value["body"], body, "law 3: the body means what it meant: {said:?}");
    }
}

/// Law 1: what was put is archived even when the adapter ended before any flush.
pub async fn what_was_put_outlives_a_kill(harness: &impl Harness) {
    let mut archive = harness.open().await;
    let mut expected = BTreeSet::new();
    for round in 0..3 {
        for _ in 0..5 {
            let record = record("post.create", "2026-11-22T13:00:00Z", "{}");
            expected.insert(record.id.clone());
            archive.put(vec![record]).await.expect("law 1: a put is Ok");
        }
        archive = harness.reopen(archive).await;
        archive.flush().await.expect("a flush is Ok");
        let found = lines(harness).await;
        let lost: Vec<_> = expected.iter().filter(|id| !found.contains_key(*id)).collect();
        assert_eq!(lost, Vec::<&Arc<str>>::new(), "law 1: records put before kill {round} are archived");
    }
}

/// Law 2: a reader that looks at any moment finds complete files only.
pub async fn files_are_complete_at_all_times(harness: &impl Harness) {
    let archive = harness.open().await;
    let types = ["post.create", "post.like", "dm.send"];
    let writer = tokio::spawn(async move {
        let mut ids = BTreeSet::new();
        for round in 0..20 {
            let body = format!("{{\"text\":\"{}\"}}", "x".repeat(20_000));
            let records: Vec<_> =
                (0..10).map(|n| record(types[(round + n) % 3], "2026-11-22T13:00:00Z", &body)).collect();
            ids.extend(records.iter().map(|record| record.id.clone()));
            archive.put(records).await.expect("law 1: a put is Ok");
            archive.flush().await.expect("a flush is Ok");
        }
        ids
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        // `lines` and `files` assert that everything they find is whole.
        lines(harness).await;
        looks += 1;
    }
    let ids = writer.await.expect("the writer ran");
    let found = lines(harness).await;
    assert!(ids.iter().all(|id| found.contains_key(id)), "law 1: every record is archived in the end");
}

/// Law 1 for many at once: each is answered only when its own records are safe, and none is lost between them.
pub async fn many_put_at_once(harness: &impl Harness) {
    let archive = harness.open().await;
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let archive = archive.clone();
        tasks.push(tokio::spawn(async move {
            let records: Vec<_> =
                (0..20).map(|_| record("post.like", "2026-11-22T13:00:00Z", "{\"n\":1}")).collect();
            let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
            for record in records {
                archive.put(vec![record]).await.expect("law 1: a put is Ok");
            }
            ids
        }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await.expect("the task ran"));
    }
    archive.flush().await.expect("a flush is Ok");
    let found = lines(harness).await;
    assert!(ids.iter().all(|id| found.contains_key(id)), "law 1: every record of every task is archived");
}

/// A type or time that would name another place is refused, and nothing of that call is archived.
pub async fn invalid_records_are_refused(harness: &impl Harness) {
    let archive = harness.open().await;
    let good = record("post.create", "2026-11-22T13:00:00Z", "{}");
    let ts = "2026-11-22T13:00:00Z";
    let long = "t".repeat(101);
    for name in ["", "../x", "a/b", "Post", "a b", "a\n", "a=b", "é", &long] {
        let bad = record(name, ts, "{}");
        let put = archive.put(vec![good.clone(), bad]).await;
        assert!(put.is_err(), "the type {name:?} is refused");
    }
    for ts in ["", "yesterday", "2026-11-22", "2026-13-01T00:00:00Z", "../../x", "-0001-01-01T00:00:00Z"] {
        let put = archive.put(vec![good.clone(), record("post.create", ts, "{}")]).await;
        assert!(put.is_err(), "the time {ts:?} is refused");
    }
    archive.flush().await.expect("a flush is Ok");
    let found = lines(harness).await;
    assert!(!found.contains_key(&good.id), "nothing of a refused call is archived");
}
