//! Who follows whom.

pub(crate) mod follow;

handlers! {
    [keeps soundoff_common::model::follows::HOLDINGS]
    add::FollowAdd,
    remove::FollowRemove,
    list::FollowList,
}
