//! `profile.get`: a user's public face.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::accounts::Account;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::follows::follow::{self, FollowState};
use crate::profiles::profile::OneProfile;
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// Whose profile.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ProfileGet {
    /// The user; the sender when absent.
    user: Option<Handle>,
}

impl MessageType for ProfileGet {
    const TYPE: &'static str = "profile.get";
    const SUMMARY: &'static str = "A user's profile. `not_found` across a block.";
    const READS: bool = true;
    type Body = Self;
    type Reply = OneProfile;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneProfile>, Failure> {
        let user = request.body.user.as_ref().unwrap_or(&request.from);
        let me = &request.from;
        let is_own = user == me;
        let mine = if is_own { Vec::new() } else { vec![(Table::Relationships, follow::key(me, user))] };
        let (mut met, mut found) = people::meet(cx, me, user, mine).await?;
        met.may_see()?;
        let follow = Toggle::of(follow::key(me, user), found.pop().flatten())?;
        let account: Account = met.account()?.parse()?;
        let you = (!is_own).then(|| FollowState::of(follow.on(), follow.asked()));
        Ok(Outcome::read(OneProfile::of(account, !is_own && met.is_private(), you)))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn shows_the_sender_or_another_with_their_counts() {
        let world = World::with(&["alice", "bobby"]).await;
        world.post("bobby", "p").await;
        world.ok("alice", "follow.add", json!({ "user": "bobby" })).await;
        let mine = world.ok("alice", "profile.get", json!({})).await;
        assert_eq!(mine["user"]["following"], 1);
        let theirs = world.ok("alice", "profile.get", json!({ "user": "bobby", "unknown": 1 })).await;
        let expected = json!({ "user": {
            "handle": "bobby", "name": "", "bio": "", "followers": 1, "following": 0, "posts": 1,
            "created_at": "2023-11-14T22:13:20.000Z", "you": "following",
        }});
        assert_eq!(theirs, expected);
        let bad = json!({ "user": "X" });
        assert_eq!(world.refused("alice", "profile.get", bad).await, ErrorCode::BadMessage);
    }
}
