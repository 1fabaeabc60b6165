//! What a day costs, added up second by second.

use anyhow::Result;
use serde::Serialize;

use super::engine::Seen;
use super::model::Model;
use super::prices::{
    DYNAMODB_READ, DYNAMODB_WRITE, FIREHOSE_5KB, NAT_HOUR, Nodes, SQS_REQUEST, balancer_second, nodes,
    of_requests, tasks_second, transfer,
};
use super::scenario::Scenario;

/// A long poll's seconds.
const POLL: f64 = 20.0;
/// Units that an edge reads and writes for a session: it reads account, sign-in, inbox head, cursor and entries, and
/// writes the cursor (docs/data-model.md).
const HELLO_READS: f64 = 8.0;
const HELLO_WRITES: f64 = 2.0;
/// NAT gateways: one for each of two zones.
const GATEWAYS: f64 = 2.0;
/// Bytes of a computed timeline with its candidates, and of a registration, in the cache.
const TIMELINE: f64 = 6_500.0;
const REGISTRATION: f64 = 120.0;

/// Dollars, by what they are paid for.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Dollars {
    /// Tasks on Fargate.
    pub(crate) fargate: f64,
    /// Requests to SQS.
    pub(crate) sqs: f64,
    /// Units of DynamoDB.
    pub(crate) dynamodb: f64,
    /// Records of Firehose.
    pub(crate) firehose: f64,
    /// Cache nodes.
    pub(crate) elasticache: f64,
    /// The load balancer.
    pub(crate) balancer: f64,
    /// NAT gateways, and bytes to clients.
    pub(crate) network: f64,
    /// What an NLB instead of the balancer would cost; not in the sum.
    pub(crate) balancer_if_nlb: f64,
}

impl Dollars {
    /// The sum.
    pub(crate) fn sum(&self) -> f64 {
        self.parts().iter().map(|(_, dollars)| dollars).sum()
    }

    /// The parts, with their names.
    pub(crate) fn parts(&self) -> [(&'static str, f64); 7] {
        [
            ("Fargate", self.fargate),
            ("SQS", self.sqs),
            ("DynamoDB", self.dynamodb),
            ("Firehose", self.firehose),
            ("ElastiCache", self.elasticache),
            ("balancer", self.balancer),
            ("network", self.network),
        ]
    }
}

/// Counts dollars.
pub(crate) struct Meter {
    scenario: Scenario,
    nodes: Nodes,
    dollars: Dollars,
}

impl Meter {
    /// A meter at zero.
    ///
    /// # Errors
    /// The cache nodes' price is not known.
    pub(crate) fn new(scenario: &Scenario, users: f64) -> Result<Self> {
        let behaviour = &scenario.behaviour;
        let online = behaviour.sessions_a_second(users) * behaviour.session_seconds * (1.0 + behaviour.swing);
        let held = users * behaviour.weekly_users * TIMELINE + online * REGISTRATION;
        let deployment = &scenario.deployment;
        let nodes = nodes(&deployment.cache_node_type, deployment.cache_nodes, held / 1e9)?;
        Ok(Self { scenario: scenario.clone(), nodes, dollars: Dollars::default() })
    }

    /// Counts a second and returns its dollars; `opened` and `open` are numbers of sockets.
    pub(crate) fn second(
        &mut self,
        model: &Model,
        seen: &Seen,
        running: &[u32],
        starting: &[u32],
        opened: f64,
        open: f64,
    ) -> f64 {
        let before = self.dollars.sum();
        let services = &self.scenario.deployment.services;
        let all = running.iter().zip(starting).map(|(running, starting)| running + starting);
        for (tier, tasks) in model.plan.tiers.iter().zip(all) {
            self.dollars.fargate += tasks_second(&services[&tier.name], tasks);
        }
        if let Some(service) = self.scenario.unsimulated() {
            self.dollars.fargate += tasks_second(service, service.min);
        }
        for (queue, at) in model.plan.queues.iter().enumerate() {
            let Some(sender) = model.senders[queue] else { continue };
            let entered = seen.entered[queue];
            let tasks = f64::from(running[at.tier]);
            let pairs = tasks.max(f64::from(running[sender])).max(1.0);
            self.dollars.sqs += entered * self.scenario.requests.hop_dollars(entered / pairs);
            // Polls that mostly find nothing.
            let polls = tasks * (1.0 / POLL - entered / tasks.max(1.0)).max(0.0);
            self.dollars.sqs += of_requests(&SQS_REQUEST, polls);
        }
        for (kind, done) in seen.done.iter().enumerate() {
            self.dollars.dynamodb += done * model.tables[kind];
        }
        self.dollars.dynamodb += of_requests(&DYNAMODB_READ, opened * HELLO_READS)
            + of_requests(&DYNAMODB_WRITE, opened * HELLO_WRITES);
        let archived = seen.arrived.iter().zip(&model.archived).filter(|(_, archived)| **archived);
        self.dollars.firehose += of_requests(&FIREHOSE_5KB, archived.map(|(count, _)| count).sum());
        self.dollars.elasticache += self.nodes.hour / 3600.0;
        let sent: f64 = seen
            .arrived
            .iter()
            .zip(&model.sent)
            .filter(|(_, sent)| **sent > 0.0)
            .map(|(count, _)| count)
            .sum();
        let bytes = sent * self.scenario.behaviour.frame_bytes;
        let [alb, nlb] = balancer_second(opened, open, bytes);
        self.dollars.balancer += alb;
        self.dollars.balancer_if_nlb += nlb;
        self.dollars.network += GATEWAYS * NAT_HOUR / 3600.0 + transfer(bytes);
        self.dollars.sum() - before
    }

    /// The sums.
    pub(crate) fn dollars(&self) -> Dollars {
        self.dollars
    }
}
