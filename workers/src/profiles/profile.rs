//! A user as others see them.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::accounts::Account;
use soundoff_common::protocol::{Handle, rfc3339};

use crate::follows::follow::FollowState;

/// A user's public face.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Profile {
    /// Who.
    handle: Handle,
    /// The name they chose to show; empty at first.
    name: String,
    /// What they say of themselves; empty at first.
    bio: String,
    /// How many follow them.
    followers: u64,
    /// How many they follow.
    following: u64,
    /// How many posts they have.
    posts: u64,
    /// When they joined, RFC 3339 UTC with milliseconds.
    created_at: String,
    /// Only their followers see their posts and lists, and who wants to follow them must ask; missing when that is not
    /// so. Of oneself `privacy.get` says it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    /// What the sender's follow of them is; missing of oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    you: Option<FollowState>,
}

/// What replies hold of one user.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneProfile {
    /// The user.
    pub(crate) user: Profile,
}

impl OneProfile {
    /// The face of `account` as somebody sees it, whose follow of it is `you`.
    pub(crate) fn of(account: Account, private: bool, you: Option<FollowState>) -> Self {
        let Account { handle, name, bio, followers, following, posts, created_at, .. } = account;
        let created_at = rfc3339(created_at);
        Self { user: Profile { handle, name, bio, followers, following, posts, created_at, private, you } }
    }
}
