//! The public port: accepts sockets and deals them to the edges in turn.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many accepted sockets wait for an edge that is slow to take them.
pub(crate) const SOCKETS_WAITING: usize = 128;

/// How many connections the kernel keeps until they are accepted. It drops the SYN of any further one, and the client
/// sends it again only a second later: that would slow down a moment when all clients come back at once. The system's
/// own limit (`net.core.somaxconn`) holds as well.
const BACKLOG: u32 = 4096;

/// Listens at an address, which an operator chooses with `flag`.
///
/// # Errors
/// Another process listens there, or the machine has no such address.
pub(crate) fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Do not wait for sockets that the last process left half closed.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

#[expect(
    deprecated,
    reason = "what takes its place is unsafe; a listener keeps its file open as long as it lives"
)]
fn watched(public: std::net::TcpListener) -> io::Result<AsyncFd<mio::net::TcpListener>> {
    AsyncFd::new(mio::net::TcpListener::from_std(public))
}

/// Accepts until `stop`, for one edge after the other. When an edge is full its turn waits: then new connections are in
/// the kernel's backlog, which is bounded.
///
/// # Errors
/// The runtime cannot watch the listener.
pub(crate) async fn deal(
    public: TcpListener,
    edges: Vec<mpsc::Sender<TcpStream>>,
    stop: CancellationToken,
) -> io::Result<()> {
    // The runtime watches only the listener. Its own `accept` would make it watch each socket too, for nothing: most
    // connections are answered at once and go to a reactor, which watches them itself.
    let public = watched(public.into_std()?)?;
    for edge in edges.iter().cycle() {
        let accepted = tokio::select! {
            accepted = public.async_io(Interest::READABLE, mio::net::TcpListener::accept) => accepted,
            () = stop.cancelled() => return Ok(()),
        };
        match accepted {
            Ok((socket, _)) => {
                let socket = TcpStream::from(socket);
                if edge.send(socket).await.is_err() {
                    tracing::error!("an edge is gone; its socket is dropped");
                }
            }
            Err(error) => {
                // Usually the process is out of file descriptors: existing sockets must close before new ones can come.
                tracing::warn!(%error, "cannot accept");
                let pause = tokio::time::sleep(Duration::from_millis(100));
                tokio::select! { () = pause => {}, () = stop.cancelled() => return Ok(()) }
            }
        }
    }
    Ok(())
}
