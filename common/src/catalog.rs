//! Which message types exist, who may send them, and where they go.

use std::collections::HashMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::handler::{Message, Run, run_of};
use crate::ports::queues::QueueName;
use crate::protocol::Role;

/// Who may put a type on the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Clients, through an edge.
    Client,
    /// Only our own workers and edges.
    Internal,
}

/// How what a message causes comes to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Through their inbox.
    Push,
    /// Live, to whoever is online.
    Event,
}

/// What users hear of a message, beside the reply to its sender.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// How it comes.
    pub channel: Channel,
    /// What happened, such as `dm.received`.
    pub told_type: &'static str,
    /// One line for the protocol document.
    pub summary: &'static str,
    /// The body's JSON Schema.
    pub body_schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Told {
    /// A push with such a body.
    #[must_use]
    pub const fn push<B: JsonSchema>(told_type: &'static str, summary: &'static str) -> Self {
        Self { channel: Channel::Push, told_type, summary, body_schema: SchemaGenerator::subschema_for::<B> }
    }

    /// An event with such a body.
    #[must_use]
    pub const fn event<B: JsonSchema>(told_type: &'static str, summary: &'static str) -> Self {
        Self { channel: Channel::Event, told_type, summary, body_schema: SchemaGenerator::subschema_for::<B> }
    }
}

/// How a type travels: one handler's queue and rules.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The MessageType.
    pub message_type: &'static str,
    /// The queue this handler pulls.
    pub queue: QueueName,
    /// Who may send it.
    pub source: Source,
    /// What a client's user must at least be to send it.
    pub role: Role,
    /// Whether the router archives it.
    pub archived: bool,
    /// One line for the protocol document.
    pub summary: &'static str,
    /// The body's JSON Schema.
    pub body_schema: fn(&mut SchemaGenerator) -> Schema,
    /// The reply's JSON Schema.
    pub reply_schema: fn(&mut SchemaGenerator) -> Schema,
    /// What users hear of it.
    pub tells: &'static [Told],
    /// What is done with its messages.
    pub work: Work,
}

/// What is done with a type's messages.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// A handler runs on each.
    Handler(Run),
    /// A job with state of its own, which the binary wires to the queue.
    Job,
}

/// The row of a handler.
#[must_use]
pub fn spec<M: Message>() -> Spec {
    Spec {
        message_type: M::TYPE,
        queue: M::QUEUE.map_or_else(|| QueueName::of_type(M::TYPE), QueueName::new),
        source: M::SOURCE,
        role: M::ROLE,
        archived: M::ARCHIVED,
        summary: M::SUMMARY,
        body_schema: SchemaGenerator::subschema_for::<M::Body>,
        reply_schema: SchemaGenerator::subschema_for::<M::Reply>,
        tells: M::TELLS,
        work: Work::Handler(run_of::<M>()),
    }
}

/// What the edge and the router need to know of one type.
#[derive(Debug, Clone)]
pub struct Route {
    /// Whether clients may send it.
    pub from_clients: bool,
    /// What a client's user must at least be.
    pub role: Role,
    /// Whether it is archived.
    pub archived: bool,
    /// The queues of all its handlers.
    pub queues: Vec<QueueName>,
}

/// All handlers.
#[derive(Debug)]
pub struct Catalog {
    specs: Vec<Spec>,
    routes: HashMap<&'static str, Route>,
}

impl Catalog {
    /// The catalog of a table of handlers.
    ///
    /// # Panics
    /// When two handlers share a queue, or handlers of one type disagree on who may send it: a defect of the table, to be seen at start.
    #[must_use]
    pub fn new(specs: Vec<Spec>) -> Self {
        let mut routes: HashMap<&'static str, Route> = HashMap::new();
        let mut taken = std::collections::HashSet::from([QueueName::main()]);
        for spec in &specs {
            assert!(taken.insert(spec.queue.clone()), "two handlers pull {}", spec.queue);
            let from_clients = spec.source == Source::Client;
            let route = routes.entry(spec.message_type).or_insert_with(|| Route {
                from_clients,
                role: spec.role,
                archived: false,
                queues: Vec::new(),
            });
            let agree = (route.from_clients, route.role) == (from_clients, spec.role);
            assert!(agree, "handlers of {} disagree on who may send it", spec.message_type);
            route.archived |= spec.archived;
            route.queues.push(spec.queue.clone());
        }
        Self { specs, routes }
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

    /// Every queue: `main_q` and then each handler's.
    #[must_use]
    pub fn queue_names(&self) -> Vec<QueueName> {
        std::iter::once(QueueName::main()).chain(self.specs.iter().map(|spec| spec.queue.clone())).collect()
    }
}
