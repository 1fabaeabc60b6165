//! Privacy settings, requests to follow, close friends and what moderators decide: each act against each setting, what
//! others have complained of elsewhere, and every race with a change.

use serde_json::{Value, json};
use soundoff_common::model::posts;
use soundoff_common::model::{accounts, accounts::attribute};
use soundoff_common::pipeline::handler::{Done, FollowUp};
use soundoff_common::ports::tables::{Change, Table, Tables as _, Write};
use soundoff_common::protocol::ErrorCode::{self, Forbidden, NotFound};

use super::races::raced;
use crate::testing::world::{World, refusal, reply, user};

/// Runs the messages that a message causes, and those that they cause.
async fn settled(world: &World, from: &str, done: Done) {
    let mut next: Vec<FollowUp> = done.follow_ups;
    while let Some(FollowUp { message_type, body, .. }) = next.pop() {
        let mut message = world.message(from, message_type, &json!(null));
        (message.id, message.body) = (String::new(), body);
        next.extend(world.run(&message).await.unwrap().follow_ups);
    }
}

/// bobby is `relation` to alice.
async fn related(relation: &str) -> World {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    if matches!(relation, "follower" | "mutual") {
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
    }
    if matches!(relation, "followed" | "mutual") {
        world.ok("alice", "follow.add", json!({ "user": "bobby" })).await;
    }
    world
}

#[tokio::test]
async fn each_setting_lets_through_whom_it_names() {
    for relation in ["stranger", "follower", "followed", "mutual"] {
        for from in ["everyone", "followers", "following", "mutuals", "nobody"] {
            let world = related(relation).await;
            let post = world.post("alice", "hi").await;
            world.online("alice").await;
            let settings = json!({ "dm_from": from, "comment_from": from });
            world.ok("alice", "privacy.update", settings).await;
            let allowed = match from {
                "everyone" => true,
                "followers" => matches!(relation, "follower" | "mutual"),
                "following" => matches!(relation, "followed" | "mutual"),
                "mutuals" => relation == "mutual",
                _ => false,
            };
            for (message_type, body) in [
                ("dm.send", json!({ "to": "alice", "text": "hi" })),
                ("comment.create", json!({ "post": post, "text": "hi" })),
            ] {
                match allowed {
                    true => drop(world.ok("bobby", message_type, body).await),
                    false => assert_eq!(world.refused("bobby", message_type, body).await, Forbidden),
                }
            }
            let typing = world.done("bobby", "typing", json!({ "to": "alice" })).await;
            assert_eq!(typing.events.len(), usize::from(allowed), "{relation}, {from}");
            assert_eq!(reply(&typing), json!({}), "who may not is not told by typing");
            world.ok("bobby", "like.add", json!({ "post": post })).await;
            world.ok("alice", "comment.create", json!({ "post": post, "text": "my own" })).await;
            world.audit();
        }
    }
}

#[tokio::test]
async fn the_later_of_two_changes_wins_for_each_setting_and_what_is_none_is_refused() {
    let world = World::with(&["alice"]).await;
    let older = world.message("alice", "privacy.update", &json!({ "private": false, "dm_from": "nobody" }));
    let newer = world.ok("alice", "privacy.update", json!({ "private": true })).await;
    let expected = |private: bool, dm_from: &str| {
        json!({ "privacy": {
            "private": private, "dm_from": dm_from, "comment_from": "everyone", "mention_from": "everyone",
        }})
    };
    assert_eq!(newer, expected(true, "everyone"));
    assert_eq!(reply(&world.run(&older).await.unwrap()), expected(true, "nobody"));
    assert_eq!(world.ok("alice", "privacy.get", json!({})).await, expected(true, "nobody"));
    for bad in [json!({}), json!({ "private": "yes" }), json!({ "dm_from": "friends" })] {
        assert_eq!(world.refused("alice", "privacy.update", bad).await, ErrorCode::BadMessage);
    }
}

