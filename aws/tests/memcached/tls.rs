//! Nodes with TLS, and nodes that cannot prove their name.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_aws::memcached::{Memcached, MemcachedCache, MemcachedOptions, MemcachedSessions};
use soundoff_common::ports::cache::{self, Cache as _};
use soundoff_common::ports::sessions::{self, Registration, Sessions as _};
use soundoff_common::protocol::Handle;
use soundoff_common::telemetry::Metrics;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::laws::Real;
use super::nodes::{Certificate, Node};
use super::speed;

const TTL: Duration = Duration::from_secs(600);

/// A certificate authority for one test.
struct Authority {
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let made = Self { files: tempfile::tempdir().expect("a directory") };
        made.request("ca", "/CN=Authority", &[]);
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn request(&self, name: &str, subject: &str, more: &[&str]) -> Certificate {
        let (chain, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        let done = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", subject, "-out"])
            .arg(&chain)
            .arg("-keyout")
            .arg(&key)
            .args(more)
            .stderr(Stdio::null())
            .status();
        assert!(done.expect("openssl is installed").success(), "openssl makes {name}");
        Certificate { chain, key }
    }

    /// Makes a certificate for a name such as `DNS:localhost`.
    fn certify(&self, name: &str) -> Certificate {
        let (ca, key) = (self.file("ca.pem"), self.file("ca.key"));
        let name = format!("subjectAltName={name}");
        let by = ["-CA", ca.to_str().expect("text"), "-CAkey", key.to_str().expect("text")];
        let says = ["-addext", &name, "-addext", "basicConstraints=critical,CA:FALSE"];
        self.request("node", "/CN=node", &[by, says].concat())
    }

    fn options(&self) -> MemcachedOptions {
        MemcachedOptions { tls: true, tls_ca: Some(self.file("ca.pem")), ..MemcachedOptions::default() }
    }

    /// A client whose timeout is long enough for a busy machine, but not for a node that hangs.
    fn client(&self, nodes: &[String]) -> Memcached {
        let options = MemcachedOptions { timeout: Duration::from_secs(2), ..self.options() };
        Memcached::connect(nodes, &options, &Metrics::new()).expect("valid nodes")
    }
}

fn named(host: &str, node: &Node) -> String {
    format!("{host}:{}", node.port())
}

/// Two nodes, one known by name and one by address.
fn two(authority: &Authority) -> ([Node; 2], [String; 2]) {
    let nodes = ["DNS:localhost", "IP:127.0.0.1"].map(|name| Node::secured(authority.certify(name)));
    let names = [named("localhost", &nodes[0]), named("127.0.0.1", &nodes[1])];
    (nodes, names)
}

fn user() -> Handle {
    "someone".parse().expect("a valid handle")
}

fn socket() -> Registration {
    Registration { edge: "10.0.0.1:7000".into(), boot: "boot1".into(), connection: 1, device: None }
}

/// Writes to the Session Cache and the cache and reads both back; returns which of them are there.
async fn round_trip(memcached: &Memcached) -> (bool, bool) {
    let (cache, sessions) =
        (MemcachedCache::new(memcached.clone()), MemcachedSessions::new(memcached.clone()));
    cache.put_many(vec![("secretkey".into(), "secretvalue".into())], TTL).await.expect("never an error");
    sessions.put_many(&[(user(), socket())], TTL).await.expect("never an error");
    let cached = cache.get_many(&["secretkey".into()]).await.expect("never an error").remove(0);
    let found = sessions.get_many(&[user()]).await.expect("never an error").remove(0);
    (cached.is_some_and(|cached| cached.value == "secretvalue"), found == [socket()])
}

async fn comes_back(memcached: &Memcached) {
    let by = Instant::now() + Duration::from_secs(5);
    while round_trip(memcached).await != (true, true) {
        assert!(Instant::now() < by, "the node is used again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many connections to a port of this machine are open.
fn connections(port: u16) -> usize {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let far = format!(":{port:04X}");
    let open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|to| to.ends_with(&far)) && fields.next() == Some("01")
    };
    sockets.lines().filter(open).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn the_laws_hold_over_tls() {
    let authority = Authority::new();
    let (nodes, names) = two(&authority);
    let real = Real::of(authority.client(&names), nodes);
    cache::contract::values_are_what_was_put(&real).await;
    cache::contract::never_half_a_value(&real).await;
    cache::contract::get_many_answers_in_order(&real).await;
    cache::contract::a_swap_holds_only_as_seen(&real).await;
    cache::contract::swaps_that_race_lose_nothing(&real).await;
    sessions::contract::a_handle_has_many_registrations(&real).await;
    sessions::contract::only_its_own_token_removes(&real).await;
    sessions::contract::get_many_answers_in_order(&real).await;
    sessions::contract::a_registration_keeps_its_device(&real).await;
    sessions::contract::many_edges_at_once(&real).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn thousands_at_once_over_tls() {
    let authority = Authority::new();
    let (_nodes, names) = two(&authority);
    speed::measure(authority.client(&names)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn nothing_is_stuck_in_a_node_whatever_the_sizes() {
    let authority = Authority::new();
    let node = Node::secured(authority.certify("DNS:localhost"));
    let memcached = authority.client(&[named("localhost", &node)]);
    let cache = MemcachedCache::new(memcached);
    let sizes = [1, 10, 100, 250, 1_000, 3_000, 5_000, 16_000, 16_384, 17_000, 40_000, 300_000, 1024 * 1024];
    for (round, size) in sizes.into_iter().enumerate() {
        let keys: Vec<String> = (0..1_000_000 / (size + 2_000) + 2).map(|n| format!("{round}:{n}")).collect();
        let sized = |n: usize| Bytes::from(vec![b'v'; size - n % size.min(50)]);
        let entries = keys.iter().enumerate().map(|(n, key)| (key.clone(), sized(n))).collect();
        cache.put_many(entries, TTL).await.unwrap();
        let found = cache.get_many(&keys).await.unwrap();
        for (n, found) in found.into_iter().enumerate() {
            assert!(found.is_some_and(|cached| cached.value == sized(n)), "size {size}, entry {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_of_another_name_or_authority_counts_as_away_and_receives_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    // The same node each time, for a client that trusts it and for clients that do not.
    let node = Node::secured(authority.certify("IP:127.0.0.1"));
    let believed = authority.client(&[named("127.0.0.1", &node)]);
    let public = MemcachedOptions { tls_ca: None, ..authority.options() };
    let cases = [("localhost", authority.options()), ("127.0.0.1", other.options()), ("127.0.0.1", public)];
    for (host, options) in cases {
        let (metrics, name) = (Metrics::new(), named(host, &node));
        let memcached = Memcached::connect(std::slice::from_ref(&name), &options, &metrics).unwrap();
        assert!(metrics.text().contains(&format!("soundoff_memcached_away{{node=\"{name}\"}} 0\n")));
        for _ in 0..3 {
            assert_eq!(round_trip(&memcached).await, (false, false), "{name} {options:?}");
        }
        assert!(metrics.text().contains(&format!("soundoff_memcached_away{{node=\"{name}\"}} 1\n")));
        let cache = MemcachedCache::new(believed.clone());
        assert_eq!(cache.get_many(&["secretkey".into()]).await.unwrap(), [None], "nothing was written");
    }
    assert_eq!(round_trip(&believed).await, (true, true), "it was up all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_without_tls_sees_only_the_start_of_a_handshake() {
    let authority = Authority::new();
    for answer in ["", "HD\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = format!("localhost:{}", listener.local_addr().unwrap().port());
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let hears = hears.clone();
                tokio::spawn(async move {
                    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
                    while let Ok(read @ 1..) = client.read(&mut chunk).await {
                        bytes.extend_from_slice(&chunk[..read]);
                        let _gone = client.try_write(answer.as_bytes());
                    }
                    hears.lock().unwrap().push(bytes);
                });
            }
        });
        let memcached = Memcached::connect(&[node], &authority.options(), &Metrics::new()).unwrap();
        for _ in 0..3 {
            assert_eq!(round_trip(&memcached).await, (false, false), "answering {answer:?}");
        }
        drop(memcached);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let heard = heard.lock().unwrap();
        assert!((2..10).contains(&heard.len()), "a few tries: {}", heard.len());
        for bytes in &*heard {
            // One handshake record, which begins with a hello and names the node, and at most an alert after it.
            assert_eq!((bytes[0], bytes[1], bytes[5]), (22, 3, 1));
            let hello = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
            assert!(bytes[..hello].windows(9).any(|name| name == b"localhost"));
            assert!(bytes.len() == hello || (bytes[hello] == 21 && bytes.len() == hello + 7));
            assert!(!bytes.windows(6).any(|word| word == b"secret"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_that_dies_or_gets_another_certificate_comes_back_over_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut node = Node::secured(authority.certify("DNS:localhost"));
    let (metrics, name) = (Metrics::new(), named("localhost", &node));
    let memcached = Memcached::connect(std::slice::from_ref(&name), &authority.options(), &metrics).unwrap();
    let away =
        |is: u8| metrics.text().contains(&format!("soundoff_memcached_away{{node=\"{name}\"}} {is}\n"));
    comes_back(&memcached).await;
    assert!(away(0));
    node.kill();
    assert_eq!(round_trip(&memcached).await, (false, false));
    assert!(away(1));
    node.restart();
    comes_back(&memcached).await;
    assert!(away(0));

    node.kill();
    node.recertify(other.certify("DNS:localhost"));
    node.restart();
    for _ in 0..10 {
        assert_eq!(round_trip(&memcached).await, (false, false), "it is another node now");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    node.kill();
    node.recertify(authority.certify("DNS:localhost"));
    node.restart();
    comes_back(&memcached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn connections_end_with_their_owner_and_when_a_node_hangs() {
    let authority = Authority::new();
    let node = Node::secured(authority.certify("DNS:localhost"));
    let options = MemcachedOptions { pause: Duration::from_secs(60), ..authority.options() };
    let names = [named("localhost", &node)];
    let connect = || Memcached::connect(&names, &options, &Metrics::new()).unwrap();
    let large = |n: usize| vec![(format!("large{n}"), Bytes::from(vec![1; 1024 * 1024]))];
    for is_hung in [false, true] {
        let memcached = connect();
        let cache = MemcachedCache::new(memcached.clone());
        let all = || futures_util::future::join_all((0..8).map(|n| cache.put_many(large(n), TTL)));
        all().await;
        let open = connections(node.port());
        assert!(open > 0, "some are kept");
        if is_hung {
            node.hang();
            all().await;
            // Idle connections end with the client, which is dropped when the node fails. Those under way end once no
            // caller waits for them.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(connections(node.port()), 0, "of {open} that were open when it hung");
            node.go_on();
        } else {
            drop((cache, memcached));
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(connections(node.port()), 0, "of {open} that were open when it was dropped");
        }
    }
}

#[test]
fn files_without_authorities_are_refused() {
    let files = tempfile::tempdir().unwrap();
    let empty = files.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let connect = |tls, tls_ca| {
        let options = MemcachedOptions { tls, tls_ca, ..MemcachedOptions::default() };
        Memcached::connect(&["localhost:11211".to_owned()], &options, &Metrics::new())
    };
    assert!(connect(true, None).is_ok());
    assert!(connect(true, Some(files.path().join("missing.pem"))).is_err());
    assert!(connect(true, Some(empty)).is_err());
    assert!(connect(false, Some(Authority::new().file("ca.pem"))).is_err(), "they would have no effect");
}
