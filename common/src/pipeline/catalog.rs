//! Which message types exist, who may send them, and where they go.

use std::collections::HashMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::pipeline::archived::Archived;
use crate::pipeline::consumer::{ConsumerConfig, Verdict};
use crate::pipeline::handler::{MessageType, Nothing, Source, Told};
use crate::pipeline::side::{HotKey, hot_key_of};
use crate::pipeline::terms::{Limited, Terms};
use crate::pipeline::tier::Tier;
use crate::ports::queues::QueueName;
use crate::protocol::Role;

/// How a queue is pulled, within what the process is configured to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull {
    /// The most messages at once; `None`: as configured.
    pub slots: Option<usize>,
    /// Whether all messages that have gathered are one run of the job.
    pub together: bool,
}

impl Pull {
    /// As configured, one message in each run.
    pub const ONE_BY_ONE: Self = Self { slots: None, together: false };

    /// The same with at most `slots` messages at once.
    #[must_use]
    pub const fn at_most(slots: usize) -> Self {
        Self { slots: Some(slots), together: false }
    }

    /// How the queue is pulled in a process that is configured with `base`.
    #[must_use]
    pub fn within(self, base: ConsumerConfig) -> ConsumerConfig {
        let slots = self.slots.map_or(base.slots, |most| most.min(base.slots));
        ConsumerConfig { slots, batch: if self.together { slots } else { base.batch.min(slots) }, ..base }
    }
}

/// How a type travels: one handler's queue and rules.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The MessageType.
    pub message_type: &'static str,
    /// The queue this handler pulls.
    pub queue: QueueName,
    /// The service that pulls it.
    pub tier: Tier,
    /// How it is pulled.
    pub pull: Pull,
    /// What its messages are about, where those about the same wait for each other. They then have a side queue.
    pub hot: Option<HotKey>,
    /// Who may send it.
    pub source: Source,
    /// The least role of a user whose client may send it.
    pub role: Role,
    /// How much of it the router archives.
    pub archived: Archived,
    /// Whether it only reads.
    pub reads: bool,
    /// What it costs its sender, and how many there may be.
    pub terms: Terms,
    /// One line for the protocol document.
    pub summary: &'static str,
    /// The body's JSON Schema.
    pub body_schema: fn(&mut SchemaGenerator) -> Schema,
    /// The reply's JSON Schema.
    pub reply_schema: fn(&mut SchemaGenerator) -> Schema,
    /// The pushes and events that it may send to users.
    pub tells: &'static [Told],
    /// The MessageTypes that it may put on queues.
    pub causes: &'static [&'static str],
}

impl Spec {
    /// The row of a handler.
    #[must_use]
    pub fn of<M: MessageType>() -> Self {
        Self {
            message_type: M::TYPE,
            queue: M::QUEUE.map_or_else(|| QueueName::of_type(M::TYPE), QueueName::new),
            tier: M::TIER,
            pull: Pull::ONE_BY_ONE,
            hot: hot_key_of::<M>(),
            source: M::SOURCE,
            role: M::ROLE,
            archived: M::ARCHIVED,
            reads: M::READS,
            terms: M::TERMS,
            summary: M::SUMMARY,
            body_schema: SchemaGenerator::subschema_for::<M::Body>,
            reply_schema: SchemaGenerator::subschema_for::<M::Reply>,
            tells: M::TELLS,
            causes: M::CAUSES,
        }
    }

    /// The row of a job with this body: only we send it, it is not archived, and its queue is named after the type.
    #[must_use]
    pub fn job<B: JsonSchema>(tier: Tier, message_type: &'static str, summary: &'static str) -> Self {
        Self {
            message_type,
            queue: QueueName::of_type(message_type),
            tier,
            pull: Pull::ONE_BY_ONE,
            hot: None,
            source: Source::Internal,
            role: Role::User,
            archived: Archived::Not,
            reads: false,
            terms: Terms::USUAL,
            summary,
            body_schema: SchemaGenerator::subschema_for::<B>,
            reply_schema: SchemaGenerator::subschema_for::<Nothing>,
            tells: &[],
            causes: &[],
        }
    }

    /// The same row on a queue of another name.
    #[must_use]
    pub fn on(self, queue: &str) -> Self {
        Self { queue: QueueName::new(queue), ..self }
    }

