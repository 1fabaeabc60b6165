//! Likes of posts.

pub(crate) mod like;

handlers! {
    add::LikeAdd,
    remove::LikeRemove,
}
