//! `group.show`: a moderator of a group shows a post again that one of them has taken down.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::posts::State;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::pipeline::terms::Terms;

use crate::groups::moderated;
use crate::posts::decision;
use crate::posts::post::OnePost;

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupShow {
    /// The group's id.
    group: String,
    /// The id of a post in it.
    post: String,
}

impl MessageType for GroupShow {
    const TYPE: &'static str = "group.show";
    const SUMMARY: &'static str = "Shows a post in a group again that a moderator of the group has taken down; for the \
                                   group's moderators. Fine when it is shown. The author gets the push `post.restored`, \
                                   online members the event `post.created`. `forbidden` where a moderator of the \
                                   deployment has taken it down.";
    const TERMS: Terms = Terms::USUAL.critical();
    const TELLS: &'static [Told] = &[decision::RESTORED];
    const CAUSES: &'static [&'static str] = decision::CAUSES;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let Self { group, post } = &request.body;
        moderated::decide(cx, request, (group, post), State::Shown, None).await
    }
}
