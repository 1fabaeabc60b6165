//! The seam at which a feature joins the pipeline: one value that declares everything about it.
//!
//! A feature declares which messages it works on and in which tier, what it shows on HTTP, what runs in the background,
//! what it may touch, and what it keeps of users. The binary has one list of features; a process takes from it what
//! belongs to its tiers, and the deployment's queues, services and policies are generated from the same list.
//!
//! It is a value and no trait, so that all of it can be listed before any port is opened. State that its jobs, pages
//! and loops share is made first and captured by them; ports come from the [`World`] of the tier in which each of them
//! runs.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::model::gate;
use crate::model::holdings::Holding;
use crate::model::removal;
use crate::pipeline::catalog::{Catalog, Spec};
use crate::pipeline::consumer::Job;
use crate::pipeline::effect::{self, run_of};
use crate::pipeline::grants::{Grants, Sends, Touches};
use crate::pipeline::handler::{MessageType, Run};
use crate::pipeline::inbox;
use crate::pipeline::tier::Tier;
use crate::pipeline::world::World;
use crate::ports::queues::QueueName;
use crate::ports::tables::Table;
use crate::web::pages::Pages;

type Make<T> = Box<dyn Fn(&World) -> anyhow::Result<Arc<T>> + Send + Sync>;
type Begin = Box<dyn Fn(&World, CancellationToken) -> anyhow::Result<BoxFuture<'static, ()>> + Send + Sync>;

/// One type's queue, and what is done with its messages.
pub struct Row {
    /// How it travels.
    pub spec: Spec,
    /// What is done.
    pub work: Work,
}

/// What is done with a type's messages.
pub enum Work {
    /// A handler runs on each message.
    Handler(Run),
    /// A job runs, which is made for the process.
    Job(Make<dyn Job>),
}

/// Pages below some paths of the public port.
pub struct PageRow {
    /// The tier that serves them.
    pub tier: Tier,
    /// The paths: each of them, and everything below it.
    pub paths: &'static [&'static str],
    /// The MessageTypes that the pages may put on queues.
    pub causes: &'static [&'static str],
    /// Makes them for the process.
    pub make: Make<dyn Pages>,
}

/// A background loop that runs as long as the process.
pub struct LoopRow {
    /// The tier that runs it.
    pub tier: Tier,
    /// Its name, for logs.
    pub name: &'static str,
    /// The MessageTypes that it may put on queues.
    pub causes: &'static [&'static str],
    /// Makes it; it ends with the token.
    pub begin: Begin,
}

/// A feature.
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The types that it works on, in the order of the protocol document.
    pub rows: Vec<Row>,
    /// What it shows.
    pub pages: Vec<PageRow>,
    /// Its background loops.
    pub loops: Vec<LoopRow>,
    /// What it touches, by tier, beside the queues of its rows.
    pub touches: Vec<(Tier, Touches)>,
    /// The kinds of items that it keeps.
    pub holdings: Vec<Holding>,
}

/// The row of a handler.
#[must_use]
pub fn handler<M: MessageType>() -> Row {
    Row { spec: Spec::of::<M>(), work: Work::Handler(run_of::<M>()) }
}

