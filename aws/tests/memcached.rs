//! The Session Cache and the cache on memcached: the ports' laws, and what happens when nodes are away.

#[path = "memcached/away.rs"]
mod away;
#[path = "memcached/copies.rs"]
mod copies;
#[path = "memcached/laws.rs"]
mod laws;
#[path = "memcached/nodes.rs"]
mod nodes;
#[path = "memcached/speed.rs"]
mod speed;
#[path = "memcached/tls.rs"]
mod tls;
