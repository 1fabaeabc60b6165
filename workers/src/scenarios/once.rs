//! Law 2: the same `id` is one effect, however often and through however many edges.

use serde_json::{Value, json};
use soundoff_common::model::affinity;
use soundoff_common::pipeline::handler::Done;
use soundoff_common::ports::tables::Tables as _;
use soundoff_common::protocol::ErrorCode;

use crate::testing::world::{START, World, refusal, reply, user};

/// Every type that changes something, once each, in a world where it does.
async fn every_effect() -> (World, Vec<(&'static str, &'static str, Value)>) {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    let post = world.post("bobby", "first").await;
    let doomed = world.post("alice", "doomed").await;
    world.ok("alice", "like.add", json!({ "post": doomed })).await;
    world.ok("alice", "follow.add", json!({ "user": "carol" })).await;
    world.ok("carol", "follow.add", json!({ "user": "alice" })).await;
    let new = json!({ "name": "Chess", "sight": "closed", "entry": "open" });
    let group = world.ok("alice", "group.create", new.clone()).await["group"]["id"].clone();
    world.ok("alice", "group.update", json!({ "group": group, "entry": "ask" })).await;
    let theirs = world.ok("bobby", "group.create", new.clone()).await["group"]["id"].clone();
    let member = |more: Value| {
        let mut body = more;
        body["group"] = group.clone();
        body
    };
    world.ok("carol", "group.join", member(json!({}))).await;
    let in_group =
        world.ok("alice", "post.create", member(json!({ "text": "e4" }))).await["post"]["id"].clone();
    let effects = vec![
        ("alice", "group.create", new),
        ("alice", "group.update", member(json!({ "name": "Go" }))),
        ("alice", "group.join", json!({ "group": theirs })),
        ("alice", "group.leave", json!({ "group": theirs })),
        ("alice", "group.answer", member(json!({ "user": "carol", "accept": true }))),
        ("alice", "group.role", member(json!({ "user": "carol", "role": "moderator" }))),
        ("carol", "group.hide", member(json!({ "post": in_group }))),
        ("carol", "group.show", member(json!({ "post": in_group }))),
        ("carol", "post.create", member(json!({ "text": "e5" }))),
        ("carol", "group.invite", member(json!({ "user": "bobby" }))),
        ("alice", "group.bar", member(json!({ "user": "carol" }))),
        ("alice", "group.bar", member(json!({ "user": "carol", "barred": false }))),
        ("alice", "group.delete", member(json!({}))),
        ("alice", "profile.update", json!({ "name": "A" })),
        ("alice", "post.create", json!({ "text": "hello" })),
        ("alice", "comment.create", json!({ "post": post, "text": "nice" })),
        ("alice", "like.add", json!({ "post": post })),
        ("alice", "like.remove", json!({ "post": doomed })),
        ("alice", "post.delete", json!({ "post": doomed })),
        ("alice", "follow.add", json!({ "user": "bobby" })),
        ("alice", "follow.remove", json!({ "user": "bobby" })),
        ("alice", "dm.send", json!({ "to": "bobby", "text": "psst" })),
        ("alice", "block.add", json!({ "user": "carol" })),
        ("alice", "block.remove", json!({ "user": "carol" })),
    ];
    (world, effects)
}

fn places(done: &Done) -> Vec<(String, u64)> {
    done.pushes.iter().map(|p| (p.to.to_string(), p.seq)).collect()
}

