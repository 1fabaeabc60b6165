//! Who is told of what, in how many words, and who finds a group.

use serde_json::{Value, json};
use soundoff_common::pipeline::handler::FollowUp;

use super::{Room, found, post};
use crate::testing::world::{World, reply};

fn told(world: &World, who: &str) -> Vec<(String, Value)> {
    world.inbox(who).into_iter().filter(|(kind, _)| kind.starts_with("group.")).collect()
}

#[tokio::test]
async fn who_asks_is_announced_to_moderators_once_and_told_when_they_are_in() {
    let Room { world, group, .. } = Room::with("closed").await;
    let asked = |by: &str| ("group.asked".to_owned(), json!({ "group": group, "by": by }));
    let body = json!({ "group": group });
    world.ok("moderator", "block.add", json!({ "user": "fresh" })).await;
    for _ in 0..2 {
        world.ok("fresh", "group.join", body.clone()).await;
        world.ok("fresh", "group.leave", body.clone()).await;
    }
    world.ok("fresh", "group.join", body.clone()).await;
    assert_eq!(told(&world, "owner").last(), Some(&asked("fresh")));
    let times = told(&world, "owner").iter().filter(|push| **push == asked("fresh")).count();
    assert_eq!(times, 1, "once per user");
    assert!(!told(&world, "moderator").contains(&asked("fresh")), "across a block");
    let list = json!({ "group": group, "state": "asked" });
    let asking = world.ok("owner", "group.members", list.clone()).await;
    assert_eq!(asking["items"], json!([{ "user": "fresh" }, { "user": "asking" }]));
    let asking = world.ok("moderator", "group.members", list).await;
    assert_eq!(asking["items"], json!([{ "user": "asking" }]));
    let accept = json!({ "group": group, "user": "fresh", "accept": true });
    let code = world.refused("moderator", "group.answer", accept.clone()).await;
    assert_eq!(code, soundoff_common::protocol::ErrorCode::Forbidden, "across a block");
    world.ok("owner", "group.answer", accept).await;
    assert_eq!(
        told(&world, "fresh"),
        [("group.joined".to_owned(), json!({ "group": group, "user": "fresh" }))]
    );
    let reject = json!({ "group": group, "user": "asking", "accept": false });
    world.ok("owner", "group.answer", reject).await;
    assert_eq!(told(&world, "asking"), [], "nobody is told that they are refused");
    world.audit();
}

#[tokio::test]
async fn who_is_invited_is_told_once_and_who_invited_them_hears_that_they_are_in() {
    for by in ["group.join", "group.answer"] {
        let Room { world, group, .. } = Room::with("secret").await;
        let invite = json!({ "group": group, "user": "fresh" });
        world.ok("member", "group.invite", invite.clone()).await;
        world.ok("fresh", "group.answer", json!({ "group": group, "accept": false })).await;
        world.ok("member", "group.invite", invite).await;
        let invited = ("group.invited".to_owned(), json!({ "group": group, "by": "member" }));
        assert_eq!(told(&world, "fresh"), [invited], "no name, no text, and once per group");
        let reply = world.ok("fresh", by, json!({ "group": group, "accept": true })).await;
        assert_eq!(reply, json!({ "group": group, "user": "fresh", "state": "in", "role": "member" }));
        let joined = ("group.joined".to_owned(), json!({ "group": group, "user": "fresh" }));
        assert_eq!(told(&world, "member").last(), Some(&joined));
        world.audit();
    }
}

#[tokio::test]
async fn a_request_that_a_moderator_invites_is_accepted_and_a_role_is_told_when_it_is_new() {
    let Room { world, group, .. } = Room::with("closed").await;
    let body = json!({ "group": group, "user": "asking", "role": "moderator" });
    let state = world.ok("member", "group.invite", body.clone()).await["state"].clone();
    assert_eq!(state, "asked", "a member cannot let in who asks");
    assert_eq!(world.ok("moderator", "group.invite", body.clone()).await["state"], "in");
    for _ in 0..2 {
        world.ok("owner", "group.role", body.clone()).await;
    }
    let expected = [
        ("group.joined".to_owned(), json!({ "group": group, "user": "asking" })),
        ("group.role".to_owned(), json!({ "group": group, "role": "moderator" })),
    ];
    assert_eq!(told(&world, "asking"), expected);
}

/// All events that a message leads to: type, and to whom.
async fn heard(world: &World, from: &str, first: Option<FollowUp>) -> Vec<(&'static str, Vec<String>)> {
    let (mut heard, mut next) = (Vec::new(), first);
    while let Some(FollowUp { message_type, body, .. }) = next.take() {
        let mut message = world.message(from, message_type, &json!(null));
        (message.id, message.body) = (String::new(), body);
        let done = world.run(&message).await.unwrap();
        heard.extend(
            done.events.iter().map(|event| {
                (event.event_type, event.to.iter().map(ToString::to_string).collect::<Vec<_>>())
            }),
        );
        next = done.follow_ups.into_iter().next();
    }
    heard
}

