//! The names of a medium's blobs.

use ulid::Ulid;

/// What was uploaded, until it has been checked. It is never shown.
pub(crate) fn raw(id: Ulid) -> String {
    format!("{id}.raw")
}

/// The medium whose upload has this name.
pub(crate) fn of_raw(name: &str) -> Option<Ulid> {
    soundoff_common::model::ids::parse(name.strip_suffix(".raw")?)
}

/// A rendition: `full`, `feed` or `thumb`.
pub(crate) fn rendition(id: Ulid, size: &str) -> String {
    format!("{id}.{size}")
}

/// The names of all blobs that a medium may have.
pub(crate) fn all(id: Ulid) -> impl Iterator<Item = String> {
    SIZES.into_iter().map(move |size| rendition(id, size)).chain([raw(id)])
}

/// The renditions' names.
pub(crate) const SIZES: [&str; 3] = ["full", "feed", "thumb"];
