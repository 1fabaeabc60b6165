//! What timelines read of accounts.

use soundoff_common::model::accounts::{self, attribute};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Item, Table, Tables};
use soundoff_common::protocol::Handle;

/// What an account says about whom its user reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Rises with every change.
    pub(crate) version: u64,
    /// Whether they are in a group: who is in none costs no look for groups.
    pub(crate) has_groups: bool,
}

impl Reads {
    /// From an account's item.
    pub(crate) fn of(account: &Item) -> Self {
        let number = |name| account.number(name).unwrap_or(0);
        Self { version: number(attribute::FOLLOWS_VERSION), has_groups: number(attribute::GROUPS) > 0 }
    }
}

/// What each account says; `None` for users without one.
pub(crate) async fn what_they_read(
    tables: &dyn Tables,
    users: &[Handle],
) -> Result<Vec<Option<Reads>>, Failure> {
    let keys: Vec<_> = users.iter().map(|user| (Table::Users, accounts::key(user))).collect();
    let found = tables.get_many(&keys).await?;
    Ok(found.into_iter().map(|item| item.as_ref().map(Reads::of)).collect())
}
