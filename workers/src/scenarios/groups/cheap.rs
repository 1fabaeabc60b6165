//! What a post in a large group costs.

use serde_json::json;
use soundoff_common::model::follows::{self, PREFIX, Row};
use soundoff_common::model::groups;
use soundoff_common::pipeline::handler::FollowUp;
use soundoff_common::ports::tables::{Item, Key, MAX_WRITES, Table, Tables as _, Write};
use ulid::Ulid;

use super::found;
use crate::testing::world::{World, user};

/// How many members the group has, and followers the author.
const MANY: u32 = 100_000;

/// Puts that many users on a list, as their messages would.
async fn fill(world: &World, partition: &str) {
    let row = |n: u32| {
        let key = Key::new(partition, format!("{PREFIX}{}", Ulid::from_parts(1, n.into())));
        Write::put(Table::Relationships, key, Item::of(&Row { who: user(&format!("m{n:06}")) }))
    };
    let rows: Vec<Write> = (0..MANY).map(row).collect();
    for part in rows.chunks(MAX_WRITES) {
        world.tables.write(part.to_vec()).await.unwrap();
    }
}

/// Reads and writes of a post and all that follows it, and the messages that this takes.
async fn cost(world: &World, body: serde_json::Value) -> (u64, u64, u32) {
    world.tables.calls();
    let made = world.done("owner", "post.create", body).await;
    let (mut next, mut messages) = (made.follow_ups.into_iter().next(), 0);
    while let Some(FollowUp { message_type, body, .. }) = next.take() {
        let mut message = world.message("owner", message_type, &json!(null));
        (message.id, message.body) = (String::new(), body);
        next = world.run(&message).await.unwrap().follow_ups.into_iter().next();
        messages += 1;
    }
    let (reads, writes) = world.tables.calls();
    (reads, writes, messages)
}

#[tokio::test]
async fn a_post_for_a_hundred_thousand_members_costs_what_one_for_as_many_followers_does() {
    let world = World::with(&["owner"]).await;
    let group = found(&world, "owner", "closed", "open").await;
    fill(&world, &follows::followers(&user("owner"))).await;
    fill(&world, &groups::members(group.parse().unwrap())).await;
    for online in ["m000007", "m099999"] {
        world.online(online).await;
    }
    let followers = cost(&world, json!({ "text": "hi" })).await;
    let members = cost(&world, json!({ "text": "hi", "group": group })).await;
    let pages = MANY / 500;
    assert_eq!(followers, (u64::from(2 * pages + 2), 1, pages), "post and list of each page; who is online");
    // The owner is one more member, and a post in a group is checked against the group before it is written.
    assert_eq!(members, (followers.0 + 2 + 1, 1, pages + 1));
}