#[tokio::test]
async fn members_hear_of_a_post_and_the_authors_followers_do_not() {
    for sight in ["public", "closed", "secret"] {
        let Room { world, group, .. } = Room::with(sight).await;
        for who in ["owner", "moderator", "member", "asking", "invited", "barred", "outsider", "fresh"] {
            world.online(who).await;
            if who != "member" {
                world.ok(who, "follow.add", json!({ "user": "member" })).await;
            }
        }
        world.ok("owner", "group.invite", json!({ "group": group, "user": "fresh" })).await;
        world.ok("fresh", "group.join", json!({ "group": group })).await;
        world.ok("fresh", "block.add", json!({ "user": "member" })).await;
        let made = world.done("member", "post.create", json!({ "text": "e5", "group": group })).await;
        let created = heard(&world, "member", made.follow_ups.first().cloned()).await;
        let members = vec!["moderator".to_owned(), "owner".to_owned()];
        let sorted = |mut heard: Vec<(&'static str, Vec<String>)>| {
            heard.iter_mut().for_each(|(_, to)| to.sort());
            heard
        };
        assert_eq!(sorted(created), [("post.created", members.clone())], "{sight}");
        let post = reply(&made)["post"]["id"].clone();
        let hidden = world.done("moderator", "group.hide", json!({ "group": group, "post": post })).await;
        let gone = heard(&world, "member", hidden.follow_ups.first().cloned()).await;
        assert_eq!(sorted(gone), [("post.deleted", members)], "{sight}");
        world.audit();
    }
}

#[tokio::test]
async fn a_group_is_found_by_how_its_name_begins_by_those_who_may_know_of_it() {
    let Room { world, group, .. } = Room::with("public").await;
    let find = async |who: &str, name: &str| {
        let found = world.ok(who, "group.find", json!({ "name": name })).await;
        let names = found["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let go = found(&world, "fresh", "closed", "open").await;
    world.ok("fresh", "group.update", json!({ "group": go, "name": "  CHESS  960 " })).await;
    for (who, name, expected) in [
        ("outsider", "ch", &["Chess", "  CHESS  960 "][..]),
        ("outsider", "chess ", &["Chess", "  CHESS  960 "]),
        ("outsider", "chess 9", &["  CHESS  960 "]),
        ("outsider", "cx", &[]),
        ("barred", "Chess", &["  CHESS  960 "]),
    ] {
        assert_eq!(find(who, name).await, expected, "{who} looks for {name}");
    }
    world.ok("owner", "group.update", json!({ "group": group, "sight": "secret" })).await;
    assert_eq!(find("outsider", "chess").await, ["  CHESS  960 "]);
    assert_eq!(find("owner", "chess").await, ["  CHESS  960 "], "its row is gone, for members, too");
    world.ok("fresh", "group.delete", json!({ "group": go })).await;
    assert!(find("outsider", "chess").await.is_empty());
    world.ok("owner", "group.update", json!({ "group": group, "sight": "closed" })).await;
    assert_eq!(find("outsider", "CHESS").await, ["Chess"]);
}

#[tokio::test]
async fn lists_show_what_is_now_and_only_what_may_be_seen() {
    let Room { world, group, post: first } = Room::with("closed").await;
    let second = post(&world, "owner", &group).await;
    world.ok("owner", "block.add", json!({ "user": "moderator" })).await;
    let ids = async |who: &str| {
        let page = world.ok(who, "group.posts", json!({ "group": group })).await;
        page["items"].as_array().unwrap().iter().map(|post| post["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids("member").await, [json!(second), json!(first)]);
    assert_eq!(ids("moderator").await, [json!(first)], "not across a block");
    let members = world.ok("moderator", "group.members", json!({ "group": group })).await;
    let expected =
        json!([{ "user": "member", "role": "member" }, { "user": "moderator", "role": "moderator" }]);
    assert_eq!(members["items"], expected);
    let mine = async |who: &str| {
        let list = world.ok(who, "group.list", json!({})).await;
        list["items"].as_array().unwrap().iter().map(|item| item["state"].clone()).collect::<Vec<_>>()
    };
    for (who, expected) in [
        ("owner", &["in"][..]),
        ("asking", &["asked"]),
        ("invited", &["invited"]),
        ("barred", &[]),
        ("outsider", &[]),
    ] {
        assert_eq!(mine(who).await, expected, "{who}");
    }
    world.ok("owner", "group.update", json!({ "group": group, "sight": "secret" })).await;
    assert!(mine("asking").await.is_empty(), "its name is not for who asks any more");
    let list = world.ok("owner", "post.list", json!({})).await;
    assert_eq!(list["items"], json!([]), "a group's post is on no list of its author's");
    let profile = world.ok("owner", "profile.get", json!({})).await;
    assert_eq!(profile["user"]["posts"], 0);
}
