//! The parts of a process: engines, features, and the world that each tier sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use soundoff_common::model::gate::Keeper;
use soundoff_common::model::holdings::Holding;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job};
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::feature::{self, Feature, Row, Work};
use soundoff_common::pipeline::grants::Grants;
use soundoff_common::pipeline::handler::Context;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::side::{Side, share};
use soundoff_common::pipeline::terms::Daily;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::pipeline::turns::Turns;
use soundoff_common::pipeline::worker::{Outward, Worker};
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::now_ms;
use soundoff_common::web::pages::Pages;
use soundoff_common::web::secret::Secret;
use soundoff_edge::{Clock, EdgeDeps};
use soundoff_router::Router;
use soundoff_users::{ForeignTokens, Ring, Verifier};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::chaos::Chaos;
use crate::config::{CountryArgs, EngineArgs, ForeignArgs, LimitArgs, Pulling};
use crate::engines::{Engines, Plan};
use crate::features;
use crate::pool::Bench;

/// The parts of a process that runs some tiers.
pub(crate) struct Node {
    pub(crate) engines: Engines,
    pub(crate) catalog: Arc<Catalog>,
    /// Signs deliveries from workers to edges.
    pub(crate) key: InternalKey,
    /// The keys of access tokens, if a tier checks or issues tokens.
    pub(crate) ring: Option<Arc<Ring>>,
    /// The world without the bounds of any tier, for operators.
    pub(crate) world: World,
    /// Whether people are let in, in a process with a public port.
    pub(crate) gate: Keeper,
    /// Judges the customer's own tokens, where they are taken.
    pub(crate) foreign: Option<Arc<ForeignTokens>>,
    tiers: Vec<Tier>,
    grants: BTreeMap<Tier, Arc<Grants>>,
    kinds: Arc<[Holding]>,
}

/// A feature's pages, and where they are: each of the paths, and all that lies below it.
pub(crate) struct Mounted {
    pub(crate) paths: &'static [&'static str],
    pub(crate) pages: Arc<dyn Pages>,
}

impl Mounted {
    /// Whether a path is one of them, or below.
    pub(crate) fn serves(&self, path: &str) -> bool {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.paths.iter().any(|mount| path.strip_prefix(mount).is_some_and(below))
    }
}

impl Node {
    /// Opens the engines of a process that runs `tiers`.
    pub(crate) async fn open(
        plan: &Plan,
        secret: Secret,
        key: InternalKey,
        tiers: &[Tier],
    ) -> anyhow::Result<Self> {
        let declared = features::features(features::Settings::default());
        let catalog = Arc::new(feature::catalog(&declared));
        let granted = |tier: &Tier| (*tier, Arc::new(feature::grants(*tier, &declared, &catalog)));
        let grants: BTreeMap<_, _> = tiers.iter().map(granted).collect();
        let kinds = feature::kinds(&declared).into();
        let needed: Vec<_> = grants.values().cloned().collect();
        let engines = plan.open(secret, &needed).await?;
        let ring = ring(&engines, tiers).await?;
        let replies = Replies::start(engines.sessions.clone(), key.clone(), engines.weather.clone());
        let outward = Outward { queues: engines.queues.clone(), replies, catalog: catalog.clone() };
        let world = World {
            tables: engines.tables.clone(),
            sessions: engines.sessions.clone(),
            cache: engines.cache.clone(),
            queues: engines.queues.clone(),
            uploads: engines.uploads.clone(),
            outward,
            secret: engines.secret.clone(),
            purges: false,
            metrics: engines.metrics.clone(),
            weather: engines.weather.clone(),
            blobs: engines.blobs.clone(),
            archive: engines.archive.clone(),
            verifier: ring.clone().map(|ring| Arc::new(Verifier::new(ring)) as _),
        };
        let gate = Keeper::default();
        Ok(Self {
            engines,
            catalog,
            key,
            ring,
            world,
            gate,
            foreign: None,
            tiers: tiers.to_vec(),
            grants,
            kinds,
        })
    }

    /// A process that runs `tiers` on a deployment's engines.
    pub(crate) async fn managed(args: &EngineArgs, tiers: &[Tier]) -> anyhow::Result<Self> {
        let plan = Plan::managed(args)?;
        let secret = args.secret.read()?;
        for tier in tiers {
            secret.serves(tier.role()).with_context(|| format!("cannot run as {tier}"))?;
        }
        if let Some(tier) = tiers.first().filter(|_| secret.is_root()) {
            let role = tier.role().name();
            tracing::warn!(
                "this process holds the root secret, and needs less: give it `soundoff secret derive --role {role}`"
            );
        }
        let key = InternalKey::of(&secret)?;
        Self::open(&plan, secret, key, tiers).await
    }

