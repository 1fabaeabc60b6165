//! Groups as somebody sees them.

use ulid::Ulid;

use crate::model::groups::{Counts, Group, GroupSeen, Within};
use crate::model::sight::judge::may_see_group;
use crate::model::sight::people::is_moderator;
use crate::ports::tables::{TableError, Tables};
use crate::protocol::Handle;

/// A group as somebody who is `within` it sees it, if they may know of it.
#[must_use]
pub fn group(within: &Within, id: Ulid, counts: Counts) -> Option<GroupSeen> {
    within.group.as_ref().filter(|_| may_see_group(within)).map(|group| group.shown(id, counts))
}

/// A group as its owner sees it, who has just made or changed it.
#[must_use]
pub fn own_group(group: &Group, id: Ulid, counts: Counts) -> GroupSeen {
    group.shown(id, counts)
}

/// A group that `viewer` names by its id, if they may know of it. A moderator of the deployment sees all that is not
/// deleted. One that nobody may see takes as long as one that does not exist.
///
/// # Errors
/// When the tables do not answer.
pub async fn look_at_group(
    tables: &dyn Tables,
    viewer: &Handle,
    within: &Within,
    id: Ulid,
    counts: Counts,
) -> Result<Option<GroupSeen>, TableError> {
    if let Some(seen) = group(within, id, counts) {
        return Ok(Some(seen));
    }
    let is_moderator = is_moderator(tables, viewer).await?;
    Ok(within.group.as_ref().filter(|_| is_moderator).map(|group| group.shown(id, counts)))
}
