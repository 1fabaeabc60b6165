//! The archive as the data team finds it: whole gzip files of JSON lines. Without duplicates, every archived message is
//! in them once.

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::client::Client;
use support::{Server, UNPACED, tokens};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

/// Every record by its id, from files that are where their records say.
fn records(data: &Path) -> BTreeMap<String, Value> {
    let events = data.join("archive/events");
    let mut records = BTreeMap::new();
    for file in files(&events) {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(&file).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.ends_with('\n'), "{}", file.display());
        let place = file.parent().unwrap().strip_prefix(&events).unwrap().to_str().unwrap().to_owned();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let at = record["ts"].as_str().unwrap();
            let (day, hour) = (&at[..10], &at[11..13]);
            assert_eq!(place, format!("type={}/dt={day}/hour={hour}", record["type"].as_str().unwrap()));
            let id = record["id"].as_str().unwrap().to_owned();
            if let Some(before) = records.insert(id, record.clone()) {
                assert_eq!(
                    (&before["body"], &before["ts"]),
                    (&record["body"], &record["ts"]),
                    "one id, two messages"
                );
            }
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_in_the_archive_after_a_kill_and_a_drain() {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut sent: BTreeMap<String, (&str, Value)> = BTreeMap::new();
    for killed in [true, false] {
        let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
        let mut ids = BTreeMap::new();
        for n in 0..60 {
            let (message_type, body) = match n % 4 {
                0 => ("post.create", json!({ "text": format!("line\nbreak {n} — “é”") })),
                1 => ("dm.send", json!({ "to": "bob", "text": n.to_string() })),
                2 => ("profile.get", json!({})),
                // Its worker refused it. It is archived all the same, since it was accepted.
                _ => ("follow.add", json!({ "user": "nobody_here" })),
            };
            ids.insert(ann.submit(message_type, body.clone()).await, (message_type, body));
        }
        while !ids.is_empty() {
            let frame = ann.until(|frame| frame["op"] == "accepted").await.unwrap();
            let said = ids.remove(frame["id"].as_str().unwrap()).unwrap();
            sent.insert(frame["mid"].as_str().unwrap().to_owned(), said);
        }
        if killed {
            server.kill();
            server.restart();
        } else {
            ann.send(json!({ "op": "bye" })).await;
        }
    }
    server.settled();
    server.terminate();
    assert!(server.wait().success(), "{}", server.log());
    let records = records(server.data());
    for (mid, (message_type, body)) in &sent {
        let record = records.get(mid).unwrap_or_else(|| panic!("{mid} is not archived"));
        assert_eq!(
            (&record["type"], &record["user_key"], &record["body"]),
            (&json!(message_type), &json!("ann"), body)
        );
    }
    let of = |name: &str| records.values().filter(|record| record["type"] == name).count();
    assert!(of("user_session") > 0, "who said hello is in the archive");
    assert!(of("audit.event") > 0, "that tokens were made for development is, too");
    let others = records.len() - of("user_session") - of("audit.event");
    assert_eq!(others, sent.len(), "more than was sent");
    assert!(
        files(&server.data().join("archive")).iter().all(|file| file.extension().is_some_and(|e| e == "gz"))
    );
}
