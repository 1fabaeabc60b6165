//! What accepting and rejecting share.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::pipeline::handler::{Push, Told, raw};
use soundoff_common::protocol::Handle;

use crate::follows::follow::FollowState;

/// A user's follow of the sender.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Answered {
    /// The user's handle.
    pub(crate) user: Handle,
    /// What their follow of the sender is now.
    pub(crate) state: FollowState,
}

/// The push to who has asked.
#[derive(Debug, Serialize, JsonSchema)]
struct Accepted<'a> {
    /// Whom they follow now.
    user: &'a Handle,
}

/// All that may be told.
pub(crate) const TELLS: &[Told] =
    &[Told::push::<Accepted<'_>>("follow.accepted", "Somebody whom you have asked lets you follow them.")];

/// Tells `to` that `by` lets them follow.
pub(crate) fn told(to: &Handle, by: &Handle) -> Push {
    let body = raw(&Accepted { user: by });
    Push { to: to.clone(), push_type: "follow.accepted", by: by.clone(), body }
}
