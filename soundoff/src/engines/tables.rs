//! The engines of the tables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use soundoff_common::guard::GuardedTables;
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::now_ms;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::opening::Opening;

/// How often expired items are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The most expired items removed in one transaction.
const SWEEP_ITEMS: usize = 1000;

/// One of them.
pub(super) enum Engine {
    /// redb in the data directory.
    Redb { data: PathBuf },
    /// DynamoDB.
    #[cfg(feature = "aws")]
    DynamoDb { prefix: String },
}

impl Engine {
    pub(super) async fn open(&self, opening: &mut Opening) -> anyhow::Result<Arc<dyn Tables>> {
        match self {
            Self::Redb { data } => {
                let tables = EmbeddedTables::open(data, &TableOptions::default())?;
                opening.upkeep.push(Box::pin(sweep(tables.clone())));
                Ok(Arc::new(GuardedTables::new(tables, opening.weather.engine("tables"))))
            }
            #[cfg(feature = "aws")]
            Self::DynamoDb { prefix } => {
                let aws = &opening.managed()?.aws;
                let tables = soundoff_aws::dynamodb::DynamoTables::open(aws, prefix).await?;
                Ok(Arc::new(GuardedTables::new(tables, aws.breakers().tables.clone())))
            }
        }
    }
}

/// Removes expired items, for as long as the process runs.
async fn sweep(tables: Arc<EmbeddedTables>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        // Until a batch is not full: items must not expire faster than they are removed.
        loop {
            match tables.sweep(now_ms() / 1000, SWEEP_ITEMS).await {
                Ok(removed) if removed == SWEEP_ITEMS => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot sweep expired items");
                    break;
                }
            }
        }
    }
}
