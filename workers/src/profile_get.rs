//! `profile.get`: a user's public face.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};
use soundoff_common::protocol::Handle;

use crate::people;
use crate::profiles::OneProfile;

/// Whose profile.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ProfileGet {
    /// The user; the sender when absent.
    user: Option<Handle>,
}

impl Message for ProfileGet {
    const TYPE: &'static str = "profile.get";
    const SUMMARY: &'static str = "A user's profile. `not_found` across a block.";
    type Body = Self;
    type Reply = OneProfile;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneProfile>, Failure> {
        let user = request.body.user.as_ref().unwrap_or(&request.from);
        let (standing, _) = people::meet(cx, &request.from, user, Vec::new()).await?;
        standing.may_see()?;
        let account: soundoff_common::accounts::Account = standing.account()?.parse()?;
        Ok(Outcome::read(account.into()))
    }
}
