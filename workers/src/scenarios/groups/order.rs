//! Messages that overtake each other: what is later wins, and what arrives late changes nothing.

use serde_json::{Value, json};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::Table;

use super::{Room, found};
use crate::testing::world::World;

/// All orders of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    shorter
        .iter()
        .flat_map(|order| {
            (0..n).map(|at| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}

fn state(world: &World, group: &str, user: &str) -> Value {
    let item = world.item(Table::Relationships, &format!("member#{group}"), &format!("s#{user}"));
    item.map_or(json!("out"), |item| item.get("state").unwrap().clone())
}

async fn deliver(world: &World, message: &Envelope) {
    if let Err(failure @ (Failure::Retry(_) | Failure::Wait(_))) = world.run(message).await {
        panic!("{}: {failure}", message.message_type);
    }
    world.audit();
}

#[tokio::test]
async fn the_latest_of_a_users_own_messages_wins_in_every_order() {
    for (messages, end) in [
        (&["join", "leave"][..], "out"),
        (&["leave", "join"], "in"),
        (&["join", "leave", "join"], "in"),
        (&["join", "join", "leave", "leave"], "out"),
    ] {
        for order in orders(messages.len()) {
            let world = World::with(&["owner", "anna"]).await;
            let group = found(&world, "owner", "public", "open").await;
            let body = json!({ "group": group });
            let sent: Vec<_> =
                messages.iter().map(|kind| world.message("anna", &format!("group.{kind}"), &body)).collect();
            for at in &order {
                deliver(&world, &sent[*at]).await;
                deliver(&world, &sent[*at]).await;
            }
            assert_eq!(state(&world, &group, "anna"), end, "{messages:?} in the order {order:?}");
        }
    }
}

/// What others decide about a user is in order among itself, and a bar holds whatever the user sends meanwhile.
#[tokio::test]
async fn the_latest_decision_stands_in_every_order() {
    type Sent = (&'static str, &'static str, Value);
    let join = || ("anna", "group.join", json!({}));
    let leave = || ("anna", "group.leave", json!({}));
    let bar = |barred: bool| ("owner", "group.bar", json!({ "user": "anna", "barred": barred }));
    let cases: [(Vec<Sent>, &[&str]); 6] = [
        // What the user has sent since does not outrun it.
        (vec![bar(true), join()], &["barred"]),
        (vec![bar(true), bar(false)], &["out"]),
        (vec![bar(false), bar(true)], &["barred"]),
        (vec![join(), bar(true)], &["barred"]),
        (vec![join(), leave(), join(), bar(true)], &["barred"]),
        // The last join is refused when it comes before the bar is taken back.
        (vec![join(), bar(true), bar(false), join()], &["in", "out"]),
    ];
    for (messages, ends) in cases {
        for order in orders(messages.len()) {
            let world = World::with(&["owner", "anna"]).await;
            let group = found(&world, "owner", "public", "open").await;
            let sent = messages.iter().map(|(from, kind, more)| {
                let mut body = more.clone();
                body["group"] = json!(group);
                world.message(from, kind, &body)
            });
            let sent: Vec<_> = sent.collect();
            for at in &order {
                deliver(&world, &sent[*at]).await;
            }
            let end = state(&world, &group, "anna");
            let case = format!("{messages:?} in the order {order:?}: {end}");
            assert!(ends.contains(&end.as_str().unwrap()), "{case}");
        }
    }
}

#[tokio::test]
async fn a_late_invitation_answer_or_role_changes_nothing() {
    let Room { world, group, .. } = Room::with("closed").await;
    let body = |more: Value| {
        let mut body = more;
        body["group"] = json!(group);
        body
    };
    // Who has left since is not invited, and not let in.
    let invite = world.message("owner", "group.invite", &body(json!({ "user": "fresh" })));
    let answer = world.message("owner", "group.answer", &body(json!({ "user": "asking", "accept": true })));
    let role = world.message("owner", "group.role", &body(json!({ "user": "member", "role": "moderator" })));
    for user in ["fresh", "asking", "member"] {
        world.ok(user, "group.leave", body(json!({}))).await;
    }
    world.ok("asking", "group.join", body(json!({}))).await;
    world.ok("owner", "group.invite", body(json!({ "user": "member" }))).await;
    world.ok("member", "group.join", body(json!({}))).await;
    for late in [invite, answer, role] {
        deliver(&world, &late).await;
    }
    assert_eq!(state(&world, &group, "fresh"), "out");
    assert_eq!(state(&world, &group, "asking"), "asked", "the answer was to an earlier request");
    let seen = world.ok("member", "group.get", body(json!({}))).await;
    assert_eq!(seen["role"], "member", "the role was of an earlier membership");
}

#[tokio::test]
async fn what_was_sent_before_a_bar_or_a_refusal_does_not_bring_a_user_back() {
    let Room { world, group, .. } = Room::with("public").await;
    let body = |more: Value| {
        let mut body = more;
        body["group"] = json!(group);
        body
    };
    let late = ["fresh", "asking"].map(|user| world.message(user, "group.join", &body(json!({}))));
    for barred in [true, false] {
        world.ok("owner", "group.bar", body(json!({ "user": "fresh", "barred": barred }))).await;
    }
    world.ok("owner", "group.answer", body(json!({ "user": "asking", "accept": false }))).await;
    for message in late {
        deliver(&world, &message).await;
    }
    for user in ["fresh", "asking"] {
        assert_eq!(state(&world, &group, user), "out", "{user}");
        assert_eq!(world.ok(user, "group.join", body(json!({}))).await["state"], "asked");
    }
    world.audit();
}

#[tokio::test]
async fn who_leaves_before_they_are_let_in_is_out_in_every_order() {
    for swapped in [false, true] {
        let Room { world, group, .. } = Room::with("closed").await;
        let leave = world.message("asking", "group.leave", &json!({ "group": group }));
        let body = json!({ "group": group, "user": "asking", "accept": true });
        let answer = world.message("owner", "group.answer", &body);
        for message in if swapped { [&answer, &leave] } else { [&leave, &answer] } {
            deliver(&world, message).await;
        }
        assert_eq!(state(&world, &group, "asking"), "out");
    }
}

#[tokio::test]
async fn each_field_of_a_group_is_that_of_the_latest_message() {
    let Room { world, group, .. } = Room::with("public").await;
    let older =
        world.message("owner", "group.update", &json!({ "group": group, "name": "Go", "about": "stones" }));
    world.ok("owner", "group.update", json!({ "group": group, "name": "Shogi" })).await;
    deliver(&world, &older).await;
    let seen = world.ok("owner", "group.get", json!({ "group": group })).await;
    assert_eq!((&seen["group"]["name"], &seen["group"]["about"]), (&json!("Shogi"), &json!("stones")));
}
