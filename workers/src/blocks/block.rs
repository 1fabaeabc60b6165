//! What `block.add` and `block.remove` share.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::protocol::Handle;

/// The sender's block of a user.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Blocked {
    /// The user's handle.
    pub(crate) user: Handle,
    /// Whether the sender blocks them now. A later message of the sender's may have come first.
    pub(crate) blocked: bool,
}
