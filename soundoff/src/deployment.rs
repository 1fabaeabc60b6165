//! The deployment as its features declare it: queues, services, and what each service may touch. Terraform and the
//! simulator read it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use soundoff_common::pipeline::archived::Archived;
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
    /// The partitions that it writes of other tables, by table, with a `*` for what varies.
    partitions: BTreeMap<&'static str, Vec<String>>,
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

/// A key's form, such as `post#<id>`, as IAM writes it: `post#*`.
fn pattern(form: &str) -> String {
    let mut parts = form.split('<');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "*" + part.split_once('>').map_or("", |(_, after)| after))
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
            archived: spec.archived != Archived::Not && !side,
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
            partitions: grants
                .partitions
                .iter()
                .map(|(table, forms)| (table.name(), forms.iter().map(|form| pattern(form)).collect()))
                .collect(),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{json as deployment, pattern};

    #[test]
    fn what_varies_in_a_key_is_a_star() {
        let forms = ["clock", "post#<id>", "dm#<a>#<b>", "<h>"].map(pattern);
        assert_eq!(forms, ["clock", "post#*", "dm#*#*", "*"]);
    }

    /// One table has the items of several services.
    #[test]
    fn no_service_but_users_writes_what_lets_people_in() {
        let said: Value = serde_json::from_str(&deployment()).unwrap();
        let all = said["services"].as_object().unwrap();
        for (name, service) in all {
            assert!(!service["writes"].as_array().unwrap().contains(&"entities".into()), "{name}");
            let partitions = service["partitions"]["entities"].as_array();
            let partitions: Vec<&str> =
                partitions.into_iter().flatten().map(|of| of.as_str().unwrap()).collect();
            for key in ["token-keys", "sign-in#*", "identity#*#*", "code#*#*"] {
                assert_eq!(partitions.contains(&key), name == "users", "{name}: {key}");
            }
            assert!(!partitions.contains(&"*"), "{name}");
        }
        // Who archives needs to know who is private, and which pseudonyms it gave.
        let router = &all["router"];
        assert_eq!(router["reads"], serde_json::json!(["relationships"]));
        assert_eq!(router["partitions"], serde_json::json!({ "relationships": ["pseudonym#*"] }));
        assert_eq!(all["edge"]["partitions"], serde_json::json!({ "entities": ["clock", "gate"] }));
    }
}
