//! The names and bodies of media's messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::media::Renditions;
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::worker::{Outward, Own};
use soundoff_common::protocol::{Handle, now_ms};
use ulid::Ulid;

/// The MessageType of what the bucket says about uploads.
pub const UPLOADED: &str = "media.uploaded";
/// The MessageType of the check.
pub(crate) const CHECK: &str = "media.check";
/// The MessageType of what the check found.
pub(crate) const CHECKED: &str = "media.checked";

/// Which medium.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Checked {
    /// Its id.
    pub(crate) media: String,
    /// Whether its check has just ended: what was uploaded meanwhile is deleted, and another of its owner has its turn.
    #[serde(default)]
    pub(crate) ended: bool,
}

/// What the check found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// It may be shown, like this.
    Ready(Renditions),
    /// It must not be shown, and why.
    Refused(String),
}

/// Which medium, and what was found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Body {
    /// Its id.
    pub(crate) media: String,
    /// What was found.
    pub(crate) finding: Finding,
}

/// Queues the check of a medium.
pub(crate) async fn ask_for_check(outward: &Outward, id: Ulid, owner: &Handle) -> Result<(), Failure> {
    let body = raw(&Checked { media: id.to_string(), ended: false });
    let own = Own { message_type: CHECK, about: owner.clone(), user: Some(owner.clone()), body };
    outward.queue(vec![own], now_ms()).await
}

/// Queues what the check found.
pub(crate) async fn report(
    outward: &Outward,
    id: Ulid,
    owner: &Handle,
    finding: Finding,
) -> Result<(), Failure> {
    let body = raw(&Body { media: id.to_string(), finding });
    let own = Own { message_type: CHECKED, about: owner.clone(), user: Some(owner.clone()), body };
    outward.queue(vec![own], now_ms()).await
}
