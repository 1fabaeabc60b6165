//! The message that accepts all requests of a user who is private no longer, page by page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::handler::{FollowUp, raw};

/// The MessageType.
pub(crate) const TYPE: &str = "request.settle";

/// Nothing to say: the sender is whose requests they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Page {}

/// The next page as a message.
pub(crate) fn next() -> FollowUp {
    FollowUp { message_type: TYPE, about: None, body: raw(&Page {}) }
}
