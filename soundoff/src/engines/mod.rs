//! Which engine is behind each port. Each port's engine is chosen separately: a mix of embedded and managed engines is
//! another [`Plan`].

mod archive;
mod blobs;
mod cache;
#[cfg(feature = "aws")]
mod managed;
mod opening;
mod queues;
mod sessions;
mod tables;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::grants::Grants;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::ports::sessions::Sessions;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::uploads::Uploads;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::secret::Secret;

use crate::config::{EngineArgs, UpConfig};

#[cfg(feature = "aws")]
pub(crate) use managed::{private_ip, provision};
use opening::Opening;
pub(crate) use queues::open_log;

/// Which engine each port gets.
pub(crate) struct Plan {
    queues: queues::Engine,
    tables: tables::Engine,
    sessions: sessions::Engine,
    cache: cache::Engine,
    archive: archive::Engine,
    blobs: blobs::Engine,
    uploads: uploads::Engine,
    #[cfg(feature = "aws")]
    managed: Option<EngineArgs>,
}

/// The engines behind the ports, and the deployment's secret.
pub(crate) struct Engines {
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) uploads: Arc<dyn Uploads>,
    /// Present if a tier of this process archives.
    pub(crate) archive: Option<Arc<dyn Archive>>,
    /// Present if a tier of this process works with media.
    pub(crate) blobs: Option<Arc<dyn Blobs>>,
    pub(crate) metrics: Metrics,
    /// Which of them are away.
    pub(crate) weather: Weather,
    pub(crate) secret: Secret,
    /// What engines need done for as long as the process runs.
    pub(crate) upkeep: Vec<BoxFuture<'static, ()>>,
    /// What they need done at its end; these calls block.
    pub(crate) closings: Vec<Box<dyn FnOnce() + Send>>,
}

impl Plan {
    /// Everything on this machine, below `data`.
    pub(crate) fn embedded(data: &Path, config: &UpConfig) -> Self {
        let data = data.to_owned();
        Self {
            queues: queues::Engine::Log { data: data.clone(), live_bytes: Some(config.queue_bytes) },
            tables: tables::Engine::Redb { data: data.clone() },
            sessions: sessions::Engine::Memory,
            cache: cache::Engine::Memory { bytes: config.cache_bytes },
            archive: archive::Engine::Files { data: data.clone() },
            blobs: blobs::Engine::Files { data },
            uploads: uploads::Engine::Pages,
            #[cfg(feature = "aws")]
            managed: None,
        }
    }

    /// Everything on the managed engines of a deployment.
    ///
    /// # Errors
    /// This binary was built without them.
    #[cfg(feature = "aws")]
    pub(crate) fn managed(args: &EngineArgs) -> anyhow::Result<Self> {
        Ok(Self {
            queues: queues::Engine::Sqs { prefix: args.prefix.clone() },
            tables: tables::Engine::DynamoDb { prefix: args.prefix.clone() },
            sessions: sessions::Engine::Memcached,
            cache: cache::Engine::Memcached,
            archive: archive::Engine::Firehose { stream: args.archive_stream.clone() },
            blobs: blobs::Engine::S3 { bucket: args.media_bucket.clone() },
            uploads: uploads::Engine::S3 { bucket: args.media_bucket.clone() },
            managed: Some(args.clone()),
        })
    }

    /// Everything on the managed engines of a deployment.
    ///
    /// # Errors
    /// This binary was built without them.
    #[cfg(not(feature = "aws"))]
    pub(crate) fn managed(_args: &EngineArgs) -> anyhow::Result<Self> {
        anyhow::bail!(MISSING)
    }

    /// Opens the engines that tiers with these grants need.
    pub(crate) async fn open(&self, secret: Secret, grants: &[Arc<Grants>]) -> anyhow::Result<Engines> {
        let metrics = Metrics::new();
        let weather = Weather::new(metrics.clone());
        let mut opening = Opening {
            #[cfg(feature = "aws")]
            managed: match &self.managed {
                Some(args) => Some(managed::Clients::connect(args, &weather).await?),
                None => None,
            },
            metrics,
            weather,
            secret,
            upkeep: Vec::new(),
            closings: Vec::new(),
        };
        let archives = grants.iter().any(|grants| grants.archive);
        let pictures = grants.iter().any(|grants| grants.blobs);
        let queues = self.queues.open(&mut opening).await?;
        let tables = self.tables.open(&mut opening).await?;
        let sessions = self.sessions.open(&mut opening)?;
        let cache = self.cache.open(&opening)?;
        let uploads = self.uploads.open(&opening)?;
        let archive = if archives { Some(self.archive.open(&opening).await?) } else { None };
        let blobs = if pictures { Some(self.blobs.open(&opening).await?) } else { None };
        let Opening { metrics, weather, secret, upkeep, closings, .. } = opening;
        Ok(Engines {
            queues,
            tables,
            sessions,
            cache,
            uploads,
            archive,
            blobs,
            metrics,
            weather,
            secret,
            upkeep,
            closings,
        })
    }
}

#[cfg(not(feature = "aws"))]
const MISSING: &str = "this binary was built without AWS: build it with `cargo build --release --features aws`, or run `soundoff up` on one machine";

/// Makes what is missing on managed engines.
#[cfg(not(feature = "aws"))]
pub(crate) async fn provision(_args: &EngineArgs) -> anyhow::Result<()> {
    anyhow::bail!(MISSING)
}

/// The address by which other machines of the deployment reach this one.
#[cfg(not(feature = "aws"))]
pub(crate) async fn private_ip() -> anyhow::Result<std::net::IpAddr> {
    anyhow::bail!(MISSING)
}
