//! Who may do what: every type, by every thing that somebody may be in a group of every sight.

use serde_json::{Value, json};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::protocol::{ErrorBody, ErrorCode};
use ulid::Ulid;

use super::{ROLES, Room, promote};
use crate::testing::world::World;

/// What is asked of the group, with the id of the member's post.
type Body = fn(&str) -> Value;

/// What each of [`ROLES`] gets: `o` for a reply, `f` forbidden, `n` not found, `c` conflict. One word for a public group,
/// one for a closed, one for a secret one.
const TABLE: [(&str, Body, [&str; 3]); 21] = [
    ("group.get", |_| json!({}), ["ooooono", "ooooono", "ooononn"]),
    ("group.update", |_| json!({ "about": "x" }), ["offffnf", "offffnf", "offnfnn"]),
    ("group.join", |_| json!({}), ["ooooono", "ooooono", "ooononn"]),
    ("group.leave", |_| json!({}), ["coooono", "coooono", "coooonn"]),
    ("group.invite", |_| json!({ "user": "fresh" }), ["oooffnf", "oooffnf", "ooonfnn"]),
    ("group.answer", |_| json!({ "user": "asking", "accept": true }), ["oofnfnf", "oofnfnf", "oofnfnn"]),
    ("group.answer", |_| json!({ "accept": true }), ["nnnnonn", "nnnnonn", "nnnnonn"]),
    ("group.bar", |_| json!({ "user": "fresh" }), ["oofffnf", "oofffnf", "oofnfnn"]),
    ("group.role", |_| json!({ "user": "member", "role": "moderator" }), ["offffnf", "offffnf", "offnfnn"]),
    ("group.members", |_| json!({}), ["ooooono", "oooffnf", "ooonfnn"]),
    ("group.members", |_| json!({ "state": "asked" }), ["oofffnf", "oofffnf", "oofnfnn"]),
    ("group.members", |_| json!({ "state": "barred" }), ["oofffnf", "oofffnf", "oofnfnn"]),
    ("group.posts", |_| json!({}), ["ooooono", "oooffnf", "ooonfnn"]),
    ("group.hide", |post| json!({ "post": post }), ["oofffnf", "oofffnf", "oofnfnn"]),
    ("group.show", |post| json!({ "post": post }), ["oofffnf", "oofffnf", "oofnfnn"]),
    ("group.delete", |_| json!({}), ["offffnf", "offffnf", "offnfnn"]),
    ("post.create", |_| json!({ "text": "d4" }), ["oooffnf", "oooffnf", "ooonfnn"]),
    ("post.get", |post| json!({ "post": post }), ["ooooono", "ooonnnn", "ooonnnn"]),
    ("like.add", |post| json!({ "post": post }), ["ooooono", "ooonnnn", "ooonnnn"]),
    ("comment.create", |post| json!({ "post": post, "text": "!" }), ["ooooono", "ooonnnn", "ooonnnn"]),
    ("comment.list", |post| json!({ "post": post }), ["ooooono", "ooonnnn", "ooonnnn"]),
];

async fn error(world: &World, from: &str, message_type: &str, body: &Value) -> Option<ErrorBody> {
    match world.run(&world.message(from, message_type, body)).await {
        Ok(_) => None,
        Err(Failure::Reject(error)) => Some(error),
        Err(other) => panic!("{from} {message_type} {body}: {other}"),
    }
}

#[tokio::test]
async fn each_type_is_for_those_whom_it_is_for() {
    for (at, sight) in ["public", "closed", "secret"].into_iter().enumerate() {
        for (message_type, body, expected) in TABLE {
            for (who, expected) in ROLES.into_iter().zip(expected[at].chars()) {
                let room = Room::with(sight).await;
                let body = room.body(body(&room.post));
                let before = room.world.tables.all();
                let refused = error(&room.world, who, message_type, &body).await;
                let code = match expected {
                    'o' => None,
                    'f' => Some(ErrorCode::Forbidden),
                    'n' => Some(ErrorCode::NotFound),
                    _ => Some(ErrorCode::Conflict),
                };
                let case = format!("{message_type} {body} by {who} in a {sight} group: {refused:?}");
                assert_eq!(refused.as_ref().map(|error| error.code), code, "{case}");
                match &refused {
                    None => room.world.audit(),
                    Some(_) => assert_eq!(before, room.world.tables.all(), "{case}"),
                }
            }
        }
    }
}

/// A group that somebody may not know of is refused in the same words as one that does not exist.
#[tokio::test]
async fn a_group_that_is_hidden_is_refused_like_one_that_is_not() {
    let room = Room::with("secret").await;
    let post = room.world.post("outsider", "mine").await;
    for (message_type, body, _) in TABLE {
        let mut here = room.body(body(&post));
        if here.get("post").is_some() && !message_type.starts_with("group.") {
            continue;
        }
        for who in ["barred", "outsider"] {
            let hidden = error(&room.world, who, message_type, &here).await;
            here["group"] = json!(Ulid::generate().to_string());
            let missing = error(&room.world, who, message_type, &here).await;
            here["group"] = json!(room.group);
            assert!(
                hidden.is_some() && hidden == missing,
                "{message_type} by {who}: {hidden:?}, {missing:?}"
            );
        }
    }
    for bad in ["", "x", "01arz3ndektsv4rrffq69g5fav", "\u{0}"] {
        let code = room.world.refused("owner", "group.get", json!({ "group": bad })).await;
        assert_eq!(code, ErrorCode::NotFound);
    }
}

