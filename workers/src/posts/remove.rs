//! `post.remove`: a moderator takes anybody's post down. Nothing of it is lost: `post.restore` shows it again.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::posts::State;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Role;

use crate::posts::decision::{self, Decision};
use crate::posts::post::{self, OnePost};
use crate::rules::texts;

/// Which post, and what it is to be.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostRemove {
    /// The id of anybody's post.
    post: String,
    /// What its author is told.
    #[schemars(length(max = 500))]
    reason: Option<String>,
    /// `hidden` when absent.
    state: Option<Removed>,
}

/// How far a post is taken down.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Removed {
    /// Its author sees it, and why nobody else does.
    Hidden,
    /// Its author sees it and nobody else, until it is decided.
    Held,
    /// Who has its id sees it; it is on no list but its author's, and in no timeline.
    Limited,
}

impl MessageType for PostRemove {
    const TYPE: &'static str = "post.remove";
    const SUMMARY: &'static str = "Takes anybody's post down; for moderators. Nothing of it is lost. The author gets \
                                   the push `post.removed` and still sees the post, online followers get the event \
                                   `post.deleted`.";
    const TERMS: Terms = Terms::USUAL.critical();
    const ROLE: Role = Role::Moderator;
    const TELLS: &'static [Told] = &[decision::REMOVED];
    const CAUSES: &'static [&'static str] = decision::CAUSES;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let Self { post, reason, state } = &request.body;
        let reason = reason.as_deref().map(texts::reason).transpose()?;
        let id = post::id(post)?;
        let found = post::undeleted(cx.tables.get(Table::Entities, post::key(id)).await?)?;
        let state = match state {
            None | Some(Removed::Hidden) => State::Hidden,
            Some(Removed::Held) => State::Held,
            Some(Removed::Limited) => State::Limited,
        };
        let decision = Decision { state, reason: reason.as_deref(), by: None, beside: Vec::new() };
        decision.of(cx, request, (id, found)).await
    }
}