#[tokio::test]
async fn a_request_is_a_state_of_the_follow_that_either_side_ends() {
    let world = World::with(&["alice", "bobby"]).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    let (alice, bobby) = (json!({ "user": "alice" }), json!({ "user": "bobby" }));
    let requested = json!({ "user": "alice", "following": false, "state": "requested" });
    for _ in 0..2 {
        assert_eq!(world.ok("bobby", "follow.add", alice.clone()).await, requested);
    }
    assert_eq!(world.ok("alice", "request.list", json!({})).await["items"], json!(["bobby"]));
    assert_eq!(world.ok("bobby", "profile.get", alice.clone()).await["user"]["you"], "requested");
    world.audit();
    let withdrawn = world.ok("bobby", "follow.remove", alice.clone()).await;
    assert_eq!(withdrawn["state"], "none");
    assert_eq!(world.ok("alice", "request.list", json!({})).await["items"], json!([]));
    assert_eq!(world.refused("alice", "request.accept", bobby.clone()).await, NotFound);
    let rejected = json!({ "user": "bobby", "state": "none" });
    world.ok("bobby", "follow.add", alice.clone()).await;
    assert_eq!(world.ok("alice", "request.reject", bobby.clone()).await, rejected);
    world.audit();
    world.ok("bobby", "follow.add", alice.clone()).await;
    let accepted = json!({ "user": "bobby", "state": "following" });
    for _ in 0..2 {
        assert_eq!(world.ok("alice", "request.accept", bobby.clone()).await, accepted);
    }
    world.audit();
    let told = |who: &str| world.inbox(who).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(told("alice"), ["follow.requested"], "once per user, however often they ask");
    assert_eq!(told("bobby"), ["follow.accepted"]);
    // A follower can be sent away, and a private account's follower asks again.
    assert_eq!(world.ok("alice", "request.reject", bobby).await, rejected);
    assert_eq!(world.ok("bobby", "profile.get", alice.clone()).await["user"]["followers"], 0);
    assert_eq!(world.ok("bobby", "follow.add", alice).await, requested);
    world.audit();
}

#[tokio::test]
async fn what_the_asking_one_said_later_wins_over_the_answer() {
    let world = World::with(&["alice", "bobby"]).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    let alice = json!({ "user": "alice" });
    let add = world.message("bobby", "follow.add", &alice);
    world.run(&add).await.unwrap();
    let withdraws = world.message("bobby", "follow.remove", &alice);
    world.ok("alice", "request.accept", json!({ "user": "bobby" })).await;
    let reply = reply(&world.run(&withdraws).await.unwrap());
    assert_eq!(reply["state"], "none", "it came later than what was accepted");
    let again = world.ok("bobby", "follow.add", alice).await;
    assert_eq!(again["state"], "requested");
    world.ok("alice", "request.reject", json!({ "user": "bobby" })).await;
    let late = world.message("bobby", "follow.add", &json!({ "user": "alice" }));
    let late = soundoff_common::pipeline::envelope::Envelope { mid: add.mid, ..late };
    assert_eq!(crate::testing::world::reply(&world.run(&late).await.unwrap())["state"], "none");
    world.audit();
}

/// mastodon/mastodon#4658, #7126: unlocking left requests waiting.
#[tokio::test]
async fn unlocking_accepts_all_who_have_asked() {
    let asking: Vec<String> = (0..37).map(|n| format!("u{n:02}")).collect();
    let mut people: Vec<&str> = asking.iter().map(String::as_str).collect();
    people.extend(["alice", "blocked"]);
    let world = World::with(&people).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    for who in people.iter().filter(|who| **who != "alice") {
        world.ok(who, "follow.add", json!({ "user": "alice" })).await;
    }
    world.ok("alice", "block.add", json!({ "user": "blocked" })).await;
    let unlocked = world.done("alice", "privacy.update", json!({ "private": false })).await;
    settled(&world, "alice", unlocked).await;
    world.audit();
    assert_eq!(world.ok("alice", "request.list", json!({})).await["items"], json!([]));
    let profile = world.ok("u00", "profile.get", json!({ "user": "alice" })).await;
    assert_eq!(profile["user"]["followers"], 37);
    for who in &asking {
        assert_eq!(world.inbox(who).len(), 1, "{who} hears of it");
    }
    assert_eq!(world.ok("u00", "follow.add", json!({ "user": "alice" })).await["state"], "following");
}

