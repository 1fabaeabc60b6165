//! Likes of posts.

pub(crate) mod like;

handlers! {
    [keeps like::HOLDINGS]
    add::LikeAdd,
    remove::LikeRemove,
}
