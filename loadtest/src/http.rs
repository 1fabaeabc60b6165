//! One HTTP request over a connection of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The address of a URL's host.
///
/// # Errors
/// It has none.
pub(crate) async fn resolve(authority: &Authority) -> Result<SocketAddr> {
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let missing = || format!("no address for {host}");
    let mut addresses = tokio::net::lookup_host((host, port)).await.with_context(missing)?;
    addresses.next().with_context(missing)
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// Nothing listens there, or it does not speak HTTP.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nothing listens on {address}: start it with `soundoff up`"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
