//! Groups across message types: who may do what, in any order, in any race, and what nobody else learns of.

mod cheap;
mod life;
mod order;
mod races;
mod table;
mod told;

use serde_json::{Value, json};
use soundoff_common::model::accounts;
use soundoff_common::ports::tables::{Change, Table, Tables as _, Write};

use crate::testing::world::{World, user};

/// One user for each thing that somebody may be in a group.
const ROLES: [&str; 7] = ["owner", "moderator", "member", "asking", "invited", "barred", "outsider"];

/// A world with one group of this sight, that all of [`ROLES`] are something in, and that `fresh` is nothing in. A
/// post of the member's is in it.
struct Room {
    world: World,
    group: String,
    post: String,
}

impl Room {
    async fn with(sight: &str) -> Self {
        let users = [&ROLES[..], &["fresh"]].concat();
        let world = World::with(&users).await;
        let group = found(&world, "owner", "closed", "ask").await;
        let body = |user: &str| json!({ "group": group, "user": user });
        for user in ["moderator", "member", "invited"] {
            world.ok("owner", "group.invite", body(user)).await;
        }
        for user in ["moderator", "member", "asking"] {
            world.ok(user, "group.join", json!({ "group": group })).await;
        }
        let mut role = body("moderator");
        role["role"] = json!("moderator");
        world.ok("owner", "group.role", role).await;
        world.ok("moderator", "group.bar", body("barred")).await;
        world.ok("owner", "group.update", json!({ "group": group, "sight": sight })).await;
        let post = post(&world, "member", &group).await;
        world.audit();
        Self { world, group, post }
    }

    /// A body that names the group.
    fn body(&self, more: Value) -> Value {
        let mut body = json!({ "group": self.group });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }
}

/// The id of a new group.
async fn found(world: &World, owner: &str, sight: &str, entry: &str) -> String {
    let body = json!({ "name": "Chess", "about": "moves", "sight": sight, "entry": entry });
    let reply = world.ok(owner, "group.create", body).await;
    assert_eq!((&reply["state"], &reply["role"]), (&json!("in"), &json!("owner")));
    reply["group"]["id"].as_str().unwrap().to_owned()
}

/// The id of a new post in a group.
async fn post(world: &World, author: &str, group: &str) -> String {
    let reply = world.ok(author, "post.create", json!({ "text": "e4", "group": group })).await;
    reply["post"]["id"].as_str().unwrap().to_owned()
}

/// Makes a user a moderator of the deployment.
async fn promote(world: &World, handle: &str) {
    let role = vec![Change::Set(accounts::attribute::ROLE, json!("moderator"))];
    let write = Write::update(Table::Users, accounts::key(&user(handle)), role);
    world.tables.write(vec![write]).await.unwrap();
}
