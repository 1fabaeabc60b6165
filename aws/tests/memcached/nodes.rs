//! memcached processes for the tests, and a proxy between them and the client.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use soundoff_aws::memcached::{Memcached, MemcachedOptions};
use soundoff_common::telemetry::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

static PORT: AtomicU16 = AtomicU16::new(4900);

fn free_port() -> u16 {
    loop {
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 5000, "no free port is left");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The certificate and key by which a node proves its name.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// A memcached process; it ends when this is dropped.
pub(crate) struct Node {
    port: u16,
    item_limit: &'static str,
    certificate: Option<Certificate>,
    process: Child,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::sized("2m")
    }

    /// A node that takes items up to a size.
    pub(crate) fn sized(item_limit: &'static str) -> Self {
        let port = free_port();
        Self { port, item_limit, certificate: None, process: spawn(port, item_limit, None) }
    }

    /// A node with TLS only.
    pub(crate) fn secured(certificate: Certificate) -> Self {
        let (port, item_limit) = (free_port(), "2m");
        let process = spawn(port, item_limit, Some(&certificate));
        Self { port, item_limit, certificate: Some(certificate), process }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a process of ours");
        self.process.wait().expect("a process of ours");
    }

    /// Starts it again, empty.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port, self.item_limit, self.certificate.as_ref());
    }

    /// Sets the certificate and key for the next start.
    pub(crate) fn recertify(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(done.expect("kill is there").success());
    }

    /// Makes it hang: the kernel still accepts connections, and nothing is answered.
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    pub(crate) fn flush(&self) {
        let mut stream = TcpStream::connect(self.address()).expect("it is up");
        stream.write_all(b"flush_all\r\n").expect("it is up");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"OK\r\n");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _gone_already = self.process.wait();
    }
}

fn spawn(port: u16, item_limit: &str, certificate: Option<&Certificate>) -> Child {
    let mut command = Command::new("memcached");
    if let Some(Certificate { chain, key }) = certificate {
        let files = format!("ssl_chain_cert={},ssl_key={}", chain.display(), key.display());
        command.args(["-Z", "-o", &files]);
    }
    let child = command
        .args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-m", "256", "-t", "2", "-c", "1024"])
        .args(["-p", &port.to_string(), "-I", item_limit])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("memcached is installed");
    let by = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < by, "memcached does not come up on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// A client of these nodes with the default options.
pub(crate) fn client(nodes: &[&Node]) -> Memcached {
    let nodes: Vec<String> = nodes.iter().map(|node| node.address()).collect();
    Memcached::connect(&nodes, &MemcachedOptions::default(), &Metrics::new()).expect("valid nodes")
}

/// A proxy between a client and a node that delays answers.
pub(crate) struct Between {
    pub(crate) address: String,
    delay_ms: Arc<AtomicU64>,
}

impl Between {
    pub(crate) async fn start(node: &Node) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (delay_ms, to) = (Arc::new(AtomicU64::new(0)), node.address());
        let delay = delay_ms.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let node = tokio::net::TcpStream::connect(&to).await.expect("the node is up");
                let delay = delay.clone();
                tokio::spawn(async move {
                    let ((mut from_client, mut to_client), (mut from_node, mut to_node)) =
                        (client.into_split(), node.into_split());
                    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_node).await });
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_node.read(&mut buffer).await {
                        tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, delay_ms }
    }

    pub(crate) fn delay(&self, by: Duration) {
        self.delay_ms.store(u64::try_from(by.as_millis()).expect("short"), Ordering::Relaxed);
    }
}
