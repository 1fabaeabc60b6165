//! Caches in front of pictures are told to forget those that are not shown to everybody any more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pipeline::handler::{Context, FollowUp, raw};
use crate::protocol::Handle;

/// The MessageType by which caches in front are told to forget pictures. A handler names it in its `CAUSES`.
pub const PURGE: &str = "media.purge";

/// The body of [`PURGE`]. The sender is the pictures' owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaPurge {
    /// These media, by id.
    Media(Vec<String>),
    /// All that the owner's posts show, a page of posts at a time: the last post of the page before this one, by id.
    Posts(Option<String>),
}

/// The message that has caches forget these media of `owner`, such as [`crate::model::media::shut`] names; `None` when
/// there are none, or the deployment has no such hook.
#[must_use]
pub fn of_media(cx: &Context, owner: &Handle, media: &[Ulid]) -> Option<FollowUp> {
    let ids = media.iter().map(Ulid::to_string).collect();
    (!media.is_empty()).then(|| queued(cx, owner, &MediaPurge::Media(ids))).flatten()
}

/// The message that has caches forget all that the posts of `owner` show, who has become private; `None` when the
/// deployment has no such hook.
#[must_use]
pub fn of_owner(cx: &Context, owner: &Handle) -> Option<FollowUp> {
    queued(cx, owner, &MediaPurge::Posts(None))
}

fn queued(cx: &Context, owner: &Handle, body: &MediaPurge) -> Option<FollowUp> {
    let follow_up = || FollowUp { message_type: PURGE, about: Some(owner.clone()), body: raw(body) };
    cx.purges.then(follow_up)
}
