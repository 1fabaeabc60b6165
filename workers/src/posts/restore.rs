//! `post.restore`: a moderator shows a post again that was taken down.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::posts::State;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Role;

use crate::posts::decision::{self, Decision};
use crate::posts::post::{self, OnePost};

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostRestore {
    /// The id of a post that a moderator has taken down.
    post: String,
}

impl MessageType for PostRestore {
    const TYPE: &'static str = "post.restore";
    const SUMMARY: &'static str = "Shows a post again that a moderator has taken down; for moderators. Fine when it is \
                                   shown. The author gets the push `post.restored`, online followers the event \
                                   `post.created`.";
    const TERMS: Terms = Terms::USUAL.critical();
    const ROLE: Role = Role::Moderator;
    const TELLS: &'static [Told] = &[decision::RESTORED];
    const CAUSES: &'static [&'static str] = decision::CAUSES;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let id = post::id(&request.body.post)?;
        let found = post::undeleted(cx.tables.get(Table::Entities, post::key(id)).await?)?;
        let decision = Decision { state: State::Shown, reason: None, by: None, beside: Vec::new() };
        decision.of(cx, request, (id, found)).await
    }
}
