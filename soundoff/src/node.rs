//! What any process of the pipeline is wired from, whatever its engines and its role.

use std::sync::Arc;

use anyhow::Context as _;
use soundoff_common::catalog::{Catalog, Spec, Work};
use soundoff_common::consumer::{ConsumerConfig, Job};
use soundoff_common::deliver::InternalKey;
use soundoff_common::handler::Context;
use soundoff_common::ports::archive::Archive;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::ports::sessions::Sessions;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::uploads::Uploads;
use soundoff_common::protocol::now_ms;
use soundoff_common::replies::Replies;
use soundoff_common::secret::Secret;
use soundoff_common::telemetry::Metrics;
use soundoff_common::uploads::UploadKey;
use soundoff_common::worker::{Outward, Worker};
use soundoff_edge::{EdgeDeps, Pages};
use soundoff_media::{Media, MediaConfig, MediaDeps};
use soundoff_router::Router;
use soundoff_timeline::{TimelineConfig, TimelineDeps, Timelines};
use soundoff_users::{DevTokens, Issuer, Ring, Users, UsersDeps, Verifier};
use ulid::Ulid;

use crate::chaos::Chaos;
use crate::config::{ConsumerArgs, Couriers, MediaArgs, UsersArgs};
use crate::pool::{Bench, Pool};

/// The engines behind the ports, and the deployment's secret.
#[derive(Clone)]
pub(crate) struct Engines {
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) cache: Arc<dyn Cache>,
    /// Where clients put large media by themselves.
    pub(crate) uploads: Arc<dyn Uploads>,
    pub(crate) metrics: Metrics,
    pub(crate) secret: Secret,
}

/// The parts that processes are put together from.
pub(crate) struct Node {
    pub(crate) engines: Engines,
    pub(crate) catalog: Arc<Catalog>,
    /// Signs deliveries from workers to edges.
    pub(crate) key: InternalKey,
    pub(crate) replies: Replies,
    outward: Outward,
}

/// Signs uploads to the media pages themselves, and knows them again.
pub(crate) fn upload_key(secret: &Secret) -> UploadKey {
    UploadKey::new(&secret.key("media uploads"))
}

impl Node {
    pub(crate) fn new(engines: Engines, key: InternalKey) -> Self {
        let catalog = Arc::new(crate::catalog::catalog());
        let replies = Replies::start(engines.sessions.clone(), key.clone(), engines.metrics.clone());
        let outward =
            Outward { queues: engines.queues.clone(), replies: replies.clone(), catalog: catalog.clone() };
        Self { engines, catalog, key, replies, outward }
    }

    /// The keys of access tokens.
    pub(crate) async fn ring(&self) -> anyhow::Result<Arc<Ring>> {
        Ring::open(self.engines.tables.clone(), &self.engines.secret).await
    }

    /// The same for a process that only verifies.
    pub(crate) async fn verifying(&self) -> anyhow::Result<Arc<Ring>> {
        Ring::follow(self.engines.tables.clone(), &self.engines.secret).await
    }

    /// The timelines' part of this process.
    pub(crate) fn timelines(&self, config: TimelineConfig) -> anyhow::Result<Arc<Timelines>> {
        let deps = TimelineDeps {
            tables: self.engines.tables.clone(),
            cache: self.engines.cache.clone(),
            queues: self.engines.queues.clone(),
            outward: self.outward.clone(),
            metrics: self.engines.metrics.clone(),
        };
        Timelines::new(config, deps).map_err(anyhow::Error::msg)
    }

    /// The media's part of this process.
    pub(crate) fn media(&self, args: &MediaArgs, blobs: Arc<dyn Blobs>, ring: &Arc<Ring>) -> Arc<Media> {
        let deps = MediaDeps {
            tables: self.engines.tables.clone(),
            blobs,
            outward: self.outward.clone(),
            verifier: Arc::new(Verifier::new(ring.clone())),
            // Where clients upload past these pages, nobody has such a URL, and none is taken.
            uploads: upload_key(&self.engines.secret),
            metrics: self.engines.metrics.clone(),
        };
        Media::new(MediaConfig { kept: args.kept(), ..MediaConfig::default() }, deps)
    }

