//! What a group's moderator decides about a post in the group.

use soundoff_common::model::groups::MemberRole;
use soundoff_common::model::posts::{DecidedBy, State};
use soundoff_common::pipeline::handler::{Context, Failure, Outcome, Request};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::ErrorCode;

use crate::groups::group::Place;
use crate::posts::decision::Decision;
use crate::posts::post::{self, OnePost};

/// Decides it, unless a moderator of the deployment has taken the post down: that is not the group's to undo.
pub(crate) async fn decide<B>(
    cx: &Context,
    request: &Request<B>,
    (group, text): (&str, &str),
    state: State,
    reason: Option<&str>,
) -> Result<Outcome<OnePost>, Failure> {
    let id = post::id(text)?;
    let (place, mut found) =
        Place::read(cx, &request.from, group, vec![(Table::Entities, post::key(id))]).await?;
    place.at_least(MemberRole::Moderator)?;
    let post = post::undeleted(found.next().flatten())?;
    if post.group != Some(place.id) {
        return Err(post::no_such_post());
    }
    if !post.state.is_shown() && post.state_by.is_none() {
        let message = "a moderator of the deployment has taken this post down: that stands";
        return Err(Failure::reject(ErrorCode::Forbidden, message));
    }
    let decision = Decision { state, reason, by: Some(DecidedBy::Group), beside: place.unchanged() };
    decision.of(cx, request, (id, post)).await
}
