//! Compares what the server says in the end with what people sent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::person::{Person, Sent};
use crate::support::Server;
use crate::support::client::Client;

/// Compares everything that can be read.
pub(crate) async fn everything(server: &Server, people: &mut [Person]) {
    for person in people.iter_mut() {
        person.catch_up(&server.address).await;
    }
    let mut readers = Vec::new();
    for person in people.iter() {
        readers.push(Client::hello(&server.address, &person.token, None, None).await);
    }
    for (person, reader) in people.iter().zip(&mut readers) {
        posts(person, reader).await;
        dms(person, people, reader).await;
        profile(person, people, reader).await;
        blocks(person, reader).await;
        inbox(person, people);
    }
    let posts = people[0].plan.posts.clone();
    for (_, post) in &posts {
        likes(post, people, &mut readers).await;
        comments(post, people, &mut readers[0]).await;
    }
    for person in people.iter().filter(|person| !person.acking) {
        whole_inbox_again(server, person).await;
    }
}

fn of<'a>(person: &'a Person, message_type: &'a str) -> impl Iterator<Item = &'a Sent> {
    person.sent.values().filter(move |sent| sent.message_type == message_type)
}

/// Posts and other things, by their text: each exactly once, under the id that its author got in the reply.
fn each_once<'a>(what: &str, found: &[Value], expected: impl Iterator<Item = &'a Sent>) {
    let mut by_text: BTreeMap<&str, &Value> = BTreeMap::new();
    for item in found {
        let twice = by_text.insert(item["text"].as_str().unwrap(), item);
        assert!(twice.is_none(), "{what}: twice: {item}");
    }
    for sent in expected {
        let item = by_text.remove(&*sent.id).unwrap_or_else(|| panic!("{what}: lost: {sent:?}"));
        if let Some(reply) = &sent.reply {
            let told = reply.as_object().unwrap().values().next().unwrap();
            assert_eq!(told["id"], item["id"], "{sent:?}");
        }
        if sent.said == 1 && !sent.mids.is_empty() {
            assert!(sent.mids.contains(item["id"].as_str().unwrap()), "{sent:?}: {item}");
        }
    }
    assert!(by_text.is_empty(), "{what}: nobody sent {by_text:?}");
}

async fn posts(person: &Person, reader: &mut Client) {
    let found = reader.list("post.list", json!({})).await;
    each_once("posts", &found, of(person, "post.create"));
    let profile = reader.call("profile.get", json!({})).await;
    assert_eq!(profile["user"]["posts"], found.len(), "{}: {profile}", person.handle);
}

async fn dms(person: &Person, people: &[Person], reader: &mut Client) {
    for other in people.iter().filter(|other| other.handle != person.handle) {
        let found = reader.list("dm.list", json!({ "with": other.handle })).await;
        let mine = of(person, "dm.send").filter(|sent| sent.body["to"] == other.handle);
        let theirs = of(other, "dm.send").filter(|sent| sent.body["to"] == person.handle);
        each_once("dms", &found, mine.chain(theirs));
    }
}

async fn comments(post: &str, people: &[Person], reader: &mut Client) {
    let found = reader.list("comment.list", json!({ "post": post })).await;
    let sent = people.iter().flat_map(|person| of(person, "comment.create"));
    each_once("comments", &found, sent.filter(|sent| sent.body["post"] == post));
    let counted = reader.call("post.get", json!({ "post": post })).await;
    assert_eq!(counted["post"]["comments"], found.len(), "{counted}");
}

/// Which message decides the state of a target: the one with the latest `mid`, if all are known.
fn winner<'a>(person: &'a Person, target: &str) -> Option<&'a Sent> {
    let last: Vec<&Sent> = person.last[target].iter().map(|id| &person.sent[id]).collect();
    let known = last.iter().all(|sent| sent.said == 1 && sent.mids.len() == 1);
    match &last[..] {
        [only] => Some(only),
        // One of them was sent twice, and either time may have counted: its sender cannot know which.
        several if known => several.iter().copied().max_by_key(|sent| sent.mids.first().cloned()),
        _ => None,
    }
}

/// Whether a toggle must be on or off; `None` when its sender cannot know.
fn switched(person: &Person, target: &str) -> Option<bool> {
    if !person.last.contains_key(target) {
        return Some(false);
    }
    winner(person, target).map(|sent| sent.message_type.ends_with(".add"))
}

fn check_switch(person: &Person, target: &str, on: bool) {
    if let Some(expected) = switched(person, target) {
        assert_eq!(on, expected, "{} {target}: {:?}", person.handle, person.last.get(target));
    }
}

async fn likes(post: &str, people: &[Person], readers: &mut [Client]) {
    let (mut likers, mut counts) = (0, BTreeSet::new());
    for (person, reader) in people.iter().zip(readers) {
        let found = reader.call("post.get", json!({ "post": post })).await;
        let liked = found["liked"].as_bool().unwrap();
        check_switch(person, &format!("like#{post}"), liked);
        likers += u64::from(liked);
        counts.insert(found["post"]["likes"].as_u64().unwrap());
    }
    assert_eq!(counts, BTreeSet::from([likers]), "the count of likes of {post}");
}

