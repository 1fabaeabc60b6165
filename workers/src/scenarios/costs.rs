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
