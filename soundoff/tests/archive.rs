//! The archive as the data team finds it: whole gzip files of JSON lines. Without duplicates, every archived message is
//! in them once, with its sender's pseudonym and without private words.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::ports::tables::{Item, Table, Tables as _, Write};
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use support::client::Client;
use support::web::sign_in;
use support::{Server, UNPACED, tokens};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

fn unpack(file: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Every record by its id, from files that are where their records say.
fn records(data: &Path) -> BTreeMap<String, Value> {
    let events = data.join("archive/events");
    let mut records = BTreeMap::new();
    for file in files(&events) {
        let text = unpack(&file);
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
    let mut keys = BTreeSet::new();
    for (mid, (message_type, body)) in &sent {
        let record = records.get(mid).unwrap_or_else(|| panic!("{mid} is not archived"));
        // The others are words to somebody, or name somebody.
        let kept = if *message_type == "post.create" { body } else { &Value::Null };
        assert_eq!((&record["type"], &record["body"], &record["v"]), (&json!(message_type), kept, &json!(2)));
        keys.insert(record["user_key"].as_str().unwrap());
    }
    assert!(
        keys.len() == 1 && keys.iter().all(|key| is_pseudonym(key)),
        "before the kill and after it: {keys:?}"
    );
    let of = |name: &str| records.values().filter(|record| record["type"] == name).count();
    assert!(of("user_session") > 0, "who said hello is in the archive");
    assert!(of("audit.event") > 0, "that tokens were made for development is, too");
    let others = records.len() - of("user_session") - of("audit.event");
    assert_eq!(others, sent.len(), "more than was sent");
    assert!(
        files(&server.data().join("archive")).iter().all(|file| file.extension().is_some_and(|e| e == "gz"))
    );
}

fn is_pseudonym(key: &str) -> bool {
    key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Stops a server, and returns its archive's records and all that stands in its archive's files.
async fn stopped(server: &mut Server) -> (BTreeMap<String, Value>, String) {
    server.settled();
    server.terminate();
    assert!(server.wait().success(), "{}", server.log());
    let all = files(&server.data().join("archive")).iter().map(|file| unpack(file)).collect();
    (records(server.data()), all)
}

/// Makes an account private, or public again, while no server is on its data.
async fn make_private(data: &Path, user: &str, private: bool) {
    let tables = EmbeddedTables::open(data, &TableOptions::default()).unwrap();
    let item = Item::of(&Privacy { v: 1, private, ..Privacy::default() });
    let key = privacy::key(&user.parse().unwrap());
    tables.write(vec![Write::put(Table::Relationships, key, item)]).await.unwrap();
}

/// Sends messages, one after the other, and returns each with its `mid`. What their workers say of them is no matter:
/// what was accepted is archived.
async fn accepted(client: &mut Client, messages: &[(&'static str, Value)]) -> Vec<(String, &'static str)> {
    let mut mids = Vec::new();
    for (message_type, body) in messages {
        let id = client.submit(message_type, body.clone()).await;
        let frame = client.until(|frame| frame["op"] == "accepted" && frame["id"] == id.as_str()).await;
        mids.push((frame.unwrap()["mid"].as_str().unwrap().to_owned(), *message_type));
    }
    mids
}

/// Handles and words that are in no other text.
const ANN: &str = "annabel_1849";
const BOB: &str = "bobby_tables";
const CID: &str = "cidney_2187";
const PRIVATE: &str = "zq-private-word";
const PUBLIC: &str = "zq-public-word";

/// Messages of Ann's that hold private words or name Bob, by the text that must not be in the archive.
fn private_messages(post: &str) -> Vec<(&'static str, Value)> {
    let user = json!({ "user": BOB });
    vec![
        ("dm.send", json!({ "to": BOB, "text": PRIVATE })),
        ("typing", json!({ "to": BOB })),
        ("dm.list", json!({ "with": BOB })),
        ("post.create", json!({ "text": PRIVATE, "audience": "followers" })),
        ("post.create", json!({ "text": PRIVATE, "audience": "close" })),
        ("post.create", json!({ "text": PRIVATE, "group": "01K0000000000000000000000A" })),
        ("post.create", json!({ "text": PRIVATE, "audience": { "of": BOB } })),
        ("comment.create", json!({ "post": post, "text": PRIVATE })),
        ("profile.update", json!({ "name": "Zq-Private-Name", "bio": PRIVATE })),
        ("profile.get", user.clone()),
        ("post.list", user.clone()),
        ("presence.get", json!({ "users": [BOB, PRIVATE] })),
        ("follow.list", json!({ "user": BOB, "direction": "followers" })),
        ("follow.add", user.clone()),
        ("follow.remove", user.clone()),
        ("block.add", user.clone()),
        ("block.remove", user),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_words_and_handles_are_nowhere_in_the_archive_and_its_counts_are_right() {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &[ANN, BOB]).await;
    sign_in(&server, CID).await;
    let mut bob = Client::hello(&server.address, &tokens[BOB], None, None).await;
    let post = bob.call("post.create", json!({ "text": PUBLIC })).await;
    let post = post["post"]["id"].as_str().unwrap().to_owned();
    let mut ann = Client::hello(&server.address, &tokens[ANN], None, None).await;
    let mut sent = private_messages(&post);
    sent.push(("like.add", json!({ "post": post })));
    sent.push(("post.create", json!({ "text": PUBLIC, "audience": "everyone" })));
    let mids = accepted(&mut ann, &sent).await;
    let (records, text) = stopped(&mut server).await;

    for private in [PRIVATE, "Zq-Private-Name", ANN, BOB, CID] {
        assert!(!text.contains(private), "{private} is in the archive");
    }
    assert_eq!(text.matches(PUBLIC).count(), 2, "what everybody may read is there");
    // All of Ann's is there, under one name that is not Bob's.
    let of_ann: BTreeSet<_> =
        mids.iter().map(|(mid, _)| records[mid]["user_key"].as_str().unwrap()).collect();
    assert!(of_ann.len() == 1 && of_ann.iter().all(|key| is_pseudonym(key)), "{of_ann:?}");
    let is_anns = |record: &&Value| of_ann.contains(record["user_key"].as_str().unwrap());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records.values().filter(is_anns) {
        *counts.entry(record["type"].as_str().unwrap()).or_default() += 1;
    }
    let mut expected: BTreeMap<&str, usize> = BTreeMap::from([("user_session", 1)]);
    sent.iter().for_each(|(message_type, _)| *expected.entry(message_type).or_default() += 1);
    assert_eq!(counts, expected);
    for (mid, message_type) in &mids {
        let body = &records[mid]["body"];
        match *message_type {
            "like.add" => assert_eq!(*body, json!({ "post": post })),
            "post.create" if !body.is_null() => assert_eq!(body["text"], PUBLIC),
            _ => assert_eq!(*body, Value::Null, "{message_type}"),
        }
    }
    // Ann, Bob, and Cid, whom only an event is about; what is about no user has a name that is no pseudonym.
    let keys: BTreeSet<_> = records.values().map(|record| record["user_key"].as_str().unwrap()).collect();
    assert_eq!(keys.iter().filter(|key| is_pseudonym(key)).count(), 3, "{keys:?}");
    assert_eq!(keys.iter().filter(|key| !is_pseudonym(key)).collect::<Vec<_>>(), [&"soundoff"]);
    let events = records.values().filter(|record| record["type"] == "audit.event");
    let signed_in = events.filter(|record| record["body"]["kind"] == "signed_in").collect::<Vec<_>>();
    assert_eq!(signed_in.len(), 1);
    assert_eq!(signed_in[0]["body"]["user"], signed_in[0]["user_key"]);
    assert!(is_pseudonym(signed_in[0]["user_key"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_posts_of_a_private_account_have_no_text_and_a_user_keeps_their_pseudonym() {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &[ANN]).await;
    let mut all = BTreeMap::new();
    let mut mids = Vec::new();
    for (n, private) in [false, true, false].into_iter().enumerate() {
        if n > 0 {
            make_private(server.data(), ANN, private).await;
            server.restart();
        }
        let mut ann = Client::hello(&server.address, &tokens[ANN], None, None).await;
        let text = if private { PRIVATE } else { PUBLIC };
        let post = json!({ "text": text, "audience": "everyone" });
        mids.extend(accepted(&mut ann, &[("post.create", post)]).await);
        let text;
        (all, text) = stopped(&mut server).await;
        assert!(!text.contains(PRIVATE) && !text.contains(ANN), "{private}");
    }
    let texts = mids.iter().map(|(mid, _)| all[mid]["body"]["text"].clone());
    assert_eq!(texts.collect::<Vec<_>>(), [json!(PUBLIC), Value::Null, json!(PUBLIC)]);
    let keys: BTreeSet<_> = mids.iter().map(|(mid, _)| all[mid]["user_key"].as_str().unwrap()).collect();
    assert!(keys.len() == 1 && keys.iter().all(|key| is_pseudonym(key)), "{keys:?}");
}
