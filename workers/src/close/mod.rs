//! Close friends: for whom a user posts with the audience `close`. Only the user knows who they are.

mod named;

handlers! {
    [keeps soundoff_common::model::close::HOLDINGS]
    add::CloseAdd,
    remove::CloseRemove,
    list::CloseList,
}