impl Feature {
    /// A feature that does nothing yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let (rows, pages, loops, touches, holdings) = Default::default();
        Self { name, rows, pages, loops, touches, holdings }
    }

    /// With handlers.
    #[must_use]
    pub fn handles(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// With a job for one type's queue. `make` is called once in each process of the row's tier.
    #[must_use]
    pub fn works<J: Job>(
        mut self,
        spec: Spec,
        make: impl Fn(&World) -> anyhow::Result<J> + Send + Sync + 'static,
    ) -> Self {
        let made = move |world: &World| Ok(Arc::new(make(world)?) as Arc<dyn Job>);
        self.rows.push(Row { spec, work: Work::Job(Box::new(made)) });
        self
    }

    /// With pages at some paths and below them, which may put messages of the types `causes` on queues.
    #[must_use]
    pub fn shows<P: Pages>(
        mut self,
        tier: Tier,
        paths: &'static [&'static str],
        causes: &'static [&'static str],
        make: impl Fn(&World) -> anyhow::Result<P> + Send + Sync + 'static,
    ) -> Self {
        let made = move |world: &World| Ok(Arc::new(make(world)?) as Arc<dyn Pages>);
        self.pages.push(PageRow { tier, paths, causes, make: Box::new(made) });
        self
    }

    /// With a loop that runs until its token is cancelled, and may put messages of the types `causes` on queues.
    #[must_use]
    pub fn runs<F: Future<Output = ()> + Send + 'static>(
        mut self,
        tier: Tier,
        name: &'static str,
        causes: &'static [&'static str],
        begin: impl Fn(&World, CancellationToken) -> anyhow::Result<F> + Send + Sync + 'static,
    ) -> Self {
        let begun = move |world: &World, stop: CancellationToken| -> anyhow::Result<BoxFuture<'static, ()>> {
            Ok(Box::pin(begin(world, stop)?))
        };
        self.loops.push(LoopRow { tier, name, causes, begin: Box::new(begun) });
        self
    }

    /// With the right to touch these in one tier.
    #[must_use]
    pub fn touches(mut self, tier: Tier, touches: Touches) -> Self {
        self.touches.push((tier, touches));
        self
    }

    /// With items of these kinds.
    #[must_use]
    pub fn keeps(mut self, holdings: &[Holding]) -> Self {
        self.holdings.extend_from_slice(holdings);
        self
    }

    /// The MessageTypes that its parts in one tier may put on queues.
    fn causes_in(&self, tier: Tier) -> impl Iterator<Item = &'static str> {
        let rows = self.rows.iter().filter(move |row| row.spec.tier == tier).map(|row| row.spec.causes);
        let pages = self.pages.iter().filter(move |row| row.tier == tier).map(|row| row.causes);
        let loops = self.loops.iter().filter(move |row| row.tier == tier).map(|row| row.causes);
        rows.chain(pages).chain(loops).flatten().copied()
    }
}

/// What the pipeline itself touches and keeps where handlers run: inboxes and dedupe records.
#[must_use]
pub fn spine() -> Feature {
    const OWN: &[Table] = &[Table::Inbox, Table::Dedupe];
    Feature::new("pipeline")
        .touches(Tier::Workers, Touches { reads: OWN, writes: OWN, ..Touches::default() })
        .keeps(inbox::HOLDINGS)
        .keeps(effect::HOLDINGS)
        .keeps(removal::HOLDINGS)
}

/// The gate, which operators set on the pages of processes where people come in.
#[must_use]
pub fn gate() -> Feature {
    let sets = Touches { own: true, ..Touches::default() };
    Feature::new("gate").touches(Tier::Edge, sets).touches(Tier::Users, sets).keeps(gate::HOLDINGS)
}

/// The catalog of all rows.
#[must_use]
pub fn catalog(features: &[Feature]) -> Catalog {
    Catalog::new(features.iter().flat_map(|feature| &feature.rows).map(|row| row.spec.clone()).collect())
}

/// The kinds of items that `features` keep.
#[must_use]
pub fn kinds(features: &[Feature]) -> Vec<Holding> {
    features.iter().flat_map(|feature| &feature.holdings).copied().collect()
}

/// All that `tier` may do: what `features` declare for it, all together.
///
/// # Panics
/// When a row causes a MessageType that is not in the catalog: a defect of that row.
#[must_use]
pub fn grants(tier: Tier, features: &[Feature], catalog: &Catalog) -> Grants {
    let mut grants = Grants::default();
    for feature in features {
        for (_, touches) in feature.touches.iter().filter(|(of, _)| *of == tier) {
            grants.add(touches, &feature.holdings);
            grants.archive |= touches.archive;
            grants.blobs |= touches.blobs;
            match touches.sends {
                Sends::Nothing => {}
                Sends::Main => drop(grants.sends.insert(QueueName::main())),
                Sends::Types => grants.sends.extend(catalog.specs().iter().map(|spec| spec.queue.clone())),
            }
        }
        for caused in feature.causes_in(tier) {
            let route = catalog.route(caused);
            let route = route.unwrap_or_else(|| panic!("{} causes {caused}, which is no type", feature.name));
            grants.sends.extend(route.queues.iter().cloned());
        }
        let specs = feature.rows.iter().map(|row| &row.spec).filter(|spec| spec.tier == tier);
        for spec in specs {
            grants.pulls.extend(spec.queues());
            grants.sends.extend(spec.side_queue());
        }
    }
    if tier == Tier::Router {
        grants.pulls.insert(QueueName::main());
    }
    grants
}
