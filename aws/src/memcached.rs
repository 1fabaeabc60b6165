//! The Session Cache and the cache on memcached (ElastiCache): several nodes, each of which may be away.
//!
//! A node that is down, hangs or is cut off costs only what it holds: its keys read as absent, and what is written to
//! it counts as dropped at once. After a few unanswered requests it is not asked for a while, so that not every call
//! waits for its timeout.
//!
//! With `tls` the nodes are reached over TLS only. Each must prove the host name by which it is configured; one that
//! cannot counts as away.
//!
//! Nodes must be started with `-I 2m` (`max_item_size` in a parameter group): the port's largest value is 1 MiB, and
//! memcached's own limit of 1 MiB includes the key and a header. A node with the smaller limit drops the few values in
//! between.

mod cache;
mod cluster;
mod node;
mod options;
mod records;
mod route;
mod sessions;
mod tunnel;

pub use self::cache::MemcachedCache;
pub use self::cluster::Memcached;
pub use self::options::MemcachedOptions;
pub use self::sessions::MemcachedSessions;
