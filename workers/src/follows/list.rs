//! `follow.list`: whom a user follows, or who follows them, newest first.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::follows::follow;
use crate::rules::paging::{List, Pages, Window};
use crate::rules::{listed, people};

/// Which side of following.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Who follows the user.
    Followers,
    /// Whom the user follows.
    Following,
}

/// Whose list, which one, and which part of it.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FollowList {
    /// The user; the sender when absent.
    user: Option<Handle>,
    /// `followers` or `following`.
    direction: Direction,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for FollowList {
    const TYPE: &'static str = "follow.list";
    const SUMMARY: &'static str = "Handles of followers or followed, newest first, without users across a block from the sender. `forbidden` when the user is private and the sender does not follow them.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<Handle>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Handle>>, Failure> {
        let Self { user, direction, before, limit } = &request.body;
        let window = Window::of(before.as_deref(), *limit)?;
        let (me, user) = (&request.from, user.as_ref().unwrap_or(&request.from));
        let partition = match direction {
            Direction::Followers => follow::followers(user),
            Direction::Following => follow::following(user),
        };
        let mut pages = Pages::new(Table::Relationships, partition, follow::PREFIX, window);
        let standing = people::meet(cx, me, user, Vec::new());
        let ((mut met, _), rows) = try_join(standing, pages.read(&*cx.tables)).await?;
        met.may_see_lists(cx).await?;
        listed::people(cx, me, pages, rows).await.map(Outcome::read)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn both_directions_newest_first() {
        let world = World::with(&["alice", "bobby", "carol", "david"]).await;
        for from in ["alice", "carol", "david"] {
            world.ok(from, "follow.add", json!({ "user": "bobby" })).await;
        }
        let followers = json!({ "user": "bobby", "direction": "followers", "limit": 2 });
        let page = world.ok("alice", "follow.list", followers).await;
        assert_eq!(page["items"], json!(["david", "carol"]));
        let rest = json!({ "user": "bobby", "direction": "followers", "before": page["next"] });
        let rest = world.ok("alice", "follow.list", rest).await;
        assert_eq!(rest, json!({ "items": ["alice"], "next": null }));
        let following = world.ok("carol", "follow.list", json!({ "direction": "following" })).await;
        assert_eq!(following["items"], json!(["bobby"]));
        for bad in [json!({}), json!({ "direction": "sideways" })] {
            assert_eq!(world.refused("alice", "follow.list", bad).await, ErrorCode::BadMessage);
        }
    }
}
