//! Who has blocked whom.

handlers! {
    add::BlockAdd,
    remove::BlockRemove,
}
