//! One message over a socket of its own, and its reply: how a run is prepared and counted.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::server::Server;
use crate::socket::{Frame, Socket, send_frame};

/// How long one answer may take.
const ONE_ANSWER: Duration = Duration::from_secs(30);

/// The reply to one message.
///
/// # Errors
/// The message is refused, or not answered within 30 s.
pub(crate) async fn ask(server: &Server, token: &str, message_type: &str, body: &Value) -> Result<Value> {
    let mut socket = Socket::open(server, token).await?;
    socket.send(send_frame("1", message_type, body));
    let reply = async {
        loop {
            match socket.next().await? {
                Frame::Reply { outcome: Ok(body), .. } => return Ok(serde_json::from_str(body.get())?),
                Frame::Reply { outcome: Err(error), .. } | Frame::Refused { error, .. } => {
                    bail!("{message_type}: {}", error.message)
                }
                _ => {}
            }
        }
    };
    let reply = tokio::time::timeout(ONE_ANSWER, reply).await;
    let reply = reply.with_context(|| format!("{message_type} is not answered"))??;
    socket.bye().await;
    Ok(reply)
}

/// Posts a text, and returns the post's id.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn post(server: &Server, token: &str, text: &str) -> Result<String> {
    let reply = ask(server, token, "post.create", &json!({ "text": text })).await?;
    let id = reply["post"]["id"].as_str();
    Ok(id.context("the reply to post.create names no post")?.to_owned())
}
