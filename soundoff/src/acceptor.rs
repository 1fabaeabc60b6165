//! The public port: deals accepted sockets to the edges in turn.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many accepted sockets wait for an edge that is slow to take them.
pub(crate) const SOCKETS_WAITING: usize = 128;

/// Accepts until `stop`, one edge after the other. A full edge's turn waits: its backlog is the kernel's, and bounded.
pub(crate) async fn deal(public: TcpListener, edges: Vec<mpsc::Sender<TcpStream>>, stop: CancellationToken) {
    for edge in edges.iter().cycle() {
        let accepted = tokio::select! {
            accepted = public.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, _)) => {
                if edge.send(socket).await.is_err() {
                    tracing::error!("an edge is gone; its socket is dropped");
                }
            }
            Err(error) => {
                // Usually out of files: existing sockets must go before new ones can come.
                tracing::warn!(%error, "cannot accept");
                let pause = tokio::time::sleep(Duration::from_millis(100));
                tokio::select! { () = pause => {}, () = stop.cancelled() => return }
            }
        }
    }
}
