//! TLS to a node for a client that speaks plain TCP: a listener on the loopback interface, and behind it a connection to the node for
//! each that is made to it.
//!
//! Nothing is taken from the client before the node has proved its name, so a node that cannot do so is told nothing. The client learns
//! no more than that its connection was closed; the reason is kept for the log.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
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

use super::MemcachedOptions;
use super::node::locked;
use super::records::{RECORD_BYTES, Records};

/// So many times the client's connections are carried at most: some that it gave up may not have ended yet.
const ROOM: usize = 4;
/// How long the listener waits when it cannot take a connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How nodes prove their names.
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// By the public certificate authorities and those of a file.
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

/// At which step it failed, and why.
type Failure = (&'static str, String);

/// The node at the far end.
pub(super) struct Far {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
    /// How long a step may take; by then the client has given up.
    limit: Duration,
    connections: usize,
    /// Of the last connection, if it failed.
    failure: Mutex<Option<Failure>>,
}

impl Far {
    /// The node at `host:port`, which must prove to be that host.
    pub(super) fn new(address: &str, options: &MemcachedOptions, tls: &Tls) -> anyhow::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("memcached: {host} is no name that a certificate can have"))?;
        Ok(Self {
            address: address.to_owned(),
            name,
            connector: tls.0.clone(),
            limit: options.timeout,
            connections: options.connections.saturating_mul(ROOM),
            failure: Mutex::default(),
        })
    }

    /// Why the last connection could not be made, if so.
    pub(super) fn failure(&self) -> Option<Failure> {
        locked(&self.failure).clone()
    }

    /// Connects, looking the name up anew, and has the node prove it.
    async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let by = Instant::now() + self.limit;
        let node =
            within(by, TcpStream::connect(&self.address)).await.map_err(|e| ("connecting", e.to_string()))?;
        node.set_nodelay(true).map_err(|e| ("connecting", e.to_string()))?;
        let shaken = self.connector.connect(self.name.clone(), node);
        within(by, shaken).await.map_err(|e| ("TLS handshake", e.to_string()))
    }

    /// Carries what one connection of the client says, until either side ends it.
    async fn carry(&self, client: TcpStream) {
        let connected = self.connect().await;
        *locked(&self.failure) = connected.as_ref().err().cloned();
        let Ok(node) = connected else { return };
        let _only_for_speed = client.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_node, to_node) = tokio::io::split(node);
        let ended = tokio::select! {
            ended = say(from_client, to_node, self.limit) => ended,
            ended = answer(from_node, to_client, self.limit) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(node = self.address, %error, "a connection to memcached broke");
        }
    }
}

async fn within<T>(by: Instant, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(by, step).await.map_err(|_| io::Error::other("timed out"))?
}

/// Passes on what the client says, in records of whole commands.
async fn say(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limit: Duration,
) -> io::Result<()> {
    let mut records = Records::default();
    loop {
        records.said.reserve(RECORD_BYTES);
        if from.read_buf(&mut records.said).await? == 0 {
            return Ok(());
        }
        while let Some(record) = records.next() {
            pass(&mut to, &record, limit).await?;
        }
    }
}

/// Passes on what the node answers.
async fn answer(
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

/// Who does not take what there is within `limit` hangs, and the client no longer waits for it.
async fn pass(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], limit: Duration) -> io::Result<()> {
    let passed = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    timeout(limit, passed).await?
}

/// The way to a node. It ends with its owner, and all it carries too.
pub(super) struct Tunnel {
    address: SocketAddr,
    _listening: JoinSet<()>,
}

impl Tunnel {
    /// Listens at a free port.
    pub(super) async fn open(far: Arc<Far>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, far));
        Ok(Self { address, _listening: listening })
    }

    /// Where the client finds it.
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
        assert_eq!(hung_up.expect("soon").unwrap(), 0, "it hangs up, as nobody is there");
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
    async fn who_takes_nothing_is_not_waited_for() {
        let limit = Duration::from_millis(20);
        let said = b"mg key v\r\n".repeat(100);
        let (near, _hung) = tokio::io::duplex(64);
        let ended = timeout(Duration::from_secs(5), say(&said[..], near, limit)).await;
        assert_eq!(ended.expect("soon").unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (near, _hung) = tokio::io::duplex(64);
        let ended = timeout(Duration::from_secs(5), answer(&said[..], near, limit)).await;
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