    /// What an operator's command works with on a deployment's engines: all that the User service can do.
    pub(crate) async fn operated(args: &EngineArgs) -> anyhow::Result<Self> {
        let plan = Plan::managed(args)?;
        let secret = args.secret.read()?;
        let key = InternalKey::of(&secret)?;
        Self::open(&plan, secret, key, &[Tier::Users]).await
    }

    /// The same with caches in front of pictures, which are told what to forget, if there is a way to tell them.
    pub(crate) fn purging(mut self, purges: bool) -> Self {
        self.world.purges = purges;
        self
    }

    /// The same with the limits that an operator sets.
    pub(crate) fn limited(mut self, args: &LimitArgs) -> anyhow::Result<Self> {
        let limited = Catalog::clone(&self.catalog).limited(&args.type_limits);
        self.catalog = Arc::new(limited.map_err(anyhow::Error::msg).context("--type-limits")?);
        Ok(self)
    }

    /// The same with the gate kept at its doors, until `stop`.
    pub(crate) async fn gated(
        mut self,
        country: &CountryArgs,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        self.gate = Keeper::new(country.finder()?);
        let tables = self.world.tables.clone();
        self.gate.look(&*tables).await;
        tokio::spawn(self.gate.clone().keep(tables, stop.clone()));
        Ok(self)
    }

    /// The same with the customer's own tokens taken besides ours, if there are any. Their keys are fetched until `stop`.
    pub(crate) fn taking(mut self, args: &ForeignArgs, stop: &CancellationToken) -> anyhow::Result<Self> {
        let issuers = args.config()?;
        if issuers.is_empty() {
            return Ok(self);
        }
        let foreign = Arc::new(ForeignTokens::new(issuers));
        tokio::spawn(foreign.clone().keep(stop.clone()));
        self.world.verifier = Some(foreign.beside(Verifier::new(self.ring()?.clone())));
        self.foreign = Some(foreign);
        Ok(self)
    }

    /// The keys of access tokens.
    pub(crate) fn ring(&self) -> anyhow::Result<&Arc<Ring>> {
        self.ring.as_ref().context("no tier of this process has keys of access tokens")
    }

    /// The world as one of the process's tiers sees it.
    pub(crate) fn world(&self, tier: Tier) -> World {
        let grants = self.grants.get(&tier).cloned().unwrap_or_default();
        self.world.of(tier, &grants, &self.kinds)
    }

    /// An example of a URL where clients put large media: the app's page must be allowed to go there.
    pub(crate) async fn upload_place(&self) -> anyhow::Result<String> {
        let url = self.engines.uploads.url(Ulid::nil(), 1, now_ms() / 1000 + 60).await;
        url.map_err(anyhow::Error::from).context("cannot sign uploads")
    }

    /// What an edge gets; `clock` is the process's.
    pub(crate) fn edge_deps(
        &self,
        clock: Arc<Clock>,
        pages: Arc<dyn Pages>,
        internal_pages: Option<Arc<dyn Pages>>,
    ) -> anyhow::Result<EdgeDeps> {
        let world = self.world(Tier::Edge);
        Ok(EdgeDeps {
            verifier: world.verifier()?,
            queues: world.queues,
            sessions: world.sessions,
            cache: world.cache,
            tables: world.tables,
            clock,
            catalog: self.catalog.clone(),
            replies: world.outward.replies,
            key: self.key.clone(),
            metrics: world.metrics,
            weather: self.engines.weather.clone(),
            gate: self.gate.clone(),
            pages,
            internal_pages,
        })
    }

