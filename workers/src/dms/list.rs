//! `dm.list`: what two people have written to each other, newest first. A block hides all of it from both users.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Table, TableError};
use soundoff_common::protocol::Handle;

use crate::dms::dm::{self, DirectMessage, Stored};
use crate::rules::paging::{List, Pages, Window};
use crate::rules::people;

/// With whom, and which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DmList {
    /// The other user.
    with: Handle,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for DmList {
    const TYPE: &'static str = "dm.list";
    const SUMMARY: &'static str =
        "Direct messages with a user, newest first, both ways. `not_found` across a block.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<DirectMessage>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<DirectMessage>>, Failure> {
        let Self { with, before, limit } = &request.body;
        let window = Window::of(before.as_deref(), *limit)?;
        let me = &request.from;
        people::not_oneself(me, with, "writes to")?;
        let mut pages = Pages::new(Table::Entities, dm::partition(me, with), "", window);
        let standing = people::meet(cx, me, with, Vec::new());
        let ((met, _), rows) = try_join(standing, pages.read(&*cx.tables)).await?;
        met.may_see()?;
        let shown = rows.into_iter().map(|(id, item)| Ok((id, Some(Stored::parse(item)?.shown(id)))));
        pages.keep(shown.collect::<Result<Vec<_>, TableError>>()?);
        Ok(Outcome::read(pages.list()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn both_see_the_same_list_newest_first_and_no_third_sees_it() {
        let world = World::with(&["alice", "bobby", "carol"]).await;
        for (n, (from, to)) in
            [("alice", "bobby"), ("bobby", "alice")].into_iter().cycle().take(5).enumerate()
        {
            world.ok(from, "dm.send", json!({ "to": to, "text": n.to_string() })).await;
        }
        let first = world.ok("alice", "dm.list", json!({ "with": "bobby", "limit": 3 })).await;
        assert_eq!(first, world.ok("bobby", "dm.list", json!({ "with": "alice", "limit": 3 })).await);
        let rest = json!({ "with": "bobby", "before": first["next"] });
        let rest = world.ok("alice", "dm.list", rest).await;
        let both = [&first, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap());
        let texts: Vec<_> = both.map(|m| m["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["4", "3", "2", "1", "0"]);
        let none = world.ok("carol", "dm.list", json!({ "with": "alice" })).await;
        assert_eq!(none, json!({ "items": [], "next": null }));
        assert_eq!(
            world.refused("alice", "dm.list", json!({ "with": "alice" })).await,
            ErrorCode::BadMessage
        );
        assert_eq!(world.refused("alice", "dm.list", json!({ "with": "nobody" })).await, ErrorCode::NotFound);
    }
}
