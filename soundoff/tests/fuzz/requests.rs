//! HTTP requests as an attacker writes them, for the public port and for an edge's internal one.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "OPTIONS", "CONNECT", "get", "\u{7f}"];
const PATHS: [&str; 11] = [
    "/",
    "/v1/ws",
    "/deliver",
    "/metrics",
    "/healthz",
    "/readyz",
    "/dev/tokens",
    "/../../etc/passwd",
    "/%00",
    "*",
    "http://elsewhere/",
];
const HEADERS: [&str; 16] = [
    "host: 127.0.0.1",
    "host: evil.example",
    "content-length: 18446744073709551615",
    "content-length: -1",
    "content-length: 5\r\ncontent-length: 6",
    "transfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 3",
    "connection: upgrade\r\nupgrade: websocket",
    "sec-websocket-key: short",
    "sec-websocket-version: 99",
    "authorization: Bearer not.a.token",
    "authorization: Basic \u{fe}",
    "x-soundoff-signed: zz",
    "x-soundoff-signed: x 1 1 99999999999999999999 zz zz",
    "expect: 100-continue",
    "broken header",
];
const BODIES: [&str; 9] = [
    "",
    "{}",
    r#"{"handles":["x"]}"#,
    r#"{"handles":"ann"}"#,
    r#"{"deliveries":[]}"#,
    "ffffffffffffffff\r\n",
    "5\r\nhello\r\nzz\r\n",
    "5\r\nhel",
    "[[[[[[[[[[[[[[[[[[[[",
];

fn request(random: &mut StdRng) -> Vec<u8> {
    let (method, path) = (METHODS.choose(random).unwrap(), PATHS.choose(random).unwrap());
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for _ in 0..random.random_range(0..5) {
        text.push_str(HEADERS.choose(random).unwrap());
        text.push_str("\r\n");
    }
    match random.random_range(0..20) {
        0 => text.push_str(&format!("x-large: {}\r\n", "x".repeat(random.random_range(10_000..300_000)))),
        1 => (0..random.random_range(50..500)).for_each(|n| text.push_str(&format!("x-many-{n}: 1\r\n"))),
        _ => {}
    }
    text.push_str("\r\n");
    text.push_str(BODIES.choose(random).unwrap());
    let mut bytes = text.into_bytes();
    match random.random_range(0..4) {
        0 => {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        1 => bytes.truncate(random.random_range(0..bytes.len())),
        2 => bytes.extend(bytes.clone()),
        _ => {}
    }
    bytes
}

/// One request; its answer, if there is one, is not a server error.
pub(crate) async fn one(mut stream: TcpStream, random: &mut StdRng) {
    let request = request(random);
    // The server may refuse before everything is written.
    let _ = timeout(PATIENCE, stream.write_all(&request)).await.expect("nobody reads");
    if random.random_bool(0.3) {
        return;
    }
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("nobody ends the connection");
    let text = String::from_utf8_lossy(&answer);
    // A changed byte may have made it a request of HTTP/1.0, which alone is answered as one.
    let is_older = request.windows(8).any(|part| part == b"HTTP/1.0");
    let older = text.strip_prefix("HTTP/1.0 ").filter(|_| is_older);
    let status = text.strip_prefix("HTTP/1.1 ").or(older);
    let wanted = answer.is_empty() || status.is_some_and(|status| !status.starts_with('5'));
    assert!(wanted, "{}\nwas answered\n{text}", String::from_utf8_lossy(&request));
}

/// Deliveries without the key: none is taken.
pub(crate) async fn forged_deliveries(internal: &str) {
    let body = r#"{"deliveries":[{"kind":"revoke","to":["ann"]}]}"#;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let signatures = [String::new(), "A".repeat(43), "é".repeat(32), "A".repeat(42), "f".repeat(10_000)];
    for time in [now.to_string(), "0".to_owned(), "soon".to_owned(), u64::MAX.to_string()] {
        for signature in &signatures {
            let head = format!(
                "POST /deliver HTTP/1.1\r\nhost: x\r\nx-soundoff-signed: x 1 1 {time} {} {signature}\r\n\
                 content-length: {}\r\n\r\n{body}",
                "A".repeat(43),
                body.len()
            );
            let mut stream = TcpStream::connect(internal).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
            let text = String::from_utf8_lossy(&answer);
            assert!(text.starts_with("HTTP/1.1 401"), "{time} {signature}: {text}");
        }
    }
}

/// Connections that send their heads byte by byte are closed, however many there are.
pub(crate) async fn slow(address: &str) {
    let mut dripping = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let address = address.to_owned();
        dripping.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for byte in b"GET / HTTP/1.1\r\n".iter().chain(b"x".iter().cycle()) {
                let mut end = [0; 256];
                let wrote = stream.write_all(&[*byte]).await;
                // Sending slowly is the attack.
                let read = timeout(Duration::from_millis(100), stream.read(&mut end)).await;
                if wrote.is_err() || matches!(read, Ok(Ok(0) | Err(_))) {
                    return;
                }
            }
        });
    }
    let all = async { while dripping.join_next().await.is_some() {} };
    timeout(PATIENCE, all).await.expect("slow heads are served forever");
}
