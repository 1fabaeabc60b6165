//! The deployment as its features declare it: queues, services, and what each service may touch. Terraform and the
//! simulator read it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use soundoff_common::pipeline::catalog::Spec;
use soundoff_common::pipeline::feature;
use soundoff_common::pipeline::handler::Source;
use soundoff_common::pipeline::side::share;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::ports::tables::Table;

use crate::config::ROUTER_SLOTS;
use crate::features::{Settings, features};

/// One queue.
#[derive(Serialize)]
struct Queue {
    /// The service that pulls it.
    tier: Tier,
    /// The MessageType; empty for main_q.
    #[serde(rename = "type")]
    message_type: &'static str,
    archived: bool,
    /// Whether it is the side queue of its type. Its messages wait for each other, so that more tasks do not help.
    side: bool,
    /// How many of its messages one task works on at once; null means as configured.
    slots: Option<usize>,
    /// How many pushes and events one message can cause.
    tells: usize,
    /// Whether clients wait for a reply to it.
    replies: bool,
}

/// One service.
#[derive(Serialize)]
struct Service {
    command: &'static [&'static str],
    /// The role whose keys its processes are given.
    secret: &'static str,
    /// Whether clients reach it through the load balancer.
    public: bool,
    pulls: Vec<String>,
    sends: Vec<String>,
    reads: Vec<&'static str>,
    scans: Vec<&'static str>,
    writes: Vec<&'static str>,
    archive: bool,
    blobs: bool,
    /// Where its features have pages on the public port: each of these paths, and all below it.
    paths: Vec<&'static str>,
}

#[derive(Serialize)]
struct Deployment {
    queues: BTreeMap<String, Queue>,
    services: BTreeMap<&'static str, Service>,
}

/// `infra/terraform/deployment.json`.
pub(crate) fn json() -> String {
    let features = features(Settings::default());
    let catalog = feature::catalog(&features);
    let main = Queue {
        tier: Tier::Router,
        message_type: "",
        archived: false,
        side: false,
        slots: Some(ROUTER_SLOTS),
        tells: 0,
        replies: false,
    };
    let of = |spec: &Spec, queue: &QueueName| {
        let side = *queue != spec.queue;
        let row = Queue {
            tier: spec.tier,
            message_type: spec.message_type,
            archived: spec.archived && !side,
            side,
            slots: if side { spec.pull.slots.map(share) } else { spec.pull.slots },
            tells: spec.tells.len(),
            replies: spec.source == Source::Client,
        };
        (queue.to_string(), row)
    };
    let rows = catalog.specs().iter().flat_map(|spec| spec.queues().map(move |queue| of(spec, &queue)));
    let queues = std::iter::once((QueueName::main().to_string(), main)).chain(rows);
    let names = |queues: &BTreeSet<QueueName>| queues.iter().map(ToString::to_string).collect();
    let tables = |tables: &BTreeSet<Table>| tables.iter().map(|table| table.name()).collect();
    let service = |tier: Tier| {
        let grants = feature::grants(tier, &features, &catalog);
        let service = Service {
            command: tier.command(),
            secret: tier.role().name(),
            public: tier.is_public(),
            pulls: names(&grants.pulls),
            sends: names(&grants.sends),
            reads: tables(&grants.reads),
            scans: tables(&grants.scans),
            writes: tables(&grants.writes),
            archive: grants.archive,
            blobs: grants.blobs,
            paths: features
                .iter()
                .flat_map(|feature| &feature.pages)
                .filter(|row| row.tier == tier)
                .flat_map(|row| row.paths.iter().copied())
                .collect(),
        };
        (tier.name(), service)
    };
    let deployment =
        Deployment { queues: queues.collect(), services: Tier::ALL.into_iter().map(service).collect() };
    let text = serde_json::to_string_pretty(&deployment).expect("it is plain data");
    format!("{text}\n")
}
