//! Plain HTTP beside the websocket.

use async_trait::async_trait;
// What a page's signature is made of, so that a feature with a page needs no dependency for it.
pub use hyper::body::Incoming;
pub use hyper::{Method, Request, StatusCode};

use super::http::Answer;

/// Some pages on a port.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// Answers a request. On the public port it carries its [`Peer`](super::http::Peer) and the
    /// [`Hangup`](super::paced::Hangup) of its connection. The body is not bounded: the page must do that.
    async fn answer(&self, request: Request<Incoming>) -> Answer;
}
