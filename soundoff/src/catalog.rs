//! All handlers and jobs of this binary.

use soundoff_common::catalog::Catalog;

/// The rows of every crate that works on queues.
pub(crate) fn catalog() -> Catalog {
    let mut specs = soundoff_workers::specs();
    specs.extend(soundoff_timeline::specs());
    specs.extend(soundoff_media::specs());
    Catalog::new(specs)
}
