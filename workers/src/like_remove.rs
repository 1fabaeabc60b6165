//! `like.remove`: takes a like back, or says that there is none. A block does not stand in its way: the like is the sender's own.

use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};

use crate::likes::{self, Liked, Likes};
use crate::posts;

/// The handler.
pub(crate) struct LikeRemove;

impl Message for LikeRemove {
    const TYPE: &'static str = "like.remove";
    const SUMMARY: &'static str = "Takes the sender's like of a post back; fine when there is none.";
    type Body = Liked;
    type Reply = Likes;

    async fn handle(cx: &Context, request: &Request<Liked>) -> Result<Outcome<Likes>, Failure> {
        let id = posts::id(&request.body.post)?;
        let (post, like) = likes::read(cx, &request.from, id).await?;
        let (writes, likes) = likes::writes(id, post.likes, like.turn(false, request.mid, false));
        Ok(Outcome::effect(Likes { post: id.to_string(), likes }, writes))
    }
}
