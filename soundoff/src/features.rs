//! The one list of features. `up` runs all of them, a role runs those of its tiers, and the deployment is generated
//! from it.

use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::feature::{self, Feature};
use soundoff_media::MediaConfig;
use soundoff_timeline::TimelineConfig;
use soundoff_users::UsersSettings;

/// The features' settings. The default is enough to list them.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) timeline: TimelineConfig,
    pub(crate) media: MediaConfig,
    /// Only in a process where people sign in.
    pub(crate) users: Option<UsersSettings>,
}

/// All features, in the order of the protocol document.
pub(crate) fn features(settings: Settings) -> Vec<Feature> {
    vec![
        feature::spine(),
        soundoff_edge::feature(),
        feature::gate(),
        soundoff_router::feature(),
        soundoff_users::feature(settings.users),
        soundoff_workers::feature(),
        soundoff_timeline::feature(settings.timeline),
        soundoff_media::feature(settings.media),
    ]
}

/// The types that these features work on.
pub(crate) fn catalog() -> Catalog {
    feature::catalog(&features(Settings::default()))
}
