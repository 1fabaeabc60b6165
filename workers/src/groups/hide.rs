//! `group.hide`: a moderator of a group takes a post down that is in it. Nothing of it is lost: `group.show` shows it
//! again. What a moderator of the deployment has decided stands.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::posts::State;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::pipeline::terms::Terms;

use crate::groups::moderated;
use crate::posts::decision;
use crate::posts::post::OnePost;
use crate::rules::texts;

/// Which post, and why.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupHide {
    /// The group's id.
    group: String,
    /// The id of a post in it.
    post: String,
    /// What its author is told.
    #[schemars(length(max = 500))]
    reason: Option<String>,
}

impl MessageType for GroupHide {
    const TYPE: &'static str = "group.hide";
    const SUMMARY: &'static str = "Takes a post in a group down; for the group's moderators. Nothing of it is lost. The \
                                   author gets the push `post.removed` and still sees the post, online members get the \
                                   event `post.deleted`. `forbidden` where a moderator of the deployment has taken it \
                                   down.";
    const TERMS: Terms = Terms::USUAL.critical();
    const TELLS: &'static [Told] = &[decision::REMOVED];
    const CAUSES: &'static [&'static str] = decision::CAUSES;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let Self { group, post, reason } = &request.body;
        let reason = reason.as_deref().map(texts::reason).transpose()?;
        moderated::decide(cx, request, (group, post), State::Hidden, reason.as_deref()).await
    }
}
