//! The one eye: whether somebody may see something, and whether they may do something to somebody.
//!
//! Law 14: what may not be seen is seen through no door. Every page, list, event and act asks here, and a post becomes
//! what clients see of it nowhere else. `standing` says what is read, in as few calls as possible; `judge` decides from
//! it and reads nothing.

mod groups;
mod judge;
mod meeting;
mod people;
mod posts;
mod standing;

pub use groups::{group, look_at_group, own_group};
pub use judge::{Act, Door, Refusal, may_do, may_see, may_see_group, may_see_inside};
pub use meeting::{Meeting, meet};
pub use people::{audience, hidden, meet_all};
pub use posts::{Opened, announced, deleted, is_announced_to_each, look, look_at, moderated, own};
pub use standing::{Reading, Sighted, Standing};
