use std::path::PathBuf;
use std::time::Duration;

/// How to use memcached.
#[derive(Debug, Clone)]
pub struct MemcachedOptions {
    /// How long one exchange with a node may take, connecting included.
    pub timeout: Duration,
    /// The most connections of a process to each node.
    pub connections: usize,
    /// How long a node that does not answer is not asked: this long, give or take a quarter. Each further pause is
    /// longer, up to three and a half times.
    pub pause: Duration,
    /// Whether to use TLS with the nodes: ElastiCache's encryption in transit. It goes through a listener on the
    /// loopback interface for each node. Other users of the same machine can reach that listener just as they can reach
    /// the node itself, as memcached has no passwords. In a container of its own there are no other users.
    pub tls: bool,
    /// A PEM file of certificate authorities to trust in addition to the public ones.
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
