//! `presence.get`: which of some users have a live socket. A user across a block is offline, and so is a private one to
//! who does not follow them.

use std::collections::HashSet;

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::{ErrorCode, Handle};

/// The most users in one request.
const MAX_USERS: usize = 100;

/// Of whom.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PresenceGet {
    /// Handles; what is no user's counts as offline.
    #[schemars(length(max = 100))]
    users: Vec<String>,
}

/// Who is there.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Presence {
    /// Those of the users who have a live socket, in the order asked.
    online: Vec<Handle>,
}

impl MessageType for PresenceGet {
    const TYPE: &'static str = "presence.get";
    const SUMMARY: &'static str = "Which of up to 100 users are online. Users across a block are not, nor are private users whom the sender does not follow.";
    const TERMS: Terms = Terms::USUAL.cost(2).sheddable();
    const READS: bool = true;
    type Body = Self;
    type Reply = Presence;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<Presence>, Failure> {
        let users = &request.body.users;
        if users.len() > MAX_USERS {
            let message = format!("{} users; at most {MAX_USERS} are taken", users.len());
            return Err(Failure::reject(ErrorCode::BadMessage, message));
        }
        let mut asked = HashSet::new();
        let handles = users.iter().filter_map(|user| user.parse::<Handle>().ok());
        let handles: Vec<Handle> = handles.filter(|handle| asked.insert(handle.clone())).collect();
        if handles.is_empty() {
            return Ok(Outcome::read(Presence { online: Vec::new() }));
        }
        let sockets = async { Ok::<_, Failure>(cx.sessions.get_many(&handles).await?) };
        let met = async { Ok(sight::meet_all(&*cx.tables, &request.from, &handles).await?) };
        let (sockets, met) = try_join(sockets, met).await?;
        let there = handles.into_iter().zip(sockets);
        let online = there.filter(|(who, sockets)| !sockets.is_empty() && met.to(who).may_see_lists());
        Ok(Outcome::read(Presence { online: online.map(|(who, _)| who).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn names_those_with_a_socket_in_the_order_asked() {
        let world = World::with(&["alice", "bobby", "carol", "david"]).await;
        for online in ["alice", "carol", "david"] {
            world.online(online).await;
        }
        world.ok("david", "block.add", json!({ "user": "alice" })).await;
        let users = json!(["carol", "bobby", "nobody", "Not A Handle", "david", "alice", "carol", "block#x"]);
        let presence = world.ok("alice", "presence.get", json!({ "users": users })).await;
        assert_eq!(presence, json!({ "online": ["carol", "alice"] }));
        assert_eq!(world.ok("alice", "presence.get", json!({ "users": [] })).await, json!({ "online": [] }));
        let many: Vec<_> = (0..101).map(|n| format!("u{n:03}")).collect();
        let code = world.refused("alice", "presence.get", json!({ "users": many })).await;
        assert_eq!(code, ErrorCode::BadMessage);
    }
}
