//! One HTTP request over a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Reads a page of text, such as a process's metrics.
///
/// # Errors
/// It cannot be read within ten seconds.
pub(crate) async fn get(url: &str) -> Result<String> {
    let page = tokio::time::timeout(PATIENCE, page(url)).await;
    page.context("no answer within 10 s").and_then(|page| page).with_context(|| format!("cannot read {url}"))
}

async fn page(url: &str) -> Result<String> {
    let uri: Uri = url.parse()?;
    ensure!(uri.scheme_str() == Some("http"), "it should look like http://127.0.0.1:9090/metrics");
    let authority = uri.authority().context("it has no host")?;
    let address = resolve(authority).await?;
    let path = uri.path_and_query().map_or("/metrics", |path| path.as_str());
    let request = Request::get(path).header("host", authority.as_str()).body(Full::<Bytes>::default())?;
    let (status, body) = exchange(address, request).await?;
    ensure!(status.is_success(), "it answers {status}");
    Ok(String::from_utf8_lossy(&body).into_owned())
}