    /// An example of where clients put large media: the app's page has to be allowed to go there.
    pub(crate) async fn upload_place(&self) -> anyhow::Result<String> {
        let url = self.engines.uploads.url(Ulid::nil(), 1, now_ms() / 1000 + 60).await;
        url.map_err(anyhow::Error::from).context("cannot sign uploads")
    }

    /// The User service, and who gives development tokens. With `dev` the outbox can be read.
    pub(crate) fn users(
        &self,
        args: &UsersArgs,
        couriers: &Couriers,
        dev: bool,
        ring: &Arc<Ring>,
    ) -> anyhow::Result<(Users, DevTokens)> {
        let deps = UsersDeps {
            tables: self.engines.tables.clone(),
            replies: self.replies.clone(),
            ring: ring.clone(),
            secret: self.engines.secret.clone(),
            mail: couriers.mail.clone(),
            texts: couriers.texts.clone(),
            outbox: dev && !couriers.carried,
            metrics: self.engines.metrics.clone(),
        };
        let tokens = DevTokens::new(self.engines.tables.clone(), Issuer::new(ring.clone()));
        Ok((Users::new(args.config()?, deps), tokens))
    }

    /// What an edge gets.
    pub(crate) fn edge_deps(
        &self,
        ring: &Arc<Ring>,
        pages: Arc<dyn Pages>,
        internal_pages: Option<Arc<dyn Pages>>,
    ) -> EdgeDeps {
        EdgeDeps {
            queues: self.engines.queues.clone(),
            sessions: self.engines.sessions.clone(),
            tables: self.engines.tables.clone(),
            catalog: self.catalog.clone(),
            verifier: Arc::new(Verifier::new(ring.clone())),
            key: self.key.clone(),
            metrics: self.engines.metrics.clone(),
            pages,
            internal_pages,
        }
    }

    /// The router's consumer.
    pub(crate) fn router(&self, args: &ConsumerArgs, archive: Arc<dyn Archive>) -> Bench {
        let queues = self.engines.queues.clone();
        let router = Router::new(self.catalog.clone(), queues, archive, self.outward.clone());
        Bench { queue: QueueName::main(), config: args.router(), job: Arc::new(router) }
    }

    /// The consumers of the handlers and jobs that are wanted; `job` knows the jobs, which have state of their own.
    pub(crate) fn consumers(
        &self,
        args: &ConsumerArgs,
        wanted: impl Fn(&Spec) -> bool,
        job: impl Fn(&Spec, ConsumerConfig) -> (Arc<dyn Job>, ConsumerConfig),
    ) -> Vec<Bench> {
        let cx = Context {
            tables: self.engines.tables.clone(),
            sessions: self.engines.sessions.clone(),
            metrics: self.engines.metrics.clone(),
            inbox_heads: Arc::default(),
            uploads: self.engines.uploads.clone(),
        };
        let bench = |spec: &Spec| {
            let (mut job, config): (Arc<dyn Job>, _) = match spec.work {
                Work::Handler(run) => {
                    (Arc::new(Worker::new(run, cx.clone(), self.outward.clone())), args.worker())
                }
                Work::Job => job(spec, args.worker()),
            };
            if let Some(rule) = args.chaos.iter().find(|rule| rule.message_type == spec.message_type) {
                job = Arc::new(Chaos::new(job, rule, args.chaos_seed));
            }
            Bench { queue: spec.queue.clone(), config, job }
        };
        self.catalog.specs().iter().filter(|spec| wanted(spec)).map(bench).collect()
    }

    /// A pool of consumers on this node's queues.
    pub(crate) fn pool(&self, benches: Vec<Bench>) -> Pool {
        Pool::new(self.engines.queues.clone(), self.engines.metrics.clone(), benches)
    }
}
