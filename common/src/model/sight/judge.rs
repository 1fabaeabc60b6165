//! Decides from what was read, and reads nothing.

use crate::model::groups::{MemberRole, MemberState, Sight, Within};
use crate::model::posts::{Audience, State, Stored};
use crate::model::privacy::From;
use crate::model::sight::standing::Standing;

/// How somebody comes to see something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They name it: by its id.
    Link,
    /// Somebody else has chosen it for them: a list, a timeline, an event.
    List,
}

/// What somebody does to another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Writes to them, or shows that they write.
    Message,
    /// Comments on their post.
    Comment,
    /// Likes their post, follows them: what only a block forbids.
    Notice,
}

/// Why somebody may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A block stands between the two.
    Blocked,
    /// The other takes it of these users only.
    Only(From),
}

/// Whether a post may be seen through a door, by somebody who is `standing` to its author and `within` its group.
///
/// A moderator of the deployment is not asked for here: who looks at what is reported looks through
/// [`crate::model::sight::look_at`].
#[must_use]
pub fn may_see(post: &Stored, standing: &Standing, within: Option<&Within>, door: Door) -> bool {
    if post.deleted {
        return false;
    }
    if standing.own {
        return true;
    }
    if within.is_some_and(|within| within.group.is_none()) {
        // Its group is gone.
        return false;
    }
    if door == Door::Link && within.is_some_and(|within| within.is_at_least(MemberRole::Moderator)) {
        return true;
    }
    let is_in_state = match post.state {
        State::Shown => true,
        State::Limited => door == Door::Link,
        State::Held | State::Hidden => false,
    };
    if standing.blocked || !is_in_state {
        return false;
    }
    match within {
        Some(within) if within.is_in() => true,
        Some(within) => may_see_inside(within) && is_open(standing),
        None => match post.audience {
            Audience::Everyone => is_open(standing),
            Audience::Followers => standing.follows(),
            Audience::Close => standing.is_close(),
        },
    }
}

/// Whether somebody who is `within` a group may know of it. For who may not, there is no such group.
#[must_use]
pub fn may_see_group(within: &Within) -> bool {
    let Some(group) = &within.group else { return false };
    match within.state() {
        MemberState::In | MemberState::Invited => true,
        MemberState::Out | MemberState::Asked => group.sight != Sight::Secret,
        MemberState::Barred => false,
    }
}

/// Whether somebody who is `within` a group sees who is in it and what is posted in it.
#[must_use]
pub fn may_see_inside(within: &Within) -> bool {
    let is_public = within.group.as_ref().is_some_and(|group| group.sight == Sight::Public);
    may_see_group(within) && (within.is_in() || is_public)
}

/// Whether what a user shows to everyone is shown to somebody who is `standing` to them.
fn is_open(standing: &Standing) -> bool {
    !standing.is_private() || standing.follows()
}

impl Standing {
    /// Whether they see what the other shows to everyone: posts, and who follows whom.
    #[must_use]
    pub fn may_see_lists(&self) -> bool {
        self.own || (!self.blocked && is_open(self))
    }
}

/// Whether somebody may do something to a user to whom they are `standing`. Whether they see what they do it to is
/// another question.
///
/// # Errors
/// Why not.
pub fn may_do(standing: &Standing, act: Act) -> Result<(), Refusal> {
    if standing.own {
        return Ok(());
    }
    if standing.blocked {
        return Err(Refusal::Blocked);
    }
    let privacy = standing.privacy();
    let from = match act {
        Act::Message => privacy.dm_from,
        Act::Comment => privacy.comment_from,
        Act::Notice => From::Everyone,
    };
    let allowed = match from {
        From::Everyone => true,
        From::Followers => standing.follows(),
        From::Following => standing.followed(),
        From::Mutuals => standing.follows() && standing.followed(),
        From::Nobody => false,
    };
    if allowed { Ok(()) } else { Err(Refusal::Only(from)) }
}