#[tokio::test]
async fn who_locks_again_while_requests_are_accepted_keeps_the_rest() {
    let asking: Vec<String> = (0..20).map(|n| format!("u{n:02}")).collect();
    let mut people: Vec<&str> = asking.iter().map(String::as_str).collect();
    people.push("alice");
    let world = World::with(&people).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    for who in &asking {
        world.ok(who, "follow.add", json!({ "user": "alice" })).await;
    }
    let unlocked = world.done("alice", "privacy.update", json!({ "private": false })).await;
    assert_eq!(unlocked.follow_ups.len(), 1);
    let page = |unlocked: &Done| {
        let mut message = world.message("alice", unlocked.follow_ups[0].message_type, &json!({}));
        message.id = String::new();
        message
    };
    // Between what the page has read and its commit, too.
    let first = page(&unlocked);
    let other = world.another_process();
    world.tables.before_next_write(Box::pin(async move {
        other.ok("alice", "privacy.update", json!({ "private": true })).await;
    }));
    let done = world.run(&first).await.unwrap();
    assert!(world.tables.has_come_between() && done.follow_ups.is_empty(), "private again");
    let waiting = world.ok("alice", "request.list", json!({ "limit": 100 })).await;
    assert_eq!(waiting["items"].as_array().unwrap().len(), 20);
    world.audit();
}

/// pixelfed/pixelfed#5846, #6138, #445: posts stayed public after their author went private.
#[tokio::test]
async fn old_posts_are_hidden_at_once_and_shown_again_to_all_when_it_is_taken_back() {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    let post = world.post("alice", "old").await;
    world.ok("carol", "follow.add", json!({ "user": "alice" })).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    assert_eq!(world.refused("bobby", "post.get", json!({ "post": post })).await, NotFound);
    assert_eq!(world.refused("bobby", "post.list", json!({ "user": "alice" })).await, Forbidden);
    let face = world.ok("bobby", "profile.get", json!({ "user": "alice" })).await;
    assert_eq!((&face["user"]["private"], &face["user"]["you"]), (&json!(true), &json!("none")));
    world.ok("carol", "post.get", json!({ "post": post })).await;
    world.ok("alice", "privacy.update", json!({ "private": false })).await;
    world.ok("bobby", "post.get", json!({ "post": post })).await;
}

/// pixelfed/pixelfed#1763: one door showed what another hid. A comment on a post is as hidden as the post.
#[tokio::test]
async fn who_loses_sight_of_a_post_keeps_no_hold_of_it() {
    let world = World::with(&["alice", "bobby"]).await;
    world.ok("alice", "privacy.update", json!({ "private": true })).await;
    world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
    world.ok("alice", "request.accept", json!({ "user": "bobby" })).await;
    let post = world.post("alice", "for you").await;
    let about = json!({ "post": post, "text": "x" });
    world.ok("bobby", "like.add", about.clone()).await;
    world.ok("bobby", "follow.remove", json!({ "user": "alice" })).await;
    for message_type in ["post.get", "comment.list", "comment.create", "like.add"] {
        assert_eq!(world.refused("bobby", message_type, about.clone()).await, NotFound, "{message_type}");
    }
    let taken = world.ok("bobby", "like.remove", about.clone()).await;
    assert_eq!(taken, json!({ "post": post, "liked": false }), "their own like, and no count");
    world.audit();
}

