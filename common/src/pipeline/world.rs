//! What a process has for the features that run in it.

use std::sync::Arc;

use crate::guard::Weather;
use crate::model::holdings::Holding;
use crate::pipeline::grants::Grants;
use crate::pipeline::held::{HeldQueues, HeldTables};
use crate::pipeline::tier::Tier;
use crate::pipeline::worker::Outward;
use crate::ports::archive::Archive;
use crate::ports::blobs::Blobs;
use crate::ports::cache::Cache;
use crate::ports::queues::Queues;
use crate::ports::sessions::Sessions;
use crate::ports::tables::Tables;
use crate::ports::tokens::TokenVerifier;
use crate::ports::uploads::Uploads;
use crate::telemetry::Metrics;
use crate::web::pictures::PictureKey;
use crate::web::secret::Secret;

/// The ports of a process, its metrics and the deployment's secret. Cloning shares them.
#[derive(Clone)]
pub struct World {
    /// Accounts, posts, inboxes: all items.
    pub tables: Arc<dyn Tables>,
    /// Who is online where.
    pub sessions: Arc<dyn Sessions>,
    /// Data that may be lost: timelines, lists.
    pub cache: Arc<dyn Cache>,
    /// The queues themselves. Messages of ours go through [`Self::outward`].
    pub queues: Arc<dyn Queues>,
    /// Where clients upload large media themselves.
    pub uploads: Arc<dyn Uploads>,
    /// To the types' queues and to the sockets.
    pub outward: Outward,
    /// The deployment's secret.
    pub secret: Secret,
    /// Whether caches in front are told of pictures that are not shown to everybody any more.
    pub purges: bool,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Which of its engines are away.
    pub weather: Weather,
    /// The bytes of media, where a tier of this process has them.
    pub blobs: Option<Arc<dyn Blobs>>,
    /// The archive, where a tier of this process archives.
    pub archive: Option<Arc<dyn Archive>>,
    /// Judges access tokens, where a tier of this process takes them.
    pub verifier: Option<Arc<dyn TokenVerifier>>,
}

impl World {
    /// The bytes of media.
    ///
    /// # Errors
    /// When no feature of this tier declares that it has blobs.
    pub fn blobs(&self) -> anyhow::Result<Arc<dyn Blobs>> {
        let missing = "this tier has no blobs: the feature must declare them in its `Touches`";
        self.blobs.clone().ok_or_else(|| anyhow::anyhow!(missing))
    }

    /// The archive.
    ///
    /// # Errors
    /// When no feature of this tier declares that it archives.
    pub fn archive(&self) -> anyhow::Result<Arc<dyn Archive>> {
        let missing = "this tier has no archive: the feature must declare it in its `Touches`";
        self.archive.clone().ok_or_else(|| anyhow::anyhow!(missing))
    }

    /// Signs and checks URLs of pictures that are not shown to everybody.
    ///
    /// # Errors
    /// When the secret of this process has no key for it.
    pub fn pictures(&self) -> anyhow::Result<PictureKey> {
        Ok(PictureKey::of(&self.secret)?)
    }

    /// Judges access tokens.
    ///
    /// # Errors
    /// When this tier takes no tokens.
    pub fn verifier(&self) -> anyhow::Result<Arc<dyn TokenVerifier>> {
        self.verifier.clone().ok_or_else(|| anyhow::anyhow!("this tier takes no access tokens"))
    }

    /// The same world as one tier sees it. Debug builds refuse everything that the tier's grants do not name, as a
    /// deployment's policies would; release builds leave that to the policies.
    #[must_use]
    pub fn of(&self, tier: Tier, grants: &Arc<Grants>, kinds: &Arc<[Holding]>) -> Self {
        let mut world = self.clone();
        if !grants.blobs {
            world.blobs = None;
        }
        if !grants.archive {
            world.archive = None;
        }
        if cfg!(debug_assertions) {
            let tables = HeldTables::new(self.tables.clone(), tier, grants.clone(), kinds.clone());
            let queues: Arc<dyn Queues> =
                Arc::new(HeldQueues::new(self.queues.clone(), tier, grants.clone()));
            world.tables = Arc::new(tables);
            world.outward.queues = queues.clone();
            world.queues = queues;
        }
        world
    }
}
