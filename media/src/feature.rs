//! Media as a feature.

use std::sync::Arc;

use soundoff_common::model::media;
use soundoff_common::pipeline::catalog::{Pull, Spec};
use soundoff_common::pipeline::feature::{Feature, handler};
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::job::OnEnvelopes;
use soundoff_common::pipeline::purge::{MediaPurge, PURGE};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::Table;
use tokio::sync::Semaphore;

use crate::begin::MediaBegin;
use crate::check::Check;
use crate::checked::MediaChecked;
use crate::collect::Collector;
use crate::config::{CHECKS, MediaConfig, PURGES};
use crate::messages::{CHECK, CHECKED, Checked, UPLOADED};
use crate::pages::{MediaPages, PATH};
use crate::places::{Places, Shares};
use crate::purge::Purge;
use crate::show::Show;
use crate::uploaded::{Notification, Uploaded};
use crate::uploads::Uploads;

/// Media as a feature. What bounds work at the same time is made here, once for each process.
#[must_use]
pub fn feature(config: MediaConfig) -> Feature {
    const ITEMS: &[Table] = &[Table::Entities, Table::Relationships];
    const PEOPLE: &[Table] = &[Table::Users, Table::Entities, Table::Relationships];
    let rendering = Arc::new(Semaphore::new(config.checks));
    let showing = Places::new(Shares {
        all: config.shown,
        per_household: config.shown_per_household,
        per_user: config.shown,
    });
    let places = Places::new(Shares {
        all: config.uploads,
        per_household: config.uploads_per_household,
        per_user: config.uploads_per_user,
    });
    let (bounds, kept, max_age) = (config.bounds.clone(), config.kept, config.max_age);
    let purger = config.purger.clone();
    let purges = purger.is_some();
    Feature::new("media")
        .handles([handler::<MediaBegin>()])
        .works(uploaded(), Uploaded::new)
        .works(checked(), move |world| Ok(OnEnvelopes(Check::new(bounds.clone(), rendering.clone(), world)?)))
        .handles([handler::<MediaChecked>()])
        .works(purge(), move |world| Ok(OnEnvelopes(Purge::new(purger.clone(), world))))
        .shows(Tier::Users, &[PATH], &[CHECK], move |world| {
            let uploads = Uploads::new(config.clone(), places.clone(), world)?;
            Ok(MediaPages { uploads, show: Show::new(showing.clone(), max_age, world)? })
        })
        .runs(Tier::Users, "collector of media", &[PURGE], move |world, stop| {
            Ok(Collector::new(kept, purges, world)?.run(stop))
        })
        .touches(Tier::Users, Touches { reads: PEOPLE, own: true, blobs: true, ..Touches::default() })
        .touches(Tier::Workers, Touches { reads: ITEMS, own: true, blobs: true, ..Touches::default() })
        .keeps(media::HOLDINGS)
}

fn uploaded() -> Spec {
    let summary = "Queues the check of a picture that a client uploaded to the bucket.";
    Spec { causes: &[CHECK], ..Spec::job::<Notification>(Tier::Workers, UPLOADED, summary) }
}

fn purge() -> Spec {
    let summary = "Tells caches in front of pictures what to forget, if the operator has named a hook.";
    let spec = Spec::job::<MediaPurge>(Tier::Workers, PURGE, summary);
    Spec { pull: Pull::at_most(PURGES), causes: &[PURGE], ..spec }
}

fn checked() -> Spec {
    let summary = "Checks an uploaded picture.";
    let spec = Spec::job::<Checked>(Tier::Workers, CHECK, summary);
    Spec { pull: Pull::at_most(CHECKS), causes: &[CHECKED], ..spec }
}
