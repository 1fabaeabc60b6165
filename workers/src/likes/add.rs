//! `like.add`: the sender likes a post. The last writer wins by `mid`; the author gets one push for each liker.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::affinity::{self, Deed};
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::protocol::Handle;

use crate::likes::like::{self, Liked, Likes};
use crate::posts::post;

/// The handler.
pub(crate) struct LikeAdd;

/// The push to the author.
#[derive(Debug, Serialize, JsonSchema)]
struct LikeAdded<'a> {
    /// The id of their post.
    post: &'a str,
    /// Who likes it.
    by: &'a Handle,
}

impl MessageType for LikeAdd {
    const TYPE: &'static str = "like.add";
    const SUMMARY: &'static str = "Likes a post. Its author gets the push `like.added`, once per liker.";
    const ARCHIVED: Archived = Archived::Whole;
    const TELLS: &'static [Told] =
        &[Told::push::<LikeAdded<'_>>("like.added", "Somebody likes your post; once per liker.")];
    const HOT: Option<fn(&Liked) -> &str> = Some(Liked::post);
    type Body = Liked;
    type Reply = Likes;

    async fn handle(cx: &Context, request: &Request<Liked>) -> Result<Outcome<Likes>, Failure> {
        let (from, id) = (&request.from, post::id(&request.body.post)?);
        let (post, like) = like::read(cx, from, id).await?;
        let mut approached = post::approached(cx, from, &post).await?;
        approached.may_do(cx, &post, Act::Notice).await?;
        let own = post.author == *from;
        let turn = like.turn(true, request.mid, !own);
        let (news, liked) = (turn.news, turn.on);
        let (mut writes, likes) = like::writes(id, post.likes, turn, post.as_decided());
        writes.extend(approached.unchanged(&post));
        if news {
            writes.push(affinity::count(from, &post.author, Deed::Like, request.at));
        }
        let reply = Likes { post: id.to_string(), likes, liked };
        let body = raw(&LikeAdded { post: &reply.post, by: from });
        let outcome = Outcome::effect(reply, writes);
        if !news {
            return Ok(outcome);
        }
        Ok(outcome.push(Push { to: post.author, push_type: "like.added", by: from.clone(), body }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn the_author_hears_of_each_liker_once_and_never_of_themselves() {
        let world = World::with(&["alice", "bobby"]).await;
        let post = world.post("alice", "hi").await;
        let body = json!({ "post": post });
        let liked = json!({ "post": post, "likes": 1, "liked": true });
        assert_eq!(world.ok("alice", "like.add", body.clone()).await, liked);
        assert_eq!(world.ok("bobby", "like.add", body.clone()).await["likes"], 2);
        assert_eq!(world.ok("bobby", "like.add", body.clone()).await["likes"], 2);
        world.ok("bobby", "like.remove", body.clone()).await;
        assert_eq!(world.ok("bobby", "like.add", body).await["likes"], 2);
        let told = ("like.added".to_owned(), json!({ "post": post, "by": "bobby" }));
        assert_eq!(world.inbox("alice"), [told]);
        world.audit();
    }
}