    /// Its side queue, if it has one: `like_add_q` → `like_add_hot_q`.
    #[must_use]
    pub fn side_queue(&self) -> Option<QueueName> {
        self.hot?;
        let stem = self.queue.as_str();
        let stem = stem.strip_suffix("_q").unwrap_or(stem);
        Some(QueueName::new(&format!("{stem}_hot_q")))
    }

    /// Its queue, and its side queue if it has one.
    pub fn queues(&self) -> impl Iterator<Item = QueueName> {
        std::iter::once(self.queue.clone()).chain(self.side_queue())
    }
}

/// What the edge and the router need to know of one type.
#[derive(Debug, Clone)]
pub struct Route {
    /// Whether clients may send it.
    pub from_clients: bool,
    /// The least role of a user whose client may send it.
    pub role: Role,
    /// How much of it the router archives.
    pub archived: Archived,
    /// Whether all its handlers only read.
    pub reads: bool,
    /// What it costs its sender, and how many there may be.
    pub terms: Terms,
    /// The queues of all its handlers.
    pub queues: Vec<QueueName>,
}

/// All handlers.
#[derive(Debug, Clone)]
pub struct Catalog {
    specs: Vec<Spec>,
    routes: HashMap<&'static str, Route>,
}

impl Catalog {
    /// The catalog of a table of handlers.
    ///
    /// # Panics
    /// When two handlers share a queue, or handlers of one type disagree on who may send it or how it is archived: a
    /// defect of the table, which shows at the start.
    #[must_use]
    pub fn new(specs: Vec<Spec>) -> Self {
        let mut routes: HashMap<&'static str, Route> = HashMap::new();
        let mut taken = std::collections::HashSet::from([QueueName::main()]);
        for spec in &specs {
            for queue in spec.queues() {
                assert!(!taken.contains(&queue), "two handlers pull {queue}");
                taken.insert(queue);
            }
            let from_clients = spec.source == Source::Client;
            let route = routes.entry(spec.message_type).or_insert_with(|| Route {
                from_clients,
                role: spec.role,
                archived: Archived::Not,
                reads: true,
                terms: spec.terms,
                queues: Vec::new(),
            });
            let agree =
                (route.from_clients, route.role, route.terms) == (from_clients, spec.role, spec.terms);
            assert!(
                agree,
                "handlers of {} disagree on who may send it and on which terms",
                spec.message_type
            );
            route.archived = route.archived.and(spec.archived).unwrap_or_else(|| {
                panic!("handlers of {} disagree on how it is archived", spec.message_type)
            });
            route.reads &= spec.reads;
            route.queues.push(spec.queue.clone());
        }
        Self { specs, routes }
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// Names a type that clients do not send.
    pub fn limited(mut self, limits: &[Limited]) -> Result<Self, String> {
        for limited in limits {
            let meant = |name: &str| limited.message_type.as_deref().is_none_or(|wanted| wanted == name);
            let of_clients = |spec: &&mut Spec| spec.source == Source::Client && meant(spec.message_type);
            let mut found = false;
            for spec in self.specs.iter_mut().filter(of_clients) {
                (spec.terms.per_minute, spec.terms.per_day) = (limited.per_minute, limited.per_day);
                let route = self.routes.get_mut(spec.message_type).expect("each handler has a route");
                (route.terms, found) = (spec.terms, true);
            }
            if !found {
                return Err(format!(
                    "clients send no {}",
                    limited.message_type.as_deref().unwrap_or("message")
                ));
            }
        }
        Ok(self)
    }

    /// The terms of all types that clients send.
    pub fn terms(&self) -> impl Iterator<Item = (&'static str, Terms)> {
        let routes = self.routes.iter().filter(|(_, route)| route.from_clients);
        routes.map(|(name, route)| (*name, route.terms))
    }

    /// The handlers, in the table's order.
    #[must_use]
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Where a type goes; `None` when there is no such type.
    #[must_use]
    pub fn route(&self, message_type: &str) -> Option<&Route> {
        self.routes.get(message_type)
    }

    /// Where a message of this type goes.
    ///
    /// # Errors
    /// The verdict on a message of no known type. A newer edge may know it, so another try may reach a newer process.
    pub fn routed(&self, message_type: &str) -> Result<&Route, Verdict> {
        self.route(message_type).ok_or_else(|| Verdict::Retry(format!("no type {message_type}")))
    }

    /// Every queue: `main_q` and then each handler's, with its side queue after it.
    #[must_use]
    pub fn queue_names(&self) -> Vec<QueueName> {
        std::iter::once(QueueName::main()).chain(self.specs.iter().flat_map(Spec::queues)).collect()
    }
}
