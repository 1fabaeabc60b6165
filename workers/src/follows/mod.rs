//! Who follows whom.

pub(crate) mod follow;

handlers! {
    add::FollowAdd,
    remove::FollowRemove,
    list::FollowList,
}
