//! Groups: who is in them, who may join, and what is posted in them.

mod about;
mod clearing;
pub(crate) mod group;
pub(crate) mod membership;
mod moderated;
mod naming;

handlers! {
    [keeps soundoff_common::model::groups::HOLDINGS]
    create::GroupCreate,
    update::GroupUpdate,
    get::GroupGet,
    find::GroupFind,
    join::GroupJoin,
    leave::GroupLeave,
    invite::GroupInvite,
    answer::GroupAnswer,
    bar::GroupBar,
    role::GroupRole,
    list::GroupList,
    members::GroupMembers,
    posts::GroupPosts,
    hide::GroupHide,
    show::GroupShow,
    delete::GroupDelete,
    clear::Clear,
}
