//! `post.create`: a post, its row in the author's list, the author's count.

use futures_util::future::OptionFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::MemberRole;
use soundoff_common::model::posts::{Audience, News, State};
use soundoff_common::model::sight;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Condition, Item, Table, Write};
use soundoff_common::protocol::{ErrorCode, Handle};

use crate::groups::group::Place;
use crate::posts::attached;
use crate::posts::post::{self, OnePost, Stored};
use crate::rules::texts;

/// A new post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostCreate {
    /// What it says; at least one character, unless there are media.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    text: String,
    /// Ids of media of the sender's that have passed their check.
    #[schemars(length(max = 4))]
    media: Option<Vec<String>>,
    /// Whom it is for; everyone when absent. A private user's posts are for followers in any case.
    audience: Option<Audience>,
    /// The id of a group that the sender is in: it decides who sees the post, so `audience` is absent or `everyone`.
    group: Option<String>,
}

impl MessageType for PostCreate {
    const TYPE: &'static str = "post.create";
    const SUMMARY: &'static str =
        "Posts. Online followers, or online members of the group, get the event `post.created`.";
    const ARCHIVED: Archived = Archived::Public;
    const TERMS: Terms = Terms::USUAL.cost(4).at_most(30, 1_000);
    const CAUSES: &'static [&'static str] = &[post::FANOUT];
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let Self { text, media, audience, group } = &request.body;
        let audience = audience.unwrap_or_default();
        if group.is_some() && !audience.is_everyone() {
            let message = "a post in a group has no audience of its own: leave audience out";
            return Err(Failure::reject(ErrorCode::BadMessage, message));
        }
        let chosen = media.as_deref().unwrap_or_default();
        match chosen {
            [] => texts::message(text, texts::MAX_POST)?,
            _ => texts::beside_pictures(text, texts::MAX_POST)?,
        }
        let (id, author) = (request.mid, &request.from);
        let place =
            OptionFuture::from(group.as_deref().map(|group| posting(cx, author, group))).await.transpose()?;
        let is_open = audience.is_everyone() && place.is_none();
        let attached::Chosen { attached, writes: attaching, private } =
            attached::chosen(cx, author, chosen, is_open).await?;
        let post = Stored {
            author: author.clone(),
            text: text.clone(),
            created_at: request.at,
            likes: 0,
            comments: 0,
            media: attached,
            deleted: false,
            deleted_by: None,
            audience,
            group: place.as_ref().map(|place| place.id),
            state: State::Shown,
            state_mid: None,
            state_by: None,
            reason: None,
        };
        let mut writes = vec![
            Write::put(Table::Entities, post::key(id), Item::of(&post)).when(Condition::Missing),
            Write::put(Table::Entities, post::listed(&post, id), Item::new()),
        ];
        writes.extend(post::counted(&post, 1));
        writes.extend(place.iter().flat_map(Place::unchanged));
        writes.extend(attaching);
        let news = post::tell_others(&post, News::Created, id);
        let reply = OnePost { post: sight::own(post, id, private, &cx.pictures) };
        Ok(Outcome::effect(reply, writes).then(news))
    }
}

/// The group that the sender posts in.
async fn posting(cx: &Context, author: &Handle, group: &str) -> Result<Place, Failure> {
    let (place, _) = Place::read(cx, author, group, Vec::new()).await?;
    place.at_least(MemberRole::Member)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn a_post_is_listed_counted_and_announced() {
        let world = World::with(&["alice"]).await;
        let message = world.message("alice", "post.create", &json!({ "text": "hi", "media": [] }));
        let done = world.run(&message).await.unwrap();
        let reply = crate::testing::world::reply(&done);
        let expected = json!({ "post": {
            "id": message.mid.to_string(), "author": "alice", "text": "hi",
            "created_at": soundoff_common::protocol::rfc3339(message.at), "likes": 0, "comments": 0,
        }});
        assert_eq!(reply, expected);
        assert_eq!(done.follow_ups.len(), 1);
        assert_eq!(done.follow_ups[0].message_type, "post.fanout");
        assert!(
            !done.follow_ups[0].body.get().contains("hi"),
            "the fan-out reads the post: it may be gone by then"
        );
        let list = world.ok("alice", "post.list", json!({})).await;
        assert_eq!(list["items"][0], expected["post"]);
        world.audit();
    }

    #[tokio::test]
    async fn what_is_no_post_is_refused() {
        let world = World::with(&["alice"]).await;
        for (body, code) in [
            (json!({}), ErrorCode::BadMessage),
            (json!({ "text": " \n" }), ErrorCode::BadMessage),
            (json!({ "text": "x", "media": ["m1"] }), ErrorCode::NotFound),
            (json!({ "text": "x", "media": "m1" }), ErrorCode::BadMessage),
            (json!({ "text": "x".repeat(2001) }), ErrorCode::TooLarge),
        ] {
            assert_eq!(world.refused("alice", "post.create", body).await, code);
        }
        world.ok("alice", "post.create", json!({ "text": "🦀".repeat(2000) })).await;
    }
}