#[tokio::test]
async fn close_friends_are_the_users_own_secret() {
    let world = World::with(&["alice", "bobby", "carol"]).await;
    let bobby = json!({ "user": "bobby" });
    assert_eq!(
        world.ok("alice", "close.add", bobby.clone()).await,
        json!({ "user": "bobby", "close": true })
    );
    assert_eq!(world.inbox("bobby"), [], "nobody is told");
    assert_eq!(world.ok("alice", "close.list", json!({})).await["items"], json!(["bobby"]));
    assert_eq!(world.ok("bobby", "close.list", json!({})).await["items"], json!([]));
    let body = json!({ "text": "psst", "audience": "close" });
    let post = world.ok("alice", "post.create", body).await["post"]["id"].clone();
    world.ok("bobby", "post.get", json!({ "post": post })).await;
    assert_eq!(world.refused("carol", "post.get", json!({ "post": post })).await, NotFound);
    world.ok("alice", "block.add", bobby.clone()).await;
    assert_eq!(world.ok("alice", "close.list", json!({})).await["items"], json!([]));
    world.ok("alice", "block.remove", bobby.clone()).await;
    world.ok("alice", "close.remove", bobby.clone()).await;
    assert_eq!(world.refused("bobby", "post.get", json!({ "post": post })).await, NotFound);
    assert_eq!(world.refused("alice", "close.add", json!({ "user": "alice" })).await, ErrorCode::BadMessage);
    assert_eq!(world.refused("alice", "close.add", json!({ "user": "nobody" })).await, NotFound);
    world.audit();
}

async fn moderated() -> (World, Value) {
    let world = World::with(&["alice", "bobby", "modmo"]).await;
    let role = vec![Change::Set(attribute::ROLE, "moderator".into())];
    world.tables.write(vec![Write::update(Table::Users, accounts::key(&user("modmo")), role)]).await.unwrap();
    world.ok("alice", "block.add", json!({ "user": "modmo" })).await;
    let post = json!(world.post("alice", "no").await);
    (world, post)
}

#[tokio::test]
async fn what_a_moderator_takes_down_is_whole_and_comes_back() {
    let (world, post) = moderated().await;
    let body = json!({ "post": post, "reason": "against the rules" });
    let done = world.done("modmo", "post.remove", body.clone()).await;
    let push = done.pushes[0].push.as_ref().unwrap();
    assert_eq!((push.push_type, &push.by), ("post.removed", &user("alice")), "no block withholds it");
    let told: Value = serde_json::from_str(push.body.get()).unwrap();
    assert_eq!(told, json!({ "post": post, "state": "hidden", "reason": "against the rules" }));
    assert_eq!(done.follow_ups[0].about, Some(user("alice")));
    assert_eq!(world.refused("bobby", "post.get", json!({ "post": post })).await, NotFound);
    let own = world.ok("alice", "post.get", json!({ "post": post })).await;
    assert_eq!(
        (&own["post"]["text"], &own["post"]["state"], &own["post"]["reason"]),
        (&json!("no"), &json!("hidden"), &json!("against the rules"))
    );
    let profile = world.ok("alice", "profile.get", json!({})).await;
    assert_eq!(profile["user"]["posts"], 0);
    let again = world.done("modmo", "post.remove", json!({ "post": post })).await;
    assert!(again.pushes.is_empty(), "nothing has changed");
    let shown = world.done("modmo", "post.restore", json!({ "post": post })).await;
    assert_eq!(shown.pushes[0].push.as_ref().unwrap().push_type, "post.restored");
    let seen = world.ok("bobby", "post.get", json!({ "post": post })).await;
    assert_eq!((&seen["post"]["text"], &seen["post"]["state"]), (&json!("no"), &Value::Null));
    world.audit();
}

#[tokio::test]
async fn the_later_decision_stands_whichever_comes_first_and_a_deletion_is_for_good() {
    let (world, post) = moderated().await;
    let older = world.message("modmo", "post.remove", &json!({ "post": post }));
    world.ok("modmo", "post.restore", json!({ "post": post })).await;
    let late = world.run(&older).await.unwrap();
    assert!(late.pushes.is_empty() && late.follow_ups.is_empty(), "it was decided later that it is shown");
    world.ok("bobby", "post.get", json!({ "post": post })).await;
    let hide = world.message("modmo", "post.remove", &json!({ "post": post }));
    for round in 0..2 {
        let done = world.run(&hide).await.unwrap();
        assert_eq!(done.follow_ups.len(), 1, "run {round}: followers may not know yet");
    }
    world.audit();
    world.ok("alice", "post.delete", json!({ "post": post })).await;
    world.audit();
    for message_type in ["post.remove", "post.restore"] {
        assert_eq!(world.refused("modmo", message_type, json!({ "post": post })).await, NotFound);
    }
    let id = post.as_str().unwrap().parse().unwrap();
    let stored = world.tables.get(Table::Entities, posts::key(id)).await.unwrap().unwrap();
    assert!(stored.text("text").is_none() && stored.text("reason").is_none(), "nothing is left of it");
}

