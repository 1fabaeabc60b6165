//! Rules that several types share.

pub(crate) mod latest;
pub(crate) mod listed;
pub(crate) mod paging;
pub(crate) mod people;
pub(crate) mod texts;
pub(crate) mod toggles;