#[tokio::test]
async fn a_repeated_message_has_one_effect_and_the_first_reply() {
    let (world, effects) = every_effect().await;
    for (from, message_type, body) in effects {
        let first = world.message(from, message_type, &body);
        let before = world.tables.all();
        let done = world.run(&first).await.unwrap();
        let after = world.tables.all();
        assert_ne!(before, after, "{message_type} changes something here");

        // Cut off after the commit and before the reply: the queue delivers the same message again.
        let again = world.run(&first).await.unwrap();
        assert_eq!(world.tables.all(), after, "{message_type} delivered twice");
        assert_eq!((reply(&again), again.duplicate), (reply(&done), false), "{message_type}");
        assert_eq!(places(&again), places(&done), "{message_type}");
        assert!(again.pushes.iter().all(|p| p.push.is_none()), "an inbox is read, not repeated from memory");
        let owed = |done: &Done| done.follow_ups.iter().map(|f| f.body.to_string()).collect::<Vec<_>>();
        assert_eq!(owed(&again), owed(&done), "{message_type} still does what comes after it");

        // The client repeats its id: another message, another edge, the same effect.
        let mut second = world.message(from, message_type, &body);
        second.id.clone_from(&first.id);
        let repeated = world.run(&second).await.unwrap();
        assert_eq!(world.tables.all(), after, "{message_type} sent twice");
        assert_eq!((reply(&repeated), repeated.duplicate), (reply(&done), true), "{message_type}");

        // The same id for something else.
        let mut other = body.clone();
        other["unknown"] = json!(1);
        let mut third = world.message(from, message_type, &other);
        third.id.clone_from(&first.id);
        assert_eq!(refusal(world.run(&third).await), ErrorCode::Conflict, "{message_type}");
        assert_eq!(world.tables.all(), after);
        world.audit();
    }
}

#[tokio::test]
async fn an_id_belongs_to_its_sender() {
    let world = World::with(&["alice", "bobby"]).await;
    let mine = world.message("alice", "post.create", &json!({ "text": "a" }));
    let mut theirs = world.message("bobby", "post.create", &json!({ "text": "a" }));
    theirs.id.clone_from(&mine.id);
    world.run(&mine).await.unwrap();
    assert!(!world.run(&theirs).await.unwrap().duplicate);
    world.audit();
}

#[tokio::test]
async fn an_effect_that_changes_nothing_is_remembered_too() {
    let world = World::with(&["alice", "bobby"]).await;
    let old = world.message("alice", "follow.add", &json!({ "user": "bobby" }));
    world.ok("alice", "follow.remove", json!({ "user": "bobby" })).await;
    world.run(&old).await.unwrap();
    let mut again = world.message("alice", "follow.add", &json!({ "user": "bobby" }));
    again.id.clone_from(&old.id);
    assert!(world.run(&again).await.unwrap().duplicate);
    assert!(!world.is_on("follow", "alice", "bobby"), "a repetition is not a new wish");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_at_once_have_one_effect() {
    let (world, effects) = every_effect().await;
    for (from, message_type, body) in effects {
        let first = world.message(from, message_type, &body);
        let copies = (0..8).map(|n| {
            let world = world.another_process();
            let mut copy = world.message(from, message_type, &body);
            copy.id.clone_from(&first.id);
            if n % 2 == 0 {
                copy.mid = first.mid;
            }
            tokio::spawn(async move { world.until_done(&copy).await.map(|done| reply(&done)) })
        });
        let mut replies = Vec::new();
        for copy in copies.collect::<Vec<_>>() {
            replies.push(copy.await.unwrap().unwrap_or_else(|e| panic!("{message_type}: {e}")));
        }
        assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{message_type}: {replies:?}");
        world.audit();
    }
    assert_eq!(world.inbox("bobby").len(), 5, "an invitation, comment, like, follow, dm");
}

/// A deed towards an author is counted once, and nothing that users do to themselves.
#[tokio::test]
async fn affinity_counts_deeds_towards_others_once() {
    let world = World::with(&["alice", "bobby"]).await;
    let (mine, theirs) = (world.post("alice", "p").await, world.post("bobby", "p").await);
    for post in [&mine, &theirs] {
        let like = world.message("alice", "like.add", &json!({ "post": post }));
        for _ in 0..2 {
            world.run(&like).await.unwrap();
        }
        world.ok("alice", "like.remove", json!({ "post": post })).await;
        world.ok("alice", "like.add", json!({ "post": post })).await;
        world.ok("alice", "comment.create", json!({ "post": post, "text": "c" })).await;
    }
    world.ok("alice", "dm.send", json!({ "to": "bobby", "text": "d" })).await;
    let rows = world.tables.query(affinity::query(&user("alice"), START, 100)).await.unwrap().items;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(affinity::split(&rows[0].0), Some((affinity::week(START), user("bobby"))));
    assert_eq!(rows[0].1.number("n"), Some(1 + 2 + 2));
    let after = START + 9 * 7 * 24 * 3_600_000;
    assert!(world.tables.query(affinity::query(&user("alice"), after, 100)).await.unwrap().items.is_empty());
}
