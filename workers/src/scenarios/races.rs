//! Law 6 in the worst moment: a block or a deletion commits between a handler's read and its own commit.

use serde_json::{Value, json};
use soundoff_common::protocol::ErrorCode;

use crate::testing::world::{World, refusal};

/// Runs `first`'s handler up to its commit, then all of `second` in another process, and then the rest of `first`.
pub(super) async fn raced(
    world: &World,
    first: (&str, &str, Value),
    second: (&'static str, &'static str, Value),
) -> Option<ErrorCode> {
    let message = world.message(first.0, first.1, &first.2);
    let other = world.another_process();
    world.tables.before_next_write(Box::pin(async move {
        other.ok(second.0, second.1, second.2).await;
    }));
    let end = world.run(&message).await;
    assert!(world.tables.has_come_between(), "{} has not written at all", first.1);
    world.audit();
    end.is_err().then(|| refusal(end))
}

#[tokio::test]
async fn nothing_crosses_a_block_that_was_answered_before_the_commit() {
    for (blocker, blocked) in [("alice", "bobby"), ("bobby", "alice")] {
        for message_type in ["dm.send", "follow.add", "like.add", "comment.create", "like.again"] {
            let world = World::with(&["alice", "bobby"]).await;
            let post = world.post("alice", "mine").await;
            let (message_type, body) = match message_type {
                "dm.send" => ("dm.send", json!({ "to": "alice", "text": "hi" })),
                "follow.add" => ("follow.add", json!({ "user": "alice" })),
                "comment.create" => ("comment.create", json!({ "post": post, "text": "hi" })),
                "like.again" => {
                    world.ok("bobby", "like.add", json!({ "post": post })).await;
                    ("like.add", json!({ "post": post }))
                }
                _ => ("like.add", json!({ "post": post })),
            };
            let inbox = world.inbox("alice").len();
            let block = (blocker, "block.add", json!({ "user": blocked }));
            let code = raced(&world, ("bobby", message_type, body), block).await;
            assert_eq!(code, Some(ErrorCode::Forbidden), "{message_type}, {blocker} blocks");
            assert_eq!(world.inbox("alice").len(), inbox, "{message_type} reached the inbox");
        }
    }
}

#[tokio::test]
async fn nothing_happens_to_a_post_that_was_deleted_before_the_commit() {
    let cases =
        [("like.add", "bobby"), ("like.remove", "carol"), ("comment.create", "bobby"), ("like.add", "carol")];
    for (message_type, from) in cases {
        let world = World::with(&["alice", "bobby", "carol"]).await;
        let post = world.post("alice", "mine").await;
        world.ok("carol", "like.add", json!({ "post": post })).await;
        let body = json!({ "post": post, "text": "hi" });
        let delete = ("alice", "post.delete", json!({ "post": post }));
        let code = raced(&world, (from, message_type, body), delete).await;
        assert_eq!(code, Some(ErrorCode::NotFound), "{message_type}");
        assert_eq!(world.inbox("alice").len(), 1, "only the like from before");
    }
}

#[tokio::test]
async fn two_deletions_count_once() {
    let world = World::with(&["alice"]).await;
    let post = world.post("alice", "mine").await;
    let delete = || ("alice", "post.delete", json!({ "post": post }));
    assert_eq!(raced(&world, delete(), delete()).await, Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn of_two_toggles_at_once_the_later_wins_and_counters_move_once() {
    for first_on in [true, false] {
        for second_on in [true, false] {
            for (kind, other_first) in [("like", false), ("like", true), ("follow", false), ("follow", true)]
            {
                let world = World::with(&["alice", "bobby"]).await;
                let post = world.post("alice", "mine").await;
                let target = if kind == "like" { post.clone() } else { "alice".to_owned() };
                let body = json!({ "post": post, "user": "alice" });
                world.ok("bobby", &format!("{kind}.add"), body.clone()).await;
                let verb = |on| if on { "add" } else { "remove" };
                // The message that is interrupted is the earlier or the later of the two by mid.
                let mut halved = world.message("bobby", &format!("{kind}.{}", verb(first_on)), &body);
                let whole = world.message("bobby", &format!("{kind}.{}", verb(second_on)), &body);
                if other_first {
                    halved.mid = world.message("bobby", "typing", &body).mid;
                }
                let other = world.another_process();
                world.tables.before_next_write(Box::pin(async move {
                    other.run(&whole).await.unwrap();
                }));
                world.run(&halved).await.unwrap();
                let expected = if other_first { first_on } else { second_on };
                let state = if kind == "like" {
                    world.is_on("like", &target, "bobby")
                } else {
                    world.is_on("follow", "bobby", &target)
                };
                assert_eq!(state, expected, "{kind}: {first_on} then {second_on}, swapped: {other_first}");
                world.audit();
            }
        }
    }
}

#[tokio::test]
async fn a_block_and_a_follow_leave_no_follow_whichever_commits_first() {
    for (blocker, blocked) in [("alice", "bobby"), ("bobby", "alice")] {
        let world = World::with(&["alice", "bobby"]).await;
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
        world.ok("bobby", "follow.remove", json!({ "user": "alice" })).await;
        let follow = ("bobby", "follow.add", json!({ "user": "alice" }));
        let code = raced(&world, (blocker, "block.add", json!({ "user": blocked })), follow).await;
        assert_eq!(code, None, "a block always succeeds");
        assert!(!world.is_on("follow", "bobby", "alice"), "audited besides");
    }
}

#[tokio::test]
async fn a_severed_follow_is_not_taken_back_twice() {
    // The block is older than the follow it ends, so the follow's mid stays: only its state distinguishes the two.
    let world = World::with(&["alice", "bobby"]).await;
    let block = world.message("alice", "block.add", &json!({ "user": "bobby" }));
    world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
    let unfollow = world.message("bobby", "follow.remove", &json!({ "user": "alice" }));
    let other = world.another_process();
    world.tables.before_next_write(Box::pin(async move {
        other.run(&block).await.unwrap();
    }));
    world.run(&unfollow).await.unwrap();
    world.audit();
}

#[tokio::test]
async fn of_two_names_at_once_the_later_stays_and_the_bio_is_left_alone() {
    let world = World::with(&["alice"]).await;
    let older = world.message("alice", "profile.update", &json!({ "name": "old", "bio": "bio" }));
    let newer = ("alice", "profile.update", json!({ "name": "new" }));
    let other = world.another_process();
    world.tables.before_next_write(Box::pin(async move {
        other.ok(newer.0, newer.1, newer.2).await;
    }));
    world.run(&older).await.unwrap();
    let profile = world.ok("alice", "profile.get", json!({})).await;
    assert_eq!((&profile["user"]["name"], &profile["user"]["bio"]), (&json!("new"), &json!("bio")));
}
