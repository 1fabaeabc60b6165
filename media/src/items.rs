//! The items of media.

use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::model::media_checks::{PIXELS_LEFT, pixels_key, wait_for_pixels};
use soundoff_common::ports::tables::{Item, Table, TableError, Tables};
use soundoff_common::protocol::{Handle, now_ms};
use ulid::Ulid;

/// What somebody hears whose pixels of the hour are used up.
pub(crate) const TOO_MANY_PIXELS: &str = "your pictures of the last hour had more pixels than are checked in an hour: wait, or scale pictures down";

/// What a user has now.
pub(crate) struct Counted {
    /// The count of loose media.
    pub(crate) loose: Option<Item>,
    pixels: Option<Item>,
}

impl Counted {
    /// How long to wait, in milliseconds, until there are pixels enough for a new upload; `None` when there are.
    pub(crate) fn wait(&self, now: u64) -> Option<u64> {
        let wait = wait_for_pixels(PIXELS_LEFT, now, self.pixels.as_ref());
        (wait > 0).then_some(wait)
    }
}

/// What a user has now, which decides whether another upload may begin.
pub(crate) async fn counted(tables: &dyn Tables, owner: &Handle) -> Result<Counted, TableError> {
    let keys = [media::count_key(owner), pixels_key(owner)].map(|key| (Table::Entities, key));
    let mut found = tables.get_many(&keys).await?.into_iter();
    Ok(Counted { loose: found.next().flatten(), pixels: found.next().flatten() })
}

/// A medium's item.
pub(crate) async fn read(tables: &dyn Tables, id: Ulid) -> Result<Option<Stored>, TableError> {
    tables.get(Table::Entities, media::key(id)).await.and_then(media::parse)
}

/// Ends the upload of a medium that was read as `stored`; returns what it is then, or `None` if somebody was faster.
pub(crate) async fn claim(
    tables: &dyn Tables,
    id: Ulid,
    stored: &Stored,
) -> Result<Option<Stored>, TableError> {
    let now = now_ms();
    match tables.write(media::claim(id, stored, now)).await {
        Ok(()) => Ok(Some(Stored { state: State::Checking, turn: Some(now), ..stored.clone() })),
        Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}
