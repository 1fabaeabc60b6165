//! The number of calls to the tables that each type makes, as `docs/data-model.md` states it: one more read for a
//! message is a defect.

use serde_json::json;

use crate::testing::world::World;

#[tokio::test]
async fn each_type_makes_as_many_calls_as_the_data_model_says() {
    let world = World::with(&["alice", "bobby"]).await;
    let post = world.post("bobby", "p").await;
    let mine = world.post("alice", "p").await;
    for n in 0..30 {
        world.ok("bobby", "post.create", json!({ "text": n.to_string() })).await;
        world.ok("bobby", "comment.create", json!({ "post": post, "text": "c" })).await;
    }
    world.tables.calls();
    for (message_type, body, reads, writes) in [
        ("profile.get", json!({ "user": "bobby" }), 1, 0),
        ("profile.update", json!({ "name": "n" }), 1, 1),
        ("post.create", json!({ "text": "t" }), 0, 1),
        ("post.get", json!({ "post": post }), 2, 0),
        ("post.delete", json!({ "post": mine }), 1, 1),
        ("post.list", json!({ "user": "bobby" }), 3, 0),
        ("comment.create", json!({ "post": post, "text": "c" }), 3, 1),
        ("comment.list", json!({ "post": post }), 3, 0),
        ("like.add", json!({ "post": post }), 3, 1),
        ("like.remove", json!({ "post": post }), 2, 1),
        ("follow.add", json!({ "user": "bobby" }), 2, 1),
        ("follow.list", json!({ "direction": "following" }), 3, 0),
        ("follow.remove", json!({ "user": "bobby" }), 1, 1),
        ("dm.send", json!({ "to": "bobby", "text": "t" }), 2, 1),
        ("dm.list", json!({ "with": "bobby" }), 2, 0),
        ("typing", json!({ "to": "bobby" }), 1, 0),
        ("presence.get", json!({ "users": ["bobby", "alice"] }), 1, 0),
        ("block.add", json!({ "user": "bobby" }), 1, 1),
        ("block.remove", json!({ "user": "bobby" }), 1, 1),
    ] {
        world.done("alice", message_type, body).await;
        assert_eq!(world.tables.calls(), (reads, writes), "{message_type}");
    }
}

#[tokio::test]
async fn only_who_changed_their_privacy_costs_others_another_read() {
    let world = World::with(&["alice", "bobby"]).await;
    let acts = [
        ("typing", json!({ "to": "bobby" }), 1),
        ("dm.list", json!({ "with": "bobby" }), 2),
        ("profile.get", json!({ "user": "bobby" }), 1),
    ];
    for more in [0, 1, 1] {
        for (message_type, body, reads) in &acts {
            world.tables.calls();
            world.done("alice", message_type, body.clone()).await;
            assert_eq!(world.tables.calls(), (reads + more, 0), "{message_type}");
        }
        // What they chose may be what holds of all others.
        world.ok("bobby", "privacy.update", json!({ "dm_from": "everyone" })).await;
    }
}

#[tokio::test]
async fn each_type_of_groups_makes_as_many_calls_as_the_data_model_says() {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    let new = json!({ "name": "Chess", "sight": "closed", "entry": "open" });
    let group = world.ok("alice", "group.create", new.clone()).await["group"]["id"].clone();
    let asked = json!({ "name": "Chess", "sight": "closed", "entry": "ask" });
    let asking = world.ok("alice", "group.create", asked).await["group"]["id"].clone();
    let theirs = world.ok("bobby", "group.create", new.clone()).await["group"]["id"].clone();
    world.ok("bobby", "group.join", json!({ "group": group })).await;
    let post =
        world.ok("bobby", "post.create", json!({ "text": "p", "group": group })).await["post"]["id"].clone();
    world.tables.calls();
    for (from, message_type, body, reads, writes) in [
        ("alice", "group.create", new, 1, 1),
        ("alice", "group.update", json!({ "group": group, "about": "moves" }), 1, 1),
        ("carol", "group.get", json!({ "group": group }), 1, 0),
        ("carol", "group.find", json!({ "name": "chess" }), 2, 0),
        ("alice", "group.join", json!({ "group": theirs }), 1, 1),
        ("carol", "group.join", json!({ "group": asking }), 4, 1),
        ("alice", "group.answer", json!({ "group": asking, "user": "carol", "accept": true }), 2, 1),
        ("alice", "group.leave", json!({ "group": theirs }), 1, 1),
        ("alice", "group.invite", json!({ "group": group, "user": "carol" }), 2, 1),
        ("carol", "group.answer", json!({ "group": group, "accept": true }), 3, 1),
        ("alice", "group.role", json!({ "group": group, "user": "bobby", "role": "moderator" }), 2, 1),
        ("alice", "group.list", json!({}), 2, 0),
        ("alice", "group.members", json!({ "group": group }), 3, 0),
        ("alice", "group.posts", json!({ "group": group }), 4, 0),
        ("alice", "group.hide", json!({ "group": group, "post": post }), 2, 1),
        ("alice", "group.show", json!({ "group": group, "post": post }), 2, 1),
        ("alice", "post.create", json!({ "group": group, "text": "t" }), 1, 1),
        ("alice", "post.get", json!({ "post": post }), 2, 0),
        ("alice", "like.add", json!({ "post": post }), 3, 1),
        ("alice", "group.bar", json!({ "group": group, "user": "bobby" }), 1, 1),
        ("alice", "group.delete", json!({ "group": group }), 1, 1),
    ] {
        world.done(from, message_type, body).await;
        assert_eq!(world.tables.calls(), (reads, writes), "{message_type}");
    }
}