/// Each act, raced by each change that forbids it: what was answered before the commit holds.
#[tokio::test]
async fn no_act_commits_after_a_change_that_forbids_it_was_answered() {
    let by_alice = |message_type, body| ("alice", message_type, body);
    for (change, follows, code) in [
        (by_alice("privacy.update", json!({ "private": true })), false, NotFound),
        (
            by_alice("privacy.update", json!({ "comment_from": "nobody", "dm_from": "nobody" })),
            false,
            Forbidden,
        ),
        (by_alice("request.reject", json!({ "user": "bobby" })), true, NotFound),
        (("modmo", "post.remove", json!({})), false, NotFound),
    ] {
        for act in ["like.add", "comment.create", "dm.send"] {
            let world = World::with(&["alice", "bobby", "modmo"]).await;
            let post = world.post("alice", "mine").await;
            if follows {
                world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
                world.ok("alice", "privacy.update", json!({ "private": true, "dm_from": "followers" })).await;
            }
            let (from, message_type, mut body) = change.clone();
            if message_type == "post.remove" {
                body = json!({ "post": post });
            }
            let expected = match (act, message_type) {
                // A private user's inbox is open to strangers, unless they say otherwise.
                ("dm.send", "privacy.update") if body["private"] == true => None,
                ("like.add", "privacy.update") if body["private"].is_null() => None,
                ("dm.send", "post.remove") => None,
                ("dm.send", _) => Some(Forbidden),
                _ => Some(code),
            };
            let said = match act {
                "dm.send" => json!({ "to": "alice", "text": "hi" }),
                _ => json!({ "post": post, "text": "hi" }),
            };
            let end = raced(&world, ("bobby", act, said), (from, message_type, body)).await;
            assert_eq!(end, expected, "{act} and {message_type}");
        }
    }
}

#[tokio::test]
async fn a_follow_that_races_a_lock_becomes_a_request_and_one_that_races_an_unlock_a_follow() {
    for private in [true, false] {
        let world = World::with(&["alice", "bobby"]).await;
        world.ok("alice", "privacy.update", json!({ "private": !private })).await;
        let lock = ("alice", "privacy.update", json!({ "private": private }));
        assert_eq!(raced(&world, ("bobby", "follow.add", json!({ "user": "alice" })), lock).await, None);
        let state = if private { "requested" } else { "following" };
        let face = world.ok("bobby", "profile.get", json!({ "user": "alice" })).await;
        assert_eq!(face["user"]["you"], state);
    }
}

#[tokio::test]
async fn answers_race_the_asking_ones_own_messages_and_blocks() {
    for answer in ["request.accept", "request.reject"] {
        for (from, message_type) in
            [("bobby", "follow.remove"), ("alice", "block.add"), ("bobby", "block.add")]
        {
            let world = World::with(&["alice", "bobby"]).await;
            world.ok("alice", "privacy.update", json!({ "private": true })).await;
            world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
            let other = if from == "alice" { "bobby" } else { "alice" };
            let first = ("alice", answer, json!({ "user": "bobby" }));
            let end = raced(&world, first, (from, message_type, json!({ "user": other }))).await;
            let expected = (answer == "request.accept").then_some(NotFound);
            assert_eq!(end, expected, "{answer}, {from} {message_type}");
            assert!(!world.is_on("follow", "bobby", "alice"));
        }
    }
    let world = World::with(&["alice"]).await;
    let lost = world.run(&world.message("alice", "request.accept", &json!({ "user": "nobody" }))).await;
    assert_eq!(refusal(lost), NotFound);
}