#[tokio::test]
async fn a_moderator_of_the_deployment_sees_a_secret_group_and_its_posts_by_their_ids() {
    let room = Room::with("secret").await;
    promote(&room.world, "outsider").await;
    assert_eq!(room.world.ok("outsider", "group.get", room.body(json!({}))).await["state"], "out");
    room.world.ok("outsider", "post.get", json!({ "post": room.post })).await;
    for message_type in ["group.posts", "group.members", "group.join"] {
        let code = room.world.refused("outsider", message_type, room.body(json!({}))).await;
        assert_eq!(code, ErrorCode::NotFound, "{message_type}: not by a list, and not to act");
    }
}

#[tokio::test]
async fn moderators_do_not_reach_those_above_them_and_nobody_an_owner() {
    let room = Room::with("closed").await;
    let body = |user: &str, role: &str| room.body(json!({ "user": user, "role": role }));
    room.world.ok("owner", "group.role", body("member", "owner")).await;
    for (who, whom) in
        [("moderator", "owner"), ("moderator", "member"), ("member", "owner"), ("owner", "member")]
    {
        let code = room.world.refused(who, "group.bar", body(whom, "")).await;
        assert_eq!(code, ErrorCode::Forbidden, "{who} bars {whom}");
    }
    for (who, whom, role) in
        [("member", "owner", "member"), ("owner", "member", "moderator"), ("moderator", "moderator", "owner")]
    {
        let code = room.world.refused(who, "group.role", body(whom, role)).await;
        assert_eq!(code, ErrorCode::Forbidden, "{who} makes {whom} a {role}");
    }
    room.world.ok("owner", "group.bar", body("moderator", "")).await;
    room.world.ok("owner", "group.role", body("owner", "member")).await;
    let code = room.world.refused("member", "group.role", body("member", "member")).await;
    assert_eq!(code, ErrorCode::Conflict, "a group has an owner");
    room.world.audit();
}

#[tokio::test]
async fn who_may_join_is_what_the_entry_says() {
    for (entry, state) in [("open", "in"), ("ask", "asked"), ("invite", "")] {
        let room = Room::with("public").await;
        room.world.ok("owner", "group.update", room.body(json!({ "entry": entry }))).await;
        match state {
            "" => {
                let code = room.world.refused("outsider", "group.join", room.body(json!({}))).await;
                assert_eq!(code, ErrorCode::Forbidden);
            }
            state => {
                let reply = room.world.ok("outsider", "group.join", room.body(json!({}))).await;
                assert_eq!(reply["state"], state, "{entry}");
            }
        }
        let invite = room.body(json!({ "user": "fresh" }));
        match entry {
            "invite" => {
                let code = room.world.refused("member", "group.invite", invite.clone()).await;
                assert_eq!(code, ErrorCode::Forbidden, "a member who is no moderator");
            }
            _ => drop(room.world.ok("member", "group.invite", invite).await),
        }
        assert_eq!(room.world.ok("invited", "group.join", room.body(json!({}))).await["state"], "in");
        room.world.audit();
    }
}

#[tokio::test]
async fn what_is_no_group_is_refused() {
    let room = Room::with("public").await;
    let whole = json!({ "name": "Chess", "sight": "public", "entry": "open" });
    for (field, value, code) in [
        ("name", json!(null), ErrorCode::BadMessage),
        ("name", json!(" x "), ErrorCode::BadMessage),
        ("name", json!("two\nlines"), ErrorCode::BadMessage),
        ("name", json!("x".repeat(51)), ErrorCode::TooLarge),
        ("about", json!("x".repeat(501)), ErrorCode::TooLarge),
        ("sight", json!("hidden"), ErrorCode::BadMessage),
        ("entry", json!(7), ErrorCode::BadMessage),
    ] {
        let mut body = whole.clone();
        body[field] = value;
        assert_eq!(room.world.refused("fresh", "group.create", body).await, code, "{field}");
    }
    for (who, message_type, more) in [
        ("owner", "group.update", json!({})),
        ("owner", "group.invite", json!({ "user": "owner" })),
        ("owner", "group.bar", json!({ "user": "owner" })),
        ("owner", "group.role", json!({ "user": "member", "role": "king" })),
        ("owner", "group.members", json!({ "state": "out" })),
        ("owner", "group.members", json!({ "limit": 101 })),
        ("owner", "group.posts", json!({ "before": "x" })),
        ("member", "post.create", json!({ "text": "x", "audience": "close" })),
        ("member", "group.find", json!({ "name": "c" })),
    ] {
        let code = room.world.refused(who, message_type, room.body(more)).await;
        assert_eq!(code, ErrorCode::BadMessage, "{message_type}");
    }
    for (message_type, more) in [
        ("group.invite", json!({ "user": "nobody" })),
        ("group.role", json!({ "user": "fresh", "role": "owner" })),
        ("group.answer", json!({ "user": "fresh", "accept": true })),
    ] {
        let code = room.world.refused("owner", message_type, room.body(more)).await;
        assert_eq!(code, ErrorCode::NotFound, "{message_type}");
    }
    room.world.ok("member", "post.create", room.body(json!({ "text": "x", "audience": "everyone" }))).await;
}
