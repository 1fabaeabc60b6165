//! One POST of deliveries to an edge.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::pipeline::deliver::{DELIVER_PATH, DeliverAnswer, Signer};
use crate::protocol::now_ms;

/// How long one POST may take.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer read from an edge, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What an edge said.
pub(super) enum Answer {
    Taken(DeliverAnswer),
    OtherProcess,
}

/// Why an edge did not take deliveries.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It said so.
    #[error("the edge answered {0}")]
    Refused(StatusCode),
    /// It did not answer, or not with what can be read.
    #[error("{0:#}")]
    Silent(anyhow::Error),
}

/// Posts to edges over kept connections.
pub(super) struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Poster {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Signs and posts. What is posted again is signed again: an edge takes nothing twice.
    pub(super) async fn post(&self, address: &str, signer: &Signer, body: Bytes) -> Result<Answer, Failed> {
        let (status, said) = self.ask(address, signer, body).await.map_err(Failed::Silent)?;
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&said).map(Answer::Taken).map_err(|error| Failed::Silent(error.into()))
            }
            StatusCode::CONFLICT => Ok(Answer::OtherProcess),
            status => Err(Failed::Refused(status)),
        }
    }

    /// The status, and the body when it is one of deliveries.
    async fn ask(&self, address: &str, signer: &Signer, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let signed = signer.sign_for_any("POST", DELIVER_PATH, &body, now_ms());
        let request = Request::post(format!("http://{address}{DELIVER_PATH}"));
        let request = signed.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        let response = tokio::time::timeout(POST_TIMEOUT, self.client.request(request)).await??;
        let status = response.status();
        if status != StatusCode::OK {
            return Ok((status, Bytes::new()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
        let body = tokio::time::timeout(POST_TIMEOUT, body).await?;
        Ok((status, body.map_err(|e| anyhow::anyhow!("unreadable answer: {e}"))?.to_bytes()))
    }
}
