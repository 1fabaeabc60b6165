//! The handlers: one file per MessageType, with its payload, rule, effect and tests, in a folder for each noun.
//!
//! A handler decides from reads and returns writes, each under the condition that made the decision right. The runner
//! in `soundoff-common` commits them in one transaction and asks the handler again when another transaction was faster.

#[macro_use]
mod table;

nouns! { profiles, privacy, posts, comments, likes, follows, requests, close, groups, blocks, dms, audit }

mod feature;
mod rules;

pub use feature::feature;

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod testing;
