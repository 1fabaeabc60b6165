//! Who has blocked whom.

pub(crate) mod block;

handlers! {
    [keeps soundoff_common::model::blocks::HOLDINGS]
    add::BlockAdd,
    remove::BlockRemove,
}
