//! The kinds of items that groups are kept in, and their attributes.

use crate::model::follows::row;
use crate::model::holdings::{Holding, Of};
use crate::ports::tables::Table;

crate::attributes! {
    /// The attributes of a group.
    pub mod attribute {
        NAME = "name",
        ABOUT = "about",
        SIGHT = "sight",
        ENTRY = "entry",
        CREATED_AT = "created_at",
        V = "v",
        NAME_MID = "name_mid",
        ABOUT_MID = "about_mid",
        SIGHT_MID = "sight_mid",
        ENTRY_MID = "entry_mid",
        DELETED = "deleted",
        DELETED_BY = "deleted_by",
    }
}

crate::attributes! {
    /// The attributes of a group's counts.
    pub mod counted {
        MEMBERS = "members",
        OWNERS = "owners",
        MODERATORS = "moderators",
        POSTS = "posts",
    }
}

crate::attributes! {
    /// The attributes of the count of a user's groups.
    pub mod taken {
        N = "n",
        INVITED = "invited",
    }
}

crate::attributes! {
    /// The attributes of a row in a user's list of groups.
    pub mod joined {
        GROUP = "group",
        STATE = "state",
    }
}

crate::attributes! {
    /// The attributes of what a user is in a group.
    pub mod member {
        STATE = "state",
        ROLE = "role",
        MID = "mid",
        SINCE = "since",
        DECIDED = "decided",
        BY = "by",
        NOTIFIED = "notified",
        TOLD = "told",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "group",
        table: Table::Entities,
        pk: "group#<g>",
        sk: "group",
        attributes: attribute::ALL,
        of: Of::Nobody,
        summary: "A group, or its tombstone: `deleted`, without `name` and `about`. `v` rises with every change; a `_mid` is the message that set the field before it.",
    },
    Holding {
        kind: "counts of a group",
        table: Table::Entities,
        pk: "group#<g>",
        sk: "count",
        attributes: counted::ALL,
        of: Of::Nobody,
        summary: "How many a group has of each. It is apart from the group, whose `v` every act in the group checks.",
    },
    Holding {
        kind: "row of a group's name",
        table: Table::Entities,
        pk: "gname#<two>",
        sk: "<name>#<g>",
        attributes: &[],
        of: Of::Nobody,
        summary: "A public or closed group by its folded name, of which the first two characters are the partition.",
    },
    Holding {
        kind: "row of a group's post",
        table: Table::Entities,
        pk: "gposts#<g>",
        sk: "<pid>",
        attributes: &[],
        of: Of::Nobody,
        summary: "A row in the list of a group's posts. It is removed when the post or the group is deleted.",
    },
    Holding {
        kind: "member",
        table: Table::Relationships,
        pk: "member#<g>",
        sk: "s#<h>",
        attributes: member::ALL,
        of: Of::User,
        summary: "What a user is in a group: in, asked, invited, out or barred; and their role. `mid` is their own latest message, `decided` the latest of others about them.",
    },
    Holding {
        kind: "row of a member",
        table: Table::Relationships,
        pk: "member#<g>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::User,
        summary: "Who is in a group: a list row while the state is `in`.",
    },
    Holding {
        kind: "row of a moderator",
        table: Table::Relationships,
        pk: "member#<g>",
        sk: "m#<h>",
        attributes: &[],
        of: Of::User,
        summary: "A member who is a moderator or an owner: who is told of those who ask.",
    },
    Holding {
        kind: "row of who is asked, invited or barred",
        table: Table::Relationships,
        pk: "member-<state>#<g>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::User,
        summary: "Who asks to become a member, is invited, or is barred: a list row while that is the state.",
    },
    Holding {
        kind: "row of a user's group",
        table: Table::Relationships,
        pk: "groups#<h>",
        sk: "l#<since>",
        attributes: joined::ALL,
        of: Of::User,
        summary: "A group that a user is in, asks to join, or is invited to.",
    },
    Holding {
        kind: "count of a user's groups",
        table: Table::Relationships,
        pk: "groups#<h>",
        sk: "count",
        attributes: taken::ALL,
        of: Of::User,
        summary: "How many groups a user is in or asks to join, and how many they are invited to.",
    },
];
