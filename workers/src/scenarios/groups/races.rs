//! The worst moment: somebody else's change commits between a handler's read and its own commit.

use serde_json::{Value, json};
use soundoff_common::model::groups::{self, MAX_MEMBERS, counted};
use soundoff_common::ports::tables::{Change, Table, Tables as _, Write};
use soundoff_common::protocol::ErrorCode::{self, Conflict, Forbidden, NotFound};

use super::Room;
use crate::testing::world::refusal;

type Sent = (&'static str, &'static str, Value);

/// Runs `first`'s handler up to its commit, then all of `second` in another process, and then the rest of `first`.
async fn raced(room: &Room, first: Sent, second: Sent) -> Option<ErrorCode> {
    let message = room.world.message(first.0, first.1, &room.body(first.2));
    let other = room.world.another_process();
    let body = room.body(second.2);
    room.world.tables.before_next_write(Box::pin(async move {
        other.ok(second.0, second.1, body).await;
    }));
    let end = room.world.run(&message).await;
    assert!(room.world.tables.has_come_between(), "{} has not written at all", first.1);
    end.is_err().then(|| refusal(end))
}

#[tokio::test]
async fn nobody_acts_in_a_group_after_the_answer_that_forbids_it() {
    let bar = |user: &'static str| ("moderator", "group.bar", json!({ "user": user }));
    let update = |more: Value| ("owner", "group.update", more);
    let delete = ("owner", "group.delete", json!({}));
    let step_down = ("moderator", "group.role", json!({ "user": "moderator", "role": "member" }));
    let post = |who: &'static str| (who, "post.create", json!({ "text": "x" }));
    let act = |who: &'static str, what: &'static str| (who, what, json!({ "text": "x" }));
    let on =
        |what: &'static str, user: &'static str| ("moderator", what, json!({ "user": user, "accept": true }));
    let cases: [(Sent, Sent, Option<ErrorCode>); 19] = [
        (post("member"), bar("member"), Some(NotFound)),
        (post("member"), ("member", "group.leave", json!({})), Some(Forbidden)),
        (post("member"), delete.clone(), Some(NotFound)),
        (act("asking", "like.add"), update(json!({ "sight": "closed" })), Some(NotFound)),
        (act("asking", "comment.create"), update(json!({ "sight": "secret" })), Some(NotFound)),
        (act("asking", "like.add"), bar("asking"), Some(NotFound)),
        (act("outsider", "like.add"), bar("outsider"), Some(NotFound)),
        (act("moderator", "like.add"), delete.clone(), Some(NotFound)),
        (("outsider", "group.join", json!({})), bar("outsider"), Some(NotFound)),
        (("outsider", "group.join", json!({})), update(json!({ "sight": "secret" })), Some(NotFound)),
        (("outsider", "group.join", json!({})), update(json!({ "entry": "invite" })), Some(Forbidden)),
        (("outsider", "group.join", json!({})), delete.clone(), Some(NotFound)),
        (on("group.answer", "asking"), ("asking", "group.leave", json!({})), Some(NotFound)),
        (on("group.answer", "asking"), step_down.clone(), Some(Forbidden)),
        (on("group.invite", "fresh"), step_down.clone(), None),
        (on("group.bar", "member"), step_down.clone(), Some(Forbidden)),
        (("moderator", "group.hide", json!({})), step_down, Some(Forbidden)),
        (("owner", "group.update", json!({ "name": "Go" })), delete.clone(), Some(NotFound)),
        (delete.clone(), delete, Some(NotFound)),
    ];
    for (first, second, code) in cases {
        let room = Room::with("public").await;
        let (mut first, case) = (first.clone(), format!("{first:?}, then {second:?}"));
        first.2["post"] = json!(room.post);
        assert_eq!(raced(&room, first, second).await, code, "{case}");
        room.world.audit();
    }
}

#[tokio::test]
async fn two_owners_who_step_down_at_once_leave_one() {
    for verb in ["group.leave", "group.role"] {
        let room = Room::with("closed").await;
        room.world.ok("owner", "group.role", room.body(json!({ "user": "member", "role": "owner" }))).await;
        let down = |user: &'static str| (user, verb, json!({ "user": user, "role": "member" }));
        assert_eq!(raced(&room, down("owner"), down("member")).await, Some(Conflict), "{verb}");
        room.world.audit();
    }
}

#[tokio::test]
async fn of_two_who_take_the_last_place_one_is_refused() {
    let room = Room::with("public").await;
    room.world.ok("owner", "group.update", room.body(json!({ "entry": "open" }))).await;
    let full = vec![Change::Set(counted::MEMBERS, (MAX_MEMBERS - 1).into())];
    let key = groups::count_key(room.group.parse().unwrap());
    room.world.tables.write(vec![Write::update(Table::Entities, key, full)]).await.unwrap();
    let join = |user: &'static str| (user, "group.join", json!({}));
    assert_eq!(raced(&room, join("outsider"), join("fresh")).await, Some(Conflict));
    assert_eq!(room.world.refused("invited", "group.join", room.body(json!({}))).await, Conflict);
}

#[tokio::test]
async fn of_a_groups_and_the_deployments_moderator_the_deployments_stands() {
    for by_group_first in [true, false] {
        for (theirs, state) in [("post.remove", "hidden"), ("post.restore", "shown")] {
            let room = Room::with("closed").await;
            super::promote(&room.world, "outsider").await;
            let hide = ("moderator", "group.hide", json!({ "post": room.post }));
            let decide = ("outsider", theirs, json!({ "post": room.post }));
            let (first, second) = if by_group_first { (hide, decide) } else { (decide, hide) };
            raced(&room, first, second).await;
            let (mut seen, who) =
                (room.world.ok("member", "post.get", json!({ "post": room.post })).await, "owner");
            let seen = seen["post"]["state"].take();
            match (theirs, by_group_first) {
                ("post.remove", _) => {
                    assert_eq!(seen, state);
                    let code =
                        room.world.refused(who, "group.show", room.body(json!({ "post": room.post }))).await;
                    assert_eq!(code, Forbidden, "by group first: {by_group_first}");
                }
                // A post that the deployment shows is the group's to hide.
                (_, true) => assert!(seen.is_null() || seen == "hidden"),
                (_, false) => assert!(seen.is_null(), "{seen}"),
            }
            room.world.audit();
        }
    }
}
