//! Posts: made, shown, listed, taken down, and announced to followers.

mod attached;
pub(crate) mod decision;
pub(crate) mod listing;
pub(crate) mod post;
mod takedown;

handlers! {
    [keeps soundoff_common::model::posts::HOLDINGS]
    create::PostCreate,
    get::PostGet,
    delete::PostDelete,
    remove::PostRemove,
    restore::PostRestore,
    list::PostList,
    fanout::Fanout,
}
