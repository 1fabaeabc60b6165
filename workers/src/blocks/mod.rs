//! Who has blocked whom.

handlers! {
    [keeps soundoff_common::model::blocks::HOLDINGS]
    add::BlockAdd,
    remove::BlockRemove,
}
