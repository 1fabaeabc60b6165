//! How posts are moderated in a group, and how a group ends.

use serde_json::json;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::handler::FollowUp;
use soundoff_common::ports::tables::{Table, Tables as _};
use soundoff_common::protocol::ErrorCode::{Forbidden, NotFound};

use super::{Room, found, post, promote};
use crate::testing::world::{START, user};

#[tokio::test]
async fn a_groups_moderator_hides_and_shows_what_is_in_the_group_and_nothing_else() {
    let room = Room::with("closed").await;
    let world = &room.world;
    let reason = json!({ "post": room.post, "reason": "off topic" });
    world.ok("moderator", "group.hide", room.body(reason)).await;
    assert_eq!(world.refused("asking", "post.get", json!({ "post": room.post })).await, NotFound);
    let own = world.ok("member", "post.get", json!({ "post": room.post })).await;
    assert_eq!((&own["post"]["state"], &own["post"]["reason"]), (&json!("hidden"), &json!("off topic")));
    let list = world.ok("owner", "group.posts", room.body(json!({}))).await;
    assert_eq!(list["items"], json!([]));
    let seen = world.ok("owner", "group.get", room.body(json!({}))).await;
    assert_eq!(seen["group"]["posts"], 0);
    world.audit();
    world.ok("owner", "group.show", room.body(json!({ "post": room.post }))).await;
    let kinds: Vec<_> = world.inbox("member").into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["post.removed", "post.restored"]);
    world.audit();
    let elsewhere = found(world, "fresh", "public", "open").await;
    let theirs = post(world, "fresh", &elsewhere).await;
    let alone = world.post("member", "mine").await;
    for other in [theirs, alone] {
        let code = world.refused("moderator", "group.hide", room.body(json!({ "post": other }))).await;
        assert_eq!(code, NotFound, "it is not in this group");
    }
}

#[tokio::test]
async fn what_the_deployments_moderator_decides_is_not_the_groups_to_undo() {
    let room = Room::with("closed").await;
    let world = &room.world;
    promote(world, "outsider").await;
    let body = || room.body(json!({ "post": room.post }));
    // Sent before the group's decision, and applied after it.
    let remove = world.message("outsider", "post.remove", &json!({ "post": room.post, "state": "held" }));
    world.ok("moderator", "group.hide", body()).await;
    world.run(&remove).await.unwrap();
    for message_type in ["group.show", "group.hide"] {
        assert_eq!(world.refused("owner", message_type, body()).await, Forbidden, "{message_type}");
    }
    let own = world.ok("member", "post.get", json!({ "post": room.post })).await;
    assert_eq!(own["post"]["state"], "held");
    world.ok("outsider", "post.restore", json!({ "post": room.post })).await;
    world.ok("owner", "group.hide", body()).await;
    world.ok("outsider", "post.restore", json!({ "post": room.post })).await;
    world.ok("asking", "group.get", room.body(json!({}))).await;
    assert!(world.ok("owner", "post.get", json!({ "post": room.post })).await["post"]["state"].is_null());
    world.audit();
}

/// Runs what a deletion leads to, each message twice, until there is nothing more to do.
async fn cleared(room: &Room, mut next: Option<FollowUp>) -> u32 {
    let mut pages = 0;
    while let Some(FollowUp { message_type, body, .. }) = next.take() {
        let mut message = room.world.message("owner", message_type, &json!(null));
        (message.id, message.body) = (String::new(), body);
        next = room.world.run(&message).await.unwrap().follow_ups.into_iter().next();
        room.world.run(&message).await.unwrap();
        pages += 1;
    }
    pages
}

#[tokio::test]
async fn a_deleted_group_leaves_a_tombstone_and_its_posts_to_their_authors() {
    let room = Room::with("public").await;
    let world = &room.world;
    for n in 0..30 {
        let guest = format!("guest{n:02}");
        world.tables.write(vec![accounts::create(&user(&guest), START)]).await.unwrap();
        world.ok("moderator", "group.invite", room.body(json!({ "user": guest }))).await;
    }
    let delete = world.message("owner", "group.delete", &room.body(json!({})));
    let done = world.run(&delete).await.unwrap();
    assert_eq!(world.refused("owner", "post.get", json!({ "post": room.post })).await, NotFound);
    let again = world.run(&delete).await.unwrap();
    assert_eq!(again.follow_ups.len(), 1, "the first run may have been cut off");
    let pages = cleared(&room, done.follow_ups.into_iter().next()).await;
    assert_eq!(pages, 5, "37 users, twelve at a time; posts; nothing more");
    world.audit();
    let left: Vec<String> = world
        .tables
        .all()
        .into_keys()
        .filter(|(table, key)| *table != Table::Dedupe && format!("{key:?}").contains(&room.group))
        .map(|(_, key)| format!("{}/{}", key.pk, key.sk))
        .collect();
    assert_eq!(left, [format!("group#{}/count", room.group), format!("group#{}/group", room.group)]);
    let tombstone = world.item(Table::Entities, &format!("group#{}", room.group), "group").unwrap();
    assert!(tombstone.text("name") == Some("") && tombstone.text("about") == Some(""), "{tombstone:?}");
    let list = world.ok("owner", "group.list", json!({})).await;
    assert_eq!(list["items"], json!([]));
    world.ok("member", "post.get", json!({ "post": room.post })).await;
    assert_eq!(world.refused("owner", "post.get", json!({ "post": room.post })).await, NotFound);
    world.ok("member", "post.delete", json!({ "post": room.post })).await;
    world.audit();
}
