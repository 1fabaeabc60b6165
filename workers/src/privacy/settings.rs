//! A user's privacy as they see it.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::privacy::{From, Privacy};

/// What the sender lets others see and do.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Settings {
    /// Only followers see the sender's posts and lists, and who wants to follow them must ask.
    private: bool,
    /// Who may write to them.
    dm_from: From,
    /// Who may comment on their posts, of those who see them.
    comment_from: From,
    /// Whose mentions reach them.
    mention_from: From,
}

/// What replies hold of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OnePrivacy {
    /// The settings.
    privacy: Settings,
}

impl OnePrivacy {
    pub(crate) fn of(privacy: Privacy) -> Self {
        let Privacy { private, dm_from, comment_from, mention_from, .. } = privacy;
        Self { privacy: Settings { private, dm_from, comment_from, mention_from } }
    }
}
