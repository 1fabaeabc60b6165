//! Whose list of posts it is: an author's, or a group's.

use std::sync::Arc;

use soundoff_common::model::{groups, ids, posts};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

/// The start of a group's name, which no handle has.
const GROUP: &str = "g:";

/// What a list of posts goes by. A group is one more author to all but the hydrator, who asks whether the reader is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    /// An author.
    User(Handle),
    /// A group, and its name as text: never longer than a handle.
    Group(Ulid, Arc<str>),
}

impl Name {
    pub(crate) fn group(id: Ulid) -> Self {
        Self::Group(id, format!("{GROUP}{id}").into())
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::User(handle) => handle.as_str(),
            Self::Group(_, text) => text,
        }
    }

    /// The name that a text spells.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match group_of(text) {
            Some(id) => Some(Self::group(id)),
            None => text.parse().ok().map(Self::User),
        }
    }

    /// The author, unless it is a group.
    pub(crate) fn user(&self) -> Option<&Handle> {
        match self {
            Self::User(handle) => Some(handle),
            Self::Group(..) => None,
        }
    }

    /// The partition of the list.
    pub(crate) fn partition(&self) -> String {
        match self {
            Self::User(handle) => posts::list_partition(handle),
            Self::Group(id, _) => groups::posts(*id),
        }
    }
}

/// The group that a text names.
pub(crate) fn group_of(text: &str) -> Option<Ulid> {
    text.strip_prefix(GROUP).and_then(ids::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_in_one_way_and_a_group_has_none_of_a_users() {
        let group = Name::group(Ulid(7));
        for name in [group.clone(), Name::User("g_1".parse().unwrap())] {
            assert_eq!(Name::parse(name.as_str()), Some(name));
        }
        assert!(group.as_str().len() <= 30 && group.as_str().parse::<Handle>().is_err());
        for bad in ["", "g:", "g:x", "a:b", "g:01arz3ndektsv4rrffq69g5fav"] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }
}