async fn profile(person: &Person, people: &[Person], reader: &mut Client) {
    let profile = reader.call("profile.get", json!({})).await["user"].take();
    if person.last.contains_key("profile#")
        && let Some(sent) = winner(person, "profile#")
    {
        assert_eq!(profile["name"], sent.body["name"], "{sent:?}");
    }
    let following = reader.list("follow.list", json!({ "direction": "following" })).await;
    let followers = reader.list("follow.list", json!({ "direction": "followers" })).await;
    assert_eq!(profile["following"], following.len(), "{profile}");
    assert_eq!(profile["followers"], followers.len(), "{profile}");
    for other in people.iter().filter(|other| other.handle != person.handle) {
        let times = |list: &[Value], who: &str| list.iter().filter(|handle| **handle == who).count();
        let (out, back) = (times(&following, other.handle), times(&followers, other.handle));
        assert!(out <= 1 && back <= 1, "{} in a list twice", other.handle);
        check_switch(person, &format!("follow#{}", other.handle), out == 1);
        check_switch(other, &format!("follow#{}", person.handle), back == 1);
    }
}

async fn blocks(person: &Person, reader: &mut Client) {
    for troll in &person.plan.trolls {
        let id = reader.submit("post.list", json!({ "user": troll })).await;
        let outcome = reader.outcome(&id).await.unwrap();
        let blocked = outcome["ok"] != true;
        assert!(!blocked || outcome["error"]["code"] == "not_found", "{outcome}");
        check_switch(person, &format!("block#{troll}"), blocked);
    }
}

/// The inbox has no gaps, each `mid` once, and exactly what others did.
fn inbox(person: &Person, people: &[Person]) {
    let all: Vec<u64> = person.inbox.keys().copied().collect();
    assert_eq!(all, (1..=person.cursor()).collect::<Vec<_>>(), "{}: gaps", person.handle);
    let mids: BTreeSet<&str> = person.inbox.values().map(|push| push["mid"].as_str().unwrap()).collect();
    assert_eq!(mids.len(), all.len(), "{}: a message pushed twice", person.handle);
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for push in person.inbox.values() {
        *came.entry(key(push)).or_default() += 1;
    }
    let my_posts: BTreeSet<&str> =
        person.plan.posts.iter().filter(|(author, _)| author == person.handle).map(|(_, id)| &**id).collect();
    for sent in of(person, "dm.send") {
        assert_eq!(came.remove(&format!("dm.sent {}", sent.id)), Some(1), "{sent:?}");
    }
    for other in people.iter().filter(|other| other.handle != person.handle) {
        for sent in of(other, "dm.send").filter(|sent| sent.body["to"] == person.handle) {
            assert_eq!(came.remove(&format!("dm.received {}", sent.id)), Some(1), "{sent:?}");
        }
        let about_mine = |sent: &&Sent| my_posts.contains(sent.body["post"].as_str().unwrap());
        for sent in of(other, "comment.create").filter(about_mine) {
            assert_eq!(came.remove(&format!("comment.created {}", sent.id)), Some(1), "{sent:?}");
        }
        for post in &my_posts {
            told_once(
                other,
                &format!("like#{post}"),
                came.remove(&format!("like.added {} {post}", other.handle)),
            );
        }
        let target = format!("follow#{}", person.handle);
        told_once(other, &target, came.remove(&format!("follow.added {}", other.handle)));
    }
    assert!(came.is_empty(), "{}: nobody did {came:?}", person.handle);
}

/// What a push is about.
fn key(push: &Value) -> String {
    let (body, kind) = (&push["body"], push["type"].as_str().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match kind {
        "dm.sent" | "dm.received" => format!("{kind} {}", text(&body["message"]["text"])),
        "comment.created" => format!("{kind} {}", text(&body["comment"]["text"])),
        "like.added" => format!("{kind} {} {}", text(&body["by"]), text(&body["post"])),
        "follow.added" => format!("{kind} {}", text(&body["by"])),
        _ => panic!("an unknown push: {push}"),
    }
}

/// A like or a follow is pushed once, and never without one.
fn told_once(by: &Person, target: &str, times: Option<usize>) {
    let adds: Vec<&Sent> = by
        .sent
        .values()
        .filter(|sent| sent.target.as_deref() == Some(target) && sent.message_type.ends_with(".add"))
        .collect();
    let times = times.unwrap_or(0);
    assert!(times <= usize::from(!adds.is_empty()), "{} {target}: told {times} times", by.handle);
    if adds.iter().any(|sent| sent.alone) {
        assert_eq!(times, 1, "{} {target}: {adds:?}", by.handle);
    }
}

/// A device that asks for everything gets what the first one got, in the same places.
async fn whole_inbox_again(server: &Server, person: &Person) {
    let mut client = Client::hello(&server.address, &person.token, None, Some(0)).await;
    assert_eq!(client.head(), person.cursor());
    for (seq, push) in &person.inbox {
        let again = client.until(|frame| frame["op"] == "push").await.unwrap();
        assert_eq!((again["seq"].as_u64().unwrap(), &again), (*seq, push));
    }
}
