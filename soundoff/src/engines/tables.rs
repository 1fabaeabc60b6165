//! The engines of the tables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soundoff_common::guard::GuardedTables;
use soundoff_common::model::removal::Removals;
use soundoff_common::ports::tables::{TableError, Tables};
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
                let removals = Removals::resume(&*tables, now_ms(), Instant::now()).await?;
                opening.upkeep.push(Box::pin(sweep(tables.clone(), removals)));
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
async fn sweep(tables: Arc<EmbeddedTables>, mut removals: Removals) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        if let Err(error) = sweep_once(&tables, &mut removals).await {
            tracing::warn!(%error, "cannot sweep expired items");
        }
    }
}

async fn sweep_once(tables: &EmbeddedTables, removals: &mut Removals) -> Result<(), TableError> {
    let by_s = removals.now(now_ms(), Instant::now()) / 1000;
    // Until a batch is not full: items must not expire faster than they are removed.
    while tables.sweep(by_s, SWEEP_ITEMS).await? == SWEEP_ITEMS {}
    removals.note(tables, Instant::now()).await
}
