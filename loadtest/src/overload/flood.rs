//! Addresses that ask for websockets as fast as they can and are nobody: without a token, or with one that is none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;
use soundoff_common::protocol::SUBPROTOCOL;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::wire::frames::{TEXT, put};
use crate::wire::upgrade;

/// How long an answer, or the close after a false hello, may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two tries while the server does not answer.
const PAUSE: Duration = Duration::from_millis(10);

/// A token that nobody has signed.
const JUNK: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJub2JvZHkifQ.AAAA";

/// What happened to requests for websockets.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Refused with 429.
    pub(super) refused: AtomicU64,
    /// Judged by their token: refused with 401, or taken and closed after a false hello.
    judged: AtomicU64,
    /// Answered otherwise, or not at all.
    other: AtomicU64,
}

impl Answers {
    /// The counts in words.
    pub(super) fn words(&self) -> String {
        let Self { refused, judged, other } = self;
        let [refused, judged, other] = [refused, judged, other].map(|count| count.load(Relaxed));
        format!(
            "{refused} upgrades refused with 429, {judged} judged by their token, {other} otherwise or not at all"
        )
    }
}

/// Addresses that ask until this is dropped, each over one connection after the other.
#[derive(Debug)]
pub(super) struct Flood {
    /// What has happened until now.
    pub(super) answers: Arc<Answers>,
    _asking: JoinSet<()>,
}

impl Flood {
    /// Starts to ask, from so many addresses with so many connections at once of each.
    pub(super) fn start(server: SocketAddr, addresses: u8, at_once: usize) -> Self {
        let (answers, mut asking) = (Arc::new(Answers::default()), JoinSet::new());
        for address in 0..addresses {
            for n in 0..at_once {
                let token = (n + usize::from(address)).is_multiple_of(2).then_some(JUNK);
                asking.spawn(ask_on(server, request(server, address, token), answers.clone()));
            }
        }
        Self { answers, _asking: asking }
    }
}

/// The request of an address, as a proxy hands it on. 198.18.0.0/15 is for tests of networks.
fn request(server: SocketAddr, address: u8, token: Option<&str>) -> Vec<u8> {
    let mut request = upgrade(server, "/v1/ws", Some(SUBPROTOCOL), token);
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("X-Forwarded-For: 198.18.0.{address}\r\n\r\n").as_bytes());
    request
}

async fn ask_on(server: SocketAddr, request: Vec<u8>, answers: Arc<Answers>) {
    loop {
        let status = tokio::time::timeout(ANSWER, ask(server, &request)).await;
        let count = match status {
            Ok(Ok(429)) => &answers.refused,
            Ok(Ok(101 | 401)) => &answers.judged,
            _ => &answers.other,
        };
        count.fetch_add(1, Relaxed);
        // A server that takes no connection must not make this a loop without an end.
        if std::ptr::eq(count, &answers.other) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks once, and returns the status of the answer.
async fn ask(server: SocketAddr, request: &[u8]) -> Result<u16> {
    let mut stream = TcpStream::connect(server).await?;
    // A reset instead of a close: otherwise ports would stay in use for a minute.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.write_all(request).await?;
    let mut answer = vec![0; 2048];
    let mut read = 0;
    while read < 12 {
        let n = stream.read(&mut answer[read..]).await?;
        anyhow::ensure!(n > 0, "the server hung up");
        read += n;
    }
    let status = std::str::from_utf8(&answer[9..12])?.parse().context("the answer is no HTTP")?;
    if status == 101 {
        let mut hello = Vec::new();
        put(&mut hello, TEXT, format!(r#"{{"op":"hello","token":"{JUNK}"}}"#).as_bytes());
        stream.write_all(&hello).await?;
        // The close, or the end.
        let _ = stream.read(&mut answer).await;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_address_that_it_comes_from_last() {
        let text = String::from_utf8(request("127.0.0.1:80".parse().unwrap(), 7, Some("t"))).unwrap();
        assert!(text.ends_with("\r\nX-Forwarded-For: 198.18.0.7\r\n\r\n"), "{text}");
        assert!(text.starts_with("GET /v1/ws HTTP/1.1\r\n") && text.contains("Bearer t\r\n"), "{text}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }
}
