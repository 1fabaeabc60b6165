//! What an edge needs from the world.

use std::sync::Arc;

use soundoff_common::guard::Weather;
use soundoff_common::model::gate::Keeper;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::ports::sessions::Sessions;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::tokens::TokenVerifier;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::pages::Pages;

use crate::clock::Clock;

/// The ports, keys and pages that one edge works with.
#[derive(Clone)]
pub struct EdgeDeps {
    /// Where messages go: only main_q is used.
    pub queues: Arc<dyn Queues>,
    /// The Session Cache.
    pub sessions: Arc<dyn Sessions>,
    /// How far behind the queues are.
    pub cache: Arc<dyn Cache>,
    /// Accounts and inboxes.
    pub tables: Arc<dyn Tables>,
    /// Gives the messages their ids; edges of one process share it.
    pub clock: Arc<Clock>,
    /// Which types clients may send.
    pub catalog: Arc<Catalog>,
    /// Judges access tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// The way to the other edges.
    pub replies: Replies,
    /// Signs what workers deliver.
    pub key: InternalKey,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Which of its engines are away.
    pub weather: Weather,
    /// Whether people are let in.
    pub gate: Keeper,
    /// The public port's other pages.
    pub pages: Arc<dyn Pages>,
    /// The internal port's other pages, if it has any.
    pub internal_pages: Option<Arc<dyn Pages>>,
}
