//! Comments on posts.

pub(crate) mod comment;

handlers! {
    create::CommentCreate,
    list::CommentList,
}
