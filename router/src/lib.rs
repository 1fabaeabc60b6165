//! The router: main_q in, per-type queues and the archive out.
//!
//! It knows only what the catalog says about a type, and passes bodies on as the bytes in which they arrived.

mod late;
mod record;
mod route;
#[cfg(test)]
mod route_tests;

use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::{Sends, Touches};
use soundoff_common::pipeline::tier::Tier;

use late::{ARCHIVE_LATE, AsItCame, Late};
pub use route::Router;

/// What a router touches, and its second queue.
#[must_use]
pub fn feature() -> Feature {
    let touches = Touches { archive: true, sends: Sends::Types, ..Touches::default() };
    let summary = "Archives what the router could not while the archive was away.";
    let late = Spec::job::<AsItCame>(Tier::Router, ARCHIVE_LATE, summary);
    Feature::new("router")
        .touches(Tier::Router, touches)
        .works(Spec { pull: Pull { slots: None, together: true }, ..late }, Late::new)
}
