//! The handlers: one file per MessageType, with its payload, rule, effect and tests; `messages.rs` is the table of them all.
//!
//! A handler decides from reads and returns writes, each under the condition that made the decision right. The runner in
//! `soundoff-common` commits them in one transaction and asks the handler again when somebody else was faster.

mod messages;

pub use messages::{catalog, specs};

mod block_add;
mod block_remove;
mod comment_create;
mod comment_list;
mod dm_list;
mod dm_send;
mod follow_add;
mod follow_list;
mod follow_remove;
mod like_add;
mod like_remove;
mod post_create;
mod post_delete;
mod post_fanout;
mod post_get;
mod post_list;
mod post_remove;
mod presence_get;
mod profile_get;
mod profile_update;
mod typing;

mod attached;
mod comments;
mod dms;
mod follows;
mod likes;
mod paging;
mod people;
mod posts;
mod profiles;
mod takedown;
mod texts;
mod toggles;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod world;
