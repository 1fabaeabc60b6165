//! What is simulated: a deployment, what its messages take, what people do, and what goes wrong on that day.

use std::collections::BTreeMap;

use super::inputs::{Behaviour, Service};
use super::model::UNSIMULATED;
use super::requests::Requests;
use super::spike::Spike;
use super::terraform::{self, Deployment};

/// What is simulated, but for the number of users.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Services and queues.
    pub(crate) deployment: Deployment,
    /// What messages take.
    pub(crate) service: Service,
    /// What people do.
    pub(crate) behaviour: Behaviour,
    /// What requests to SQS and DynamoDB cost.
    pub(crate) requests: Requests,
    /// Flash crowds.
    pub(crate) spikes: Vec<Spike>,
    /// Tasks that die: the second, and the service.
    pub(crate) losses: Vec<(u32, String)>,
    /// Seconds to simulate.
    pub(crate) seconds: u32,
    /// The seed of chance.
    pub(crate) seed: u64,
}

impl Scenario {
    /// The service whose tasks are paid for and not simulated.
    pub(crate) fn unsimulated(&self) -> Option<&terraform::Service> {
        self.deployment.services.get(UNSIMULATED)
    }

    /// Types without figures of their own, each with the type whose figures it has instead.
    pub(crate) fn defaulted(&self) -> BTreeMap<&str, &str> {
        let rows = self.deployment.queues.values().filter(|row| !row.message_type.is_empty());
        let types = rows.map(|row| (row.message_type.as_str(), self.service.known_as(row)));
        types.filter(|(name, known_as)| name != known_as).collect()
    }
}
