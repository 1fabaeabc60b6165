//! What timelines read of accounts.

use soundoff_common::model::accounts;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Item, Table, Tables};
use soundoff_common::protocol::Handle;

/// The version of each user's follows; `None` for users without an account.
pub(crate) async fn follows_versions(
    tables: &dyn Tables,
    users: &[Handle],
) -> Result<Vec<Option<u64>>, Failure> {
    let keys: Vec<_> = users.iter().map(|user| (Table::Users, accounts::key(user))).collect();
    let found = tables.get_many(&keys).await?;
    let version = |item: Item| item.number(accounts::attribute::FOLLOWS_VERSION).unwrap_or(0);
    Ok(found.into_iter().map(|item| item.map(version)).collect())
}
