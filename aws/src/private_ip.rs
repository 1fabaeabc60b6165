//! The address of this machine within its network.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::imds;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

/// The variable in which ECS gives a container the address of its metadata.
const ECS: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// The address in EC2's metadata.
const EC2: &str = "/latest/meta-data/local-ipv4";
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    networks: Vec<Network>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPv4Addresses", default)]
    addresses: Vec<IpAddr>,
}

/// This container's private address, from the metadata of ECS; or this instance's, from that of EC2 (IMDSv2).
///
/// # Errors
/// When neither answers, as on a machine outside AWS.
pub async fn private_ip() -> anyhow::Result<IpAddr> {
    if let Ok(uri) = std::env::var(ECS) {
        return tokio::time::timeout(PATIENCE, of_container(&uri)).await.context("ECS: no answer in time")?;
    }
    let client =
        imds::Client::builder().max_attempts(2).connect_timeout(PATIENCE).read_timeout(PATIENCE).build();
    let answer = client.get(EC2).await.context("there is no metadata of ECS, and EC2's does not answer")?;
    answer.as_ref().parse().context("EC2's metadata names no address")
}

async fn of_container(uri: &str) -> anyhow::Result<IpAddr> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(uri.parse()?).await.context("the metadata of ECS")?;
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the metadata of ECS: {error}"))?.to_bytes();
    let container: Container = serde_json::from_slice(&body).context("the metadata of ECS")?;
    let addresses = container.networks.into_iter().flat_map(|network| network.addresses);
    addresses.into_iter().next().context("the metadata of ECS names no address")
}
