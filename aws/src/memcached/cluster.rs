//! The nodes together: each request goes to a node that has its key.

use std::sync::Arc;

use futures_util::future::join_all;
use soundoff_common::telemetry::Metrics;

use super::node::{Node, Request};
use super::options::MemcachedOptions;
use super::route;
use super::tunnel::Tls;

/// The nodes of a memcached cluster. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Memcached {
    nodes: Arc<[Node]>,
}

impl Memcached {
    /// Takes the names of the nodes, each `host:port`. A node is connected when it is first asked, so it does not
    /// matter which are up now. Every process must use the same names; their order does not matter. `metrics` shows
    /// which nodes are away.
    ///
    /// # Errors
    /// When there is no node, one is named twice, one is not `host:port`, an option is zero, or the file of authorities
    /// holds none.
    pub fn connect(nodes: &[String], options: &MemcachedOptions, metrics: &Metrics) -> anyhow::Result<Self> {
        anyhow::ensure!(!nodes.is_empty(), "memcached: no node is named");
        let is_zero = options.timeout.is_zero() || options.pause.is_zero() || options.connections == 0;
        anyhow::ensure!(!is_zero, "memcached: a timeout, a pause and the connections must be above zero");
        for (at, node) in nodes.iter().enumerate() {
            let valid = node.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            anyhow::ensure!(valid, "memcached: {node} is not host:port");
            anyhow::ensure!(!nodes[..at].contains(node), "memcached: {node} is named twice");
        }
        anyhow::ensure!(options.tls || options.tls_ca.is_none(), "memcached: authorities, but no TLS");
        let tls = options.tls.then(|| Tls::new(options.tls_ca.as_deref())).transpose()?;
        let made = nodes.iter().map(|node| Node::new(node.clone(), options, tls.as_ref(), metrics));
        Ok(Self { nodes: made.collect::<anyhow::Result<_>>()? })
    }

    /// How many copies of a key there may be: each is on a node of its own.
    pub(super) fn copies(&self) -> usize {
        self.nodes.len().min(2)
    }

    /// Sends each request to the node that has this copy of its key, the best node's being 0; to all nodes in parallel.
    /// Returns the answers in order; `None` where there was none, so that it is unknown whether the request was done.
    /// Requests for one key are done in their order.
    pub(super) async fn run<R: Request>(&self, copy: usize, requests: Vec<R>) -> Vec<Option<R::Output>> {
        let mut answers: Vec<Option<R::Output>> = requests.iter().map(|_| None).collect();
        let mut shares: Vec<(Vec<usize>, Vec<R>)> = self.nodes.iter().map(|_| Default::default()).collect();
        for (place, request) in requests.into_iter().enumerate() {
            let (places, share) = &mut shares[self.route(copy, request.key())];
            places.push(place);
            share.push(request);
        }
        let asked = self.nodes.iter().zip(shares).filter(|(_, (places, _))| !places.is_empty());
        let asked = asked.map(|(node, (places, share))| async move { (places, node.run(share).await) });
        for (places, share) in join_all(asked).await {
            places.into_iter().zip(share).for_each(|(place, answer)| answers[place] = answer);
        }
        answers
    }

    /// Records that a write of this copy of a key may or may not have been done. The present value must not be read
    /// again: it may be older than the write.
    pub(super) fn distrust(&self, copy: usize, key: String) {
        self.nodes[self.route(copy, key.as_bytes())].distrust(key);
    }

    fn route(&self, copy: usize, key: &[u8]) -> usize {
        route::route(key, self.nodes.iter().map(Node::seed))[copy]
    }
}
