//! The Session Cache and the cache on memcached (ElastiCache): several nodes, none of which must be there.
//!
//! A node that is down, hangs or is cut off costs what it holds and nothing else: its answers are "absent", what is written to it is as
//! if dropped at once, and after a few unanswered requests it is not asked for a while, so that its timeout is not paid call after call.
//!
//! With `tls` the nodes are spoken to over TLS alone, each proving the host name it is configured by; one that cannot counts as away.
//!
//! Nodes are to be started with `-I 2m` (`max_item_size` in a parameter group): the port's largest value is 1 MiB, and memcached's own
//! limit of 1 MiB counts the key and a header too. A node with the smaller limit drops the few values in between.

mod cache;
mod node;
mod records;
mod route;
mod sessions;
mod tunnel;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use soundoff_common::telemetry::Metrics;

pub use self::cache::MemcachedCache;
use self::node::{Node, Request};
pub use self::sessions::MemcachedSessions;
use self::tunnel::Tls;

/// How memcached is asked.
#[derive(Debug, Clone)]
pub struct MemcachedOptions {
    /// How long one exchange with a node may take, connecting included.
    pub timeout: Duration,
    /// How many connections a process has to each node at most.
    pub connections: usize,
    /// How long a node that does not answer is left alone, about: a quarter more or less.
    pub pause: Duration,
    /// Whether to speak TLS with the nodes: ElastiCache's encryption in transit. It goes through a listener on the loopback interface
    /// for each node, which other users of the same machine can reach as they could the node itself: memcached asks nobody for a
    /// password. In a container of its own there are none.
    pub tls: bool,
    /// A PEM file of certificate authorities that are believed beside the public ones.
    pub tls_ca: Option<PathBuf>,
}

impl Default for MemcachedOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(250),
            connections: 16,
            pause: Duration::from_secs(1),
            tls: false,
            tls_ca: None,
        }
    }
}

/// The nodes of a memcached cluster. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Memcached {
    nodes: Arc<[Node]>,
}

impl Memcached {
    /// Takes note of the nodes, each `host:port`. They are connected to when they are first asked, so it matters to nobody which are
    /// up. Every process must name the nodes alike; their order does not matter. Who is away is shown by `metrics`.
    ///
    /// # Errors
    /// When there is no node, one is named twice, one is not `host:port`, an option is zero, or the file of authorities is no such file.
    pub fn connect(nodes: &[String], options: &MemcachedOptions, metrics: &Metrics) -> anyhow::Result<Self> {
        anyhow::ensure!(!nodes.is_empty(), "memcached: no node is named");
        let is_zero = options.timeout.is_zero() || options.pause.is_zero() || options.connections == 0;
        anyhow::ensure!(!is_zero, "memcached: a timeout, a pause and the connections must be above zero");
        for (at, node) in nodes.iter().enumerate() {
            let lawful = node.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            anyhow::ensure!(lawful, "memcached: {node} is not host:port");
            anyhow::ensure!(!nodes[..at].contains(node), "memcached: {node} is named twice");
        }
        anyhow::ensure!(options.tls || options.tls_ca.is_none(), "memcached: authorities, but no TLS");
        let tls = options.tls.then(|| Tls::new(options.tls_ca.as_deref())).transpose()?;
        let made = nodes.iter().map(|node| Node::new(node.clone(), options, tls.as_ref(), metrics));
        Ok(Self { nodes: made.collect::<anyhow::Result<_>>()? })
    }

    /// Asks each request's node, all nodes at once. Answers in order; `None` where there was no answer, and so nobody knows whether it
    /// was done. Requests of one key are done in their order.
    async fn run<R: Request>(&self, requests: Vec<R>) -> Vec<Option<R::Output>> {
        let mut answers: Vec<Option<R::Output>> = requests.iter().map(|_| None).collect();
        let mut shares: Vec<(Vec<usize>, Vec<R>)> = self.nodes.iter().map(|_| Default::default()).collect();
        for (place, request) in requests.into_iter().enumerate() {
            let (places, share) = &mut shares[self.route(request.key())];
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

    /// A write of this key may or may not have been done. Whatever is there must not be read again, as it may be older than the write.
    fn distrust(&self, key: String) {
        self.nodes[self.route(key.as_bytes())].distrust(key);
    }

    fn route(&self, key: &[u8]) -> usize {
        route::route(key, self.nodes.iter().map(Node::seed))
    }
}
