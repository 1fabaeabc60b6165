//! Comments on posts.

mod comment;

handlers! {
    [keeps comment::HOLDINGS]
    create::CommentCreate,
    list::CommentList,
}
