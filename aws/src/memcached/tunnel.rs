//! TLS to a node for a client that only has plain TCP: a listener on the loopback interface, and for each connection to
//! it a TLS connection to the node.
//!
//! Nothing is read from the client before the node has proved its name, so a node that cannot prove it receives
//! nothing. The client only sees that its connection was closed; the reason is kept for the log.
//!
//! **Why this exists, and what would replace it.** The asynchronous client of `memcache` 0.21
//! (`memcache::exp::AsyncMetaClient`) dials `tokio::net::TcpStream` itself, and its pool and `AsyncMetaConnection` hold
//! that type; its README lists TLS as not done. (The older, blocking client has TLS with OpenSSL, which we do not build
//! in.) What upstream would need is small:
//!
//! - `AsyncMetaConnection` over a boxed `AsyncRead + AsyncWrite + Send + Unpin` instead of `TcpStream`. Only
//!   `is_reusable` needs more than these traits: it probes an idle connection with `TcpStream::try_read`, which can
//!   become one `poll_read` that must be pending.
//! - `MetaClientBuilder::connector(…)`: an async function from an address to such a stream, called where
//!   `AsyncServer::dial` connects now.
//!
//! With that, `Tunnel`, `listen`, `carry`, `send_requests`, `send_answers` and `pass` go, and so do the loopback
//! listener, the copies of each byte and the note about other users at `MemcachedOptions::tls`; `Tls`, `Far::new` and
//! `Far::connect` stay as the connector, about 90 lines. [`super::records`] stays too, as a stream that wraps the TLS
//! stream and cuts at commands, until every node runs memcached 1.6.39 or newer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use soundoff_common::lock::lock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::MemcachedOptions;
use super::records::{RECORD_BYTES, Records};

/// How many times the number of the client's connections the tunnel carries at most: some that the client gave up may
/// not have ended yet.
const ROOM: usize = 4;
/// How long the listener waits when it cannot accept a connection, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How nodes must prove their names.
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// With the public certificate authorities and those of a file.
    pub(super) fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca {
            add_file(&mut roots, path)
                .with_context(|| format!("memcached: authorities in {}", path.display()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> anyhow::Result<()> {
    let public = roots.len();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(roots.len() > public, "no certificate is in it");
    Ok(())
}

/// The step that failed, and why.
type Failure = (&'static str, String);

/// The node at the far end.
pub(super) struct Far {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
    /// How long a step may take; after that the client has given up.
    limit: Duration,
    connections: usize,
    /// Why the last connection failed, if it did.
    failure: Mutex<Option<Failure>>,
}

impl Far {
    /// The node at `host:port`, which must prove that it is that host.
    pub(super) fn new(address: &str, options: &MemcachedOptions, tls: &Tls) -> anyhow::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("memcached: {host} cannot be the name in a certificate"))?;
        Ok(Self {
            address: address.to_owned(),
            name,
            connector: tls.0.clone(),
            limit: options.timeout,
            connections: options.connections.saturating_mul(ROOM),
            failure: Mutex::default(),
        })
    }

    /// Why the last connection failed, if it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// Connects, with a new look-up of the name, and makes the node prove it.
    async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let by = Instant::now() + self.limit;
        let node =
            within(by, TcpStream::connect(&self.address)).await.map_err(|e| ("connecting", e.to_string()))?;
        node.set_nodelay(true).map_err(|e| ("connecting", e.to_string()))?;
        let shaken = self.connector.connect(self.name.clone(), node);
        within(by, shaken).await.map_err(|e| ("TLS handshake", e.to_string()))
    }

    /// Carries one connection of the client until either side ends it.
    async fn carry(&self, client: TcpStream) {
        let connected = self.connect().await;
        *lock(&self.failure) = connected.as_ref().err().cloned();
        let Ok(node) = connected else { return };
        let _only_for_speed = client.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_node, to_node) = tokio::io::split(node);
        let ended = tokio::select! {
            ended = send_requests(from_client, to_node, self.limit) => ended,
            ended = send_answers(from_node, to_client, self.limit) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(node = self.address, %error, "a connection to memcached broke");
        }
    }
}

async fn within<T>(by: Instant, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(by, step).await.map_err(|_| io::Error::other("timed out"))?
}

/// Passes on the client's requests, in records of whole commands.
async fn send_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limit: Duration,
) -> io::Result<()> {
    let mut records = Records::default();
    loop {
        records.pending.reserve(RECORD_BYTES);
        if from.read_buf(&mut records.pending).await? == 0 {
            return Ok(());
        }
        while let Some(record) = records.next() {
            pass(&mut to, &record, limit).await?;
        }
    }
}

/// Passes on the node's answers.
async fn send_answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limit: Duration,
) -> io::Result<()> {
    let mut chunk = vec![0; RECORD_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        pass(&mut to, &chunk[..read], limit).await?;
    }
}

/// Writes bytes to one side. A side that does not take them within `limit` hangs, and the client no longer waits for
/// it.
async fn pass(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], limit: Duration) -> io::Result<()> {
    let passed = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    timeout(limit, passed).await?
}

/// The way to a node. When it is dropped, it ends with all connections that it carries.
pub(super) struct Tunnel {
    address: SocketAddr,
    _listening: JoinSet<()>,
}

impl Tunnel {
    /// Listens on a free port.
    pub(super) async fn open(far: Arc<Far>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, far));
        Ok(Self { address, _listening: listening })
    }

    /// The address for the client.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn listen(listener: TcpListener, far: Arc<Far>) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if carried.len() < far.connections => match accepted {
                Ok((client, _)) => {
                    let far = far.clone();
                    carried.spawn(async move { far.carry(client).await });
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = carried.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listens_once_the_owner_is_gone() {
        let tls = Tls::new(None).unwrap();
        let far = Arc::new(Far::new("localhost:1", &MemcachedOptions::default(), &tls).unwrap());
        let tunnel = Tunnel::open(far.clone()).await.unwrap();
        let address = tunnel.address();
        let mut client = TcpStream::connect(address).await.unwrap();
        let hung_up = timeout(Duration::from_secs(5), client.read(&mut [0])).await;
        assert_eq!(hung_up.expect("soon").unwrap(), 0, "it closes, as no node is there");
        assert_eq!(far.failure().unwrap().0, "connecting");
        drop(tunnel);
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), closed).await.expect("it ends");
        assert_eq!(Arc::strong_count(&far), 1, "no task holds it");
    }

    #[tokio::test]
    async fn a_side_that_takes_nothing_is_not_waited_for() {
        let limit = Duration::from_millis(20);
        let said = b"mg key v\r\n".repeat(100);
        let (near, _hung) = tokio::io::duplex(64);
        let ended = timeout(Duration::from_secs(5), send_requests(&said[..], near, limit)).await;
        assert_eq!(ended.expect("soon").unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (near, _hung) = tokio::io::duplex(64);
        let ended = timeout(Duration::from_secs(5), send_answers(&said[..], near, limit)).await;
        assert_eq!(ended.expect("soon").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn names_are_those_a_certificate_can_have() {
        let tls = Tls::new(None).unwrap();
        let name = |address| Far::new(address, &MemcachedOptions::default(), &tls).map(|far| far.name);
        assert_eq!(name("cache.example:11211").unwrap(), ServerName::try_from("cache.example").unwrap());
        assert!(matches!(name("127.0.0.1:11211").unwrap(), ServerName::IpAddress(_)));
        assert!(matches!(name("[::1]:11211").unwrap(), ServerName::IpAddress(_)));
        assert!(name("a b:11211").is_err());
    }
}
