//! A group, a user in it, and what the sender is to both.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::{self, Taken};
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::groups::group::{self, Place};
use crate::groups::membership::Membership;
use crate::rules::people::{self, Met};

/// Which group, and who.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct WhoWhere {
    /// The group's id.
    pub(crate) group: String,
    /// The user's handle.
    pub(crate) user: Handle,
}

impl WhoWhere {
    /// What it is about.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

/// What was read of them.
pub(crate) struct About {
    pub(crate) place: Place,
    /// What the user is in the group.
    pub(crate) theirs: Membership,
    pub(crate) taken: Taken,
    pub(crate) met: Met,
}

/// Reads it all in one call. The user, who is not the sender, must exist.
pub(crate) async fn read(cx: &Context, me: &Handle, group: &str, user: &Handle) -> Result<About, Failure> {
    let id = group::id(group)?;
    let mut keys = Vec::from(Place::keys(id, me));
    keys.push((Table::Relationships, groups::member_key(id, user)));
    keys.push((Table::Relationships, groups::taken_key(user)));
    let (met, found) = people::meet(cx, me, user, keys).await?;
    let mut found = found.into_iter();
    let place = Place::of(id, me, &mut found)?;
    place.seen()?;
    met.exists()?;
    let theirs = Membership::of(id, user, found.next().flatten())?;
    Ok(About { place, theirs, taken: group::taken(found.next().flatten())?, met })
}
