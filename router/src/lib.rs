//! The router: main_q in, per-type queues and the archive out.
//!
//! It knows only what the catalog says about a type, and passes bodies on as the bytes in which they arrived. The
//! archive gets no handle, and no body that not everybody may read.

mod late;
mod pseudonyms;
mod record;
#[cfg(test)]
mod record_tests;
mod route;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod stand;

use soundoff_common::model::pseudonyms::HOLDINGS;
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::{Sends, Touches};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::Table;

use late::{ARCHIVE_LATE, AsItCame, Late};
pub use route::Router;

/// What a router touches, and its second queue.
#[must_use]
pub fn feature() -> Feature {
    const READS: &[Table] = &[Table::Relationships];
    let touches =
        Touches { reads: READS, own: true, archive: true, sends: Sends::Types, ..Touches::default() };
    let summary = "Archives what the router could not while the archive or the tables were away.";
    let late = Spec::job::<AsItCame>(Tier::Router, ARCHIVE_LATE, summary);
    Feature::new("router")
        .touches(Tier::Router, touches)
        .works(Spec { pull: Pull { slots: None, together: true }, ..late }, Late::new)
        .keeps(HOLDINGS)
}
