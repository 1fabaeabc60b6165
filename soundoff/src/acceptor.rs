//! The public port: deals accepted sockets to the edges in turn.

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

/// How many connections the kernel keeps until they are accepted. Of more it drops the greeting, and a client that comes back with all
/// others says it again a second later. The system's own limit (`net.core.somaxconn`) holds as well.
const BACKLOG: u32 = 4096;

/// Listens at an address, which an operator chooses with `flag`.
///
/// # Errors
/// Somebody else listens there, or the machine has no such address.
pub(crate) fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // What the last process left half closed is no reason to wait.
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

/// Accepts until `stop`, one edge after the other. A full edge's turn waits: its backlog is the kernel's, and bounded.
///
/// # Errors
/// The runtime cannot watch the listener.
pub(crate) async fn deal(
    public: TcpListener,
    edges: Vec<mpsc::Sender<TcpStream>>,
    stop: CancellationToken,
) -> io::Result<()> {
    // The runtime watches the listener only. What its own accepts would be watched one by one, and most connections are answered at once
    // and go to a reactor, which watches them itself.
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
                // Usually out of files: existing sockets must go before new ones can come.
                tracing::warn!(%error, "cannot accept");
                let pause = tokio::time::sleep(Duration::from_millis(100));
                tokio::select! { () = pause => {}, () = stop.cancelled() => return Ok(()) }
            }
        }
    }
    Ok(())
}
