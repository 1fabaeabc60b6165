//! Law 6 at rest: what is deleted or across a block is not shown, by any type, in either direction.

use serde_json::{Value, json};
use soundoff_common::protocol::ErrorCode::{BadMessage, Forbidden, NotFound};

use crate::testing::world::World;

async fn strangers(blocker: &str) -> (World, String) {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    let post = world.post("alice", "mine").await;
    for (from, to) in [("alice", "bobby"), ("bobby", "alice"), ("carol", "bobby"), ("carol", "alice")] {
        world.ok(from, "follow.add", json!({ "user": to })).await;
    }
    world.ok("bobby", "dm.send", json!({ "to": "alice", "text": "hi" })).await;
    world.online("alice").await;
    let blocked = if blocker == "alice" { "bobby" } else { "alice" };
    world.ok(blocker, "block.add", json!({ "user": blocked })).await;
    world.audit();
    (world, post)
}

#[tokio::test]
async fn a_block_hides_each_from_the_other() {
    for blocker in ["alice", "bobby"] {
        let (world, post) = strangers(blocker).await;
        let hidden: [(&str, Value); 7] = [
            ("profile.get", json!({ "user": "alice" })),
            ("post.get", json!({ "post": post })),
            ("post.list", json!({ "user": "alice" })),
            ("comment.list", json!({ "post": post })),
            ("follow.list", json!({ "user": "alice", "direction": "followers" })),
            ("dm.list", json!({ "with": "alice" })),
            ("like.remove", json!({ "post": post })),
        ];
        for (message_type, body) in hidden {
            assert_eq!(world.refused("bobby", message_type, body).await, NotFound, "{message_type}");
        }
        let acting: [(&str, Value); 4] = [
            ("dm.send", json!({ "to": "alice", "text": "hi" })),
            ("follow.add", json!({ "user": "alice" })),
            ("like.add", json!({ "post": post })),
            ("comment.create", json!({ "post": post, "text": "hi" })),
        ];
        for (message_type, body) in acting {
            assert_eq!(world.refused("bobby", message_type, body).await, Forbidden, "{message_type}");
        }
        let typing = world.done("bobby", "typing", json!({ "to": "alice" })).await;
        assert!(typing.events.is_empty());
        let presence = world.ok("bobby", "presence.get", json!({ "users": ["alice"] })).await;
        assert_eq!(presence, json!({ "online": [] }));
        let followers = json!({ "user": "carol", "direction": "following" });
        let list = world.ok("bobby", "follow.list", followers).await;
        assert_eq!(list["items"], json!(["bobby"]), "carol follows alice, too, and bobby is not told");
    }
}

#[tokio::test]
async fn taking_the_block_back_shows_all_again_but_follows() {
    let (world, post) = strangers("alice").await;
    world.ok("alice", "block.remove", json!({ "user": "bobby" })).await;
    world.ok("bobby", "post.get", json!({ "post": post })).await;
    let dms = world.ok("bobby", "dm.list", json!({ "with": "alice" })).await;
    assert_eq!(dms["items"].as_array().unwrap().len(), 1);
    let list = world.ok("bobby", "follow.list", json!({ "direction": "following" })).await;
    assert_eq!(list, json!({ "items": [], "next": null }));
    world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
    let told = world.inbox("alice").iter().filter(|(kind, _)| kind == "follow.added").count();
    assert_eq!(told, 2, "bobby and carol, once each");
}

#[tokio::test]
async fn the_other_end_of_a_block_may_block_too_and_each_lifts_only_their_own() {
    let (world, _) = strangers("alice").await;
    world.ok("bobby", "block.add", json!({ "user": "alice" })).await;
    world.ok("alice", "block.remove", json!({ "user": "bobby" })).await;
    assert_eq!(world.refused("alice", "profile.get", json!({ "user": "bobby" })).await, NotFound);
    world.ok("bobby", "block.remove", json!({ "user": "alice" })).await;
    world.ok("alice", "profile.get", json!({ "user": "bobby" })).await;
}

#[tokio::test]
async fn a_deleted_post_is_gone_for_everybody_and_every_type() {
    let world = World::with(&["alice", "bobby"]).await;
    let post = world.post("alice", "secret").await;
    world.ok("bobby", "like.add", json!({ "post": post })).await;
    world.ok("alice", "post.delete", json!({ "post": post })).await;
    for from in ["alice", "bobby"] {
        for message_type in
            ["post.get", "like.add", "like.remove", "comment.create", "comment.list", "post.delete"]
        {
            let body = json!({ "post": post, "text": "x" });
            assert_eq!(world.refused(from, message_type, body).await, NotFound, "{from} {message_type}");
        }
    }
    let list = world.ok("bobby", "post.list", json!({ "user": "alice" })).await;
    assert_eq!(list["items"], json!([]));
    let stored = world.item(soundoff_common::ports::tables::Table::Entities, &format!("post#{post}"), "post");
    assert!(stored.unwrap().text("text").is_none(), "a tombstone keeps no text");
}

#[tokio::test]
async fn bad_input_is_refused_by_every_type_and_touches_nothing() {
    let world = World::with(&["alice", "bobby"]).await;
    let post = world.post("bobby", "p").await;
    for body in [json!({ "user": "alice" }), json!({ "user": "Bad Handle" }), json!({}), json!([])] {
        for message_type in ["follow.add", "follow.remove", "block.add", "block.remove"] {
            assert_eq!(world.refused("alice", message_type, body.clone()).await, BadMessage, "{body}");
        }
    }
    for message_type in
        ["follow.add", "follow.remove", "block.add", "block.remove", "profile.get", "post.list"]
    {
        assert_eq!(world.refused("alice", message_type, json!({ "user": "nobody" })).await, NotFound);
    }
    for id in ["", "x", "post", "01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "\u{0}"] {
        for message_type in
            ["post.get", "post.delete", "like.add", "like.remove", "comment.create", "comment.list"]
        {
            let body = json!({ "post": id, "text": "x" });
            assert_eq!(world.refused("alice", message_type, body).await, NotFound, "{message_type} {id}");
        }
    }
    for page in
        [json!({ "limit": 0 }), json!({ "limit": 101 }), json!({ "limit": -1 }), json!({ "before": "x" })]
    {
        for (message_type, rest) in [
            ("post.list", json!({})),
            ("comment.list", json!({ "post": post })),
            ("follow.list", json!({ "direction": "followers" })),
            ("dm.list", json!({ "with": "bobby" })),
        ] {
            let mut body = rest.clone();
            body.as_object_mut().unwrap().extend(page.as_object().unwrap().clone());
            assert_eq!(world.refused("alice", message_type, body).await, BadMessage, "{message_type} {page}");
        }
    }
}