    /// The consumers of all queues that this process's tiers pull; of the types, only those that are `wanted`.
    pub(crate) fn benches(
        &self,
        features: &[Feature],
        args: &Pulling,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<Bench>> {
        let mut benches = Vec::new();
        if self.tiers.contains(&Tier::Router) {
            benches.push(self.router(args)?);
        }
        // All handlers of the process share them.
        let turns = Arc::<Turns>::default();
        let daily = Arc::new(Daily::of(self.catalog.terms()));
        for tier in &self.tiers {
            let world = self.world(*tier);
            let rows = features.iter().flat_map(|feature| &feature.rows);
            for row in rows.filter(|row| row.spec.tier == *tier && wanted(row.spec.message_type)) {
                benches.extend(benches_of(row, &world, (&turns, &daily), args)?);
            }
        }
        Ok(benches)
    }

    fn router(&self, args: &Pulling) -> anyhow::Result<Bench> {
        let world = self.world(Tier::Router);
        let archive = world.archive()?;
        let (catalog, queues) = (self.catalog.clone(), world.queues.clone());
        let router = Router::new(catalog, queues, archive, world.tables, world.outward);
        let (queue, config) = (QueueName::main(), args.router());
        Ok(Bench { queues: world.queues, queue, config, job: Arc::new(router) })
    }

    /// The features' pages of one tier.
    pub(crate) fn pages(&self, features: &[Feature], tier: Tier) -> anyhow::Result<Vec<Mounted>> {
        let world = self.world(tier);
        let rows = features.iter().flat_map(|feature| &feature.pages).filter(|row| row.tier == tier);
        rows.map(|row| Ok(Mounted { paths: row.paths, pages: (row.make)(&world)? })).collect()
    }

    /// Starts the background loops of this process's tiers, until `stop`.
    pub(crate) fn begin_loops(&self, features: &[Feature], stop: &CancellationToken) -> anyhow::Result<()> {
        for row in features.iter().flat_map(|feature| &feature.loops) {
            if self.tiers.contains(&row.tier) {
                let begun = (row.begin)(&self.world(row.tier), stop.clone()).context(row.name)?;
                tokio::spawn(begun);
            }
        }
        Ok(())
    }

    /// Starts what the engines want done for as long as the process runs.
    pub(crate) fn begin_upkeep(&mut self, stop: &CancellationToken) {
        for upkeep in self.engines.upkeep.drain(..) {
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(upkeep).await });
        }
    }

    /// Lets the engines finish what they hold.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let closings = self.engines.closings;
        Ok(tokio::task::spawn_blocking(|| closings.into_iter().for_each(|closing| closing())).await?)
    }
}

/// The keys of access tokens, if these tiers need them: the tier that signs people in makes keys, others only follow
/// them.
async fn ring(engines: &Engines, tiers: &[Tier]) -> anyhow::Result<Option<Arc<Ring>>> {
    let (tables, secret) = (engines.tables.clone(), &engines.secret);
    if tiers.contains(&Tier::Users) {
        return Ok(Some(Ring::open(tables, secret).await?));
    }
    if tiers.contains(&Tier::Edge) {
        return Ok(Some(Ring::follow(tables, secret).await?));
    }
    Ok(None)
}

/// The consumers of a row: of its queue, and of its side queue if it has one.
fn benches_of(
    row: &Row,
    world: &World,
    (turns, daily): (&Arc<Turns>, &Arc<Daily>),
    args: &Pulling,
) -> anyhow::Result<Vec<Bench>> {
    let spec = &row.spec;
    let config: ConsumerConfig = spec.pull.within(args.worker());
    let mut job: Arc<dyn Job> = match &row.work {
        Work::Handler(run) => {
            let cx = Context {
                tables: world.tables.clone(),
                sessions: world.sessions.clone(),
                metrics: world.metrics.clone(),
                turns: turns.clone(),
                daily: daily.clone(),
                uploads: world.uploads.clone(),
                pictures: world.pictures()?,
                purges: world.purges,
            };
            Arc::new(Worker::new(*run, cx, world.outward.clone()))
        }
        Work::Job(make) => make(world).with_context(|| format!("cannot work on {}", spec.message_type))?,
    };
    if let Some(rule) = args.chaos.iter().find(|rule| rule.message_type == spec.message_type) {
        job = Arc::new(Chaos::new(job, rule, args.chaos_seed));
    }
    let bench = |queue, config, job| Bench { queues: world.queues.clone(), queue, config, job };
    let mut benches = Vec::new();
    if let (Some(key), Some(queue)) = (spec.hot, spec.side_queue()) {
        let slots = share(config.slots);
        let aside = ConsumerConfig { slots, batch: config.batch.min(slots), ..config };
        benches.push(bench(queue.clone(), aside, job.clone()));
        // Where the tables judge in order nobody waits for a turn, and nobody has to move. What lies in the side queue
        // is worked off all the same.
        if !world.tables.judges_in_order() {
            let queues = (world.queues.clone(), queue);
            job = Arc::new(Side::new(job, key, config.slots, queues, &world.metrics));
        }
    }
    benches.push(bench(spec.queue.clone(), config, job));
    Ok(benches)
}
