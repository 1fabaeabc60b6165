//! Requests that ask a server to deliver frames, in the language of each server that takes them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use soundoff_common::pipeline::deliver::{
    DELIVER_PATH, DeliverRequest, Delivery, InternalKey, Kind, SIGNED_HEADER, Signer,
};
use soundoff_common::protocol::{Handle, now_ms};

use crate::dialect::User;

/// Where and how a server takes deliveries.
#[derive(Debug, Clone)]
pub(crate) enum Posts {
    /// Sound Off's internal port; requests are signed with the key.
    Signed {
        /// The edge's internal address.
        address: SocketAddr,
        /// The key of the deployment.
        key: String,
    },
    /// `{"deliveries":[{"to","text"}]}` at /deliver of the peers in JavaScript.
    Json(SocketAddr),
    /// The text itself at /pub/USER.
    Nchan(SocketAddr),
}

impl Posts {
    /// The address that they go to.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Signed { address, .. } | Self::Json(address) | Self::Nchan(address) => *address,
        }
    }
}

/// The internal port of a running `soundoff up`, with the key that its data directory announces.
///
/// # Errors
/// No key is announced: the process does not run.
pub(crate) fn signed(address: SocketAddr, data: &Path) -> Result<Posts> {
    let path = data.join("ops.json");
    let text = std::fs::read(&path).with_context(|| {
        format!("cannot read the internal key in {}: does `soundoff up` run on it?", path.display())
    })?;
    let ops: Value = serde_json::from_slice(&text).context("ops.json is damaged")?;
    let key = ops["key"].as_str().context("ops.json holds no key")?.to_owned();
    Ok(Posts::Signed { address, key })
}

/// What a request is made of.
#[derive(Debug)]
enum Making {
    Signed { signer: Box<Signer>, whom: Vec<(Handle, u64)>, deliveries: Vec<Delivery> },
    Json { deliveries: Vec<Value> },
    Nchan { path: String, text: String },
}

/// Makes requests, one after the other, and checks their answers.
#[derive(Debug)]
pub(crate) struct Poster<'a> {
    users: &'a [User],
    host: SocketAddr,
    making: Making,
}

impl<'a> Poster<'a> {
    /// A poster for users and their sessions. Sound Off's welcomes name a session: an edge's boot and a connection.
    ///
    /// # Errors
    /// The key is not valid, or the sessions are not of one edge.
    pub(crate) fn new(posts: &Posts, users: &'a [User], sessions: &[String]) -> Result<Self> {
        let making = match posts {
            Posts::Signed { key, .. } => {
                let parse = |session: &str, user: &User| -> Option<(Arc<str>, Handle, u64)> {
                    let (boot, connection) = session.rsplit_once('-')?;
                    Some((boot.into(), user.name.parse().ok()?, connection.parse().ok()?))
                };
                let named = sessions.iter().zip(users);
                let all: Option<Vec<_>> = named.map(|(session, user)| parse(session, user)).collect();
                let all = all.context("a welcome's session is not an edge's boot and a connection")?;
                let boot = all.first().map(|(boot, ..)| boot.clone()).unwrap_or_default();
                ensure!(all.iter().all(|(of, ..)| *of == boot), "the sockets are on several edges: run one");
                let signer = Box::new(Signer::new(InternalKey::new(key.as_bytes())?, boot));
                let whom = all.into_iter().map(|(_, user, connection)| (user, connection)).collect();
                Making::Signed { signer, whom, deliveries: Vec::new() }
            }
            Posts::Json(_) => Making::Json { deliveries: Vec::new() },
            Posts::Nchan(_) => Making::Nchan { path: String::new(), text: String::new() },
        };
        Ok(Self { users, host: posts.address(), making })
    }

    /// Puts a frame for a user into the next request. Its field `load` holds the user and the frame's number.
    ///
    /// # Errors
    /// nchan takes one in a request.
    pub(crate) fn add(&mut self, user: usize, n: u64, bytes: usize) -> Result<()> {
        let bare = format!(r#"{{"op":"event","type":"load","load":"{user}.{n}","body":""}}"#);
        let pad = "x".repeat(bytes.saturating_sub(bare.len()));
        let text = format!("{}{pad}\"}}", &bare[..bare.len() - 2]);
        match &mut self.making {
            Making::Signed { whom, deliveries, .. } => {
                let (handle, connection) = &whom[user];
                let (connection, frame) = (Some(*connection), Some(RawValue::from_string(text)?));
                let blank = Delivery::of(Kind::Reply, vec![handle.clone()]);
                deliveries.push(Delivery { connection, frame, ..blank });
            }
            Making::Json { deliveries } => {
                deliveries.push(json!({ "to": self.users[user].name, "text": text }));
            }
            Making::Nchan { path, text: waiting } => {
                ensure!(waiting.is_empty(), "nchan takes one delivery in a POST");
                *path = format!("/pub/{}", self.users[user].name);
                *waiting = text;
            }
        }
        Ok(())
    }

    /// Appends the request for all that was added, and begins the next.
    ///
    /// # Errors
    /// Never: all of it is JSON.
    pub(crate) fn request(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let host = self.host;
        let mut write = |path: &str, headers: &str, body: &[u8]| {
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(body);
        };
        match &mut self.making {
            Making::Signed { signer, deliveries, .. } => {
                let request = DeliverRequest { boot: None, deliveries: std::mem::take(deliveries) };
                let body = serde_json::to_vec(&request)?;
                let signed = signer.sign("POST", DELIVER_PATH, &body, now_ms());
                let headers = format!("{SIGNED_HEADER}: {signed}\r\n");
                write(DELIVER_PATH, &headers, &body);
            }
            Making::Json { deliveries } => {
                let body = serde_json::to_vec(&json!({ "deliveries": std::mem::take(deliveries) }))?;
                write(DELIVER_PATH, "", &body);
            }
            Making::Nchan { path, text } => write(path, "", std::mem::take(text).as_bytes()),
        }
        Ok(())
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// Something was not delivered.
    pub(crate) fn check(&self, status: u16, body: &[u8]) -> Result<()> {
        let good = match self.making {
            Making::Signed { .. } | Making::Json { .. } => status == 200 && body == br#"{"missing":[]}"#,
            // 201: a subscriber gets it; 202: there is no subscriber.
            Making::Nchan { .. } => status == 201,
        };
        let said = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        ensure!(good, "the POST is answered {status}: {}", said());
        Ok(())
    }
}
