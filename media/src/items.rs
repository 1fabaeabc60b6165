//! The items of media.

use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::ports::tables::{Table, TableError, Tables};
use ulid::Ulid;

/// A medium's item.
pub(crate) async fn read(tables: &dyn Tables, id: Ulid) -> Result<Option<Stored>, TableError> {
    tables.get(Table::Entities, media::key(id)).await.and_then(media::parse)
}

/// Ends the upload of a medium that was read as `stored`; returns whether nobody was faster.
pub(crate) async fn claim(tables: &dyn Tables, id: Ulid, stored: &Stored) -> Result<bool, TableError> {
    let checking = vec![State::Checking.set()];
    match tables.write(vec![media::change(id, stored, checking)]).await {
        Ok(()) => Ok(true),
        Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(false),
        Err(error) => Err(error),
    }
}
