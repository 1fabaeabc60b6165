//! Plain HTTP beside the websocket.

use async_trait::async_trait;
use hyper::Request;
use hyper::body::Incoming;

use super::http::Answer;

/// Some pages on a port.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// Answers a request. On the public port it carries its [`Peer`](super::http::Peer). The body is not bounded: the page must do that.
    async fn answer(&self, request: Request<Incoming>) -> Answer;
}
