//! The message that removes what was in a deleted group, page by page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::handler::{FollowUp, raw};
use ulid::Ulid;

/// The MessageType.
pub(crate) const TYPE: &str = "group.clear";

/// Which group.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Page {
    /// The id of a deleted group.
    pub(crate) group: String,
}

/// The next page as a message.
pub(crate) fn next(group: Ulid) -> FollowUp {
    FollowUp { message_type: TYPE, about: None, body: raw(&Page { group: group.to_string() }) }
}
