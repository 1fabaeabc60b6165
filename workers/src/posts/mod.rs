//! Posts: made, shown, listed, taken down, and announced to followers.

mod attached;
pub(crate) mod post;
mod takedown;

handlers! {
    [keeps soundoff_common::model::posts::HOLDINGS]
    create::PostCreate,
    get::PostGet,
    delete::PostDelete,
    remove::PostRemove,
    list::PostList,
    fanout::Fanout,
}
