//! `comment.create`: a comment beside its post, the post's count, and a push to the post's author.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::affinity::{self, Deed};
use soundoff_common::model::posts::attribute;
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Change, Condition, Item, Table, Write};

use crate::comments::comment::{self, Comment, Stored};
use crate::{posts::post, rules::texts};

/// A new comment.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CommentCreate {
    /// The id of the post it is about.
    post: String,
    /// What it says.
    #[schemars(length(min = 1, max = 1000))]
    text: String,
}

/// What the reply and the push hold.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneComment {
    /// The comment.
    comment: Comment,
}

impl MessageType for CommentCreate {
    const TYPE: &'static str = "comment.create";
    const SUMMARY: &'static str =
        "Comments on a post. Its author gets the push `comment.created`, unless it is their own.";
    const TERMS: Terms = Terms::USUAL.cost(2).at_most(60, 5_000);
    const TELLS: &'static [Told] =
        &[Told::push::<OneComment>("comment.created", "Somebody has commented on your post.")];
    const HOT: Option<fn(&Self) -> &str> = Some(|comment| &comment.post);
    type Body = Self;
    type Reply = OneComment;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneComment>, Failure> {
        let Self { post, text } = &request.body;
        texts::message(text, texts::MAX_COMMENT)?;
        let (post, id, from) = (post::id(post)?, request.mid, &request.from);
        let about = post::undeleted(cx.tables.get(Table::Entities, post::key(post)).await?)?;
        let mut approached = post::approached(cx, from, &about).await?;
        approached.may_do(cx, &about, Act::Comment).await?;
        let comment = Stored { author: from.clone(), text: text.clone(), created_at: request.at };
        let count = vec![Change::Add(attribute::COMMENTS, 1)];
        let mut writes = vec![
            Write::put(Table::Entities, comment::key(post, id), Item::of(&comment)).when(Condition::Missing),
            Write::update(Table::Entities, post::key(post), count).when(about.as_decided()),
        ];
        writes.extend(approached.unchanged(&about));
        if about.author != *from {
            writes.push(affinity::count(from, &about.author, Deed::Comment, request.at));
        }
        let reply = OneComment { comment: comment.shown(post, id) };
        let push = (about.author != *from).then(|| Push {
            to: about.author,
            push_type: "comment.created",
            by: from.clone(),
            body: raw(&reply),
        });
        let outcome = Outcome::effect(reply, writes);
        Ok(match push {
            Some(push) => outcome.push(push),
            None => outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn the_posts_author_hears_of_others_comments_only() {
        let world = World::with(&["alice", "bobby"]).await;
        let post = world.post("alice", "hi").await;
        let reply = world.ok("bobby", "comment.create", json!({ "post": post, "text": "yo" })).await;
        assert_eq!((&reply["comment"]["author"], &reply["comment"]["text"]), (&json!("bobby"), &json!("yo")));
        assert_eq!(reply["comment"]["post"], post.as_str());
        world.ok("alice", "comment.create", json!({ "post": post, "text": "ta" })).await;
        assert_eq!(world.inbox("alice"), [("comment.created".to_owned(), reply)]);
        let seen = world.ok("bobby", "post.get", json!({ "post": post })).await;
        assert_eq!(seen["post"]["comments"], 2);
        world.audit();
    }

    #[tokio::test]
    async fn what_is_no_comment_is_refused() {
        let world = World::with(&["alice"]).await;
        let post = world.post("alice", "hi").await;
        let long = json!({ "post": post, "text": "x".repeat(1001) });
        assert_eq!(world.refused("alice", "comment.create", long).await, ErrorCode::TooLarge);
        for body in
            [json!({ "post": post }), json!({ "post": post, "text": "" }), json!({ "post": 7, "text": "x" })]
        {
            assert_eq!(world.refused("alice", "comment.create", body).await, ErrorCode::BadMessage);
        }
    }
}
