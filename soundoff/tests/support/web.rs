//! Plain HTTP as any client may speak it: any headers, any bytes, as slow and as broken as a test likes.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{PATIENCE, Server};

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Whether the answer depends on this header of the request.
    pub(crate) fn varies_by(&self, name: &str) -> bool {
        let lists = self.headers.iter().filter(|(known, _)| known == "vary");
        lists.flat_map(|(_, list)| list.split(',')).any(|each| each.trim() == name)
    }

    /// A header's value; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body as it was before it was packed.
    pub(crate) fn unpacked(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        match self.header("content-encoding") {
            "gzip" => drop(GzDecoder::new(&self.body[..]).read_to_end(&mut plain).unwrap()),
            "br" => brotli::BrotliDecompress(&mut &self.body[..], &mut plain).unwrap(),
            "" => plain.clone_from(&self.body),
            other => panic!("nobody asked for {other}"),
        }
        plain
    }

    /// The `code` of a refusal.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

/// A request whose bytes a test sends as it likes.
pub(crate) struct Exchange(TcpStream);

impl Exchange {
    /// Sends the head: the request line and `headers`.
    pub(crate) async fn begin(address: &str, line: &str, headers: &[(&str, &str)]) -> Self {
        Self::begin_on(TcpStream::connect(address).await.unwrap(), address, line, headers).await
    }

    /// The same from an address of this machine, such as 127.0.0.2, with little room for what comes back.
    pub(crate) async fn begin_from(
        from: [u8; 4],
        address: &str,
        line: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        Self::begin_on(stream, address, line, headers).await
    }

    /// Sends these bytes and nothing else.
    pub(crate) async fn raw(address: &str, bytes: &str) -> Self {
        let mut exchange = Self(TcpStream::connect(address).await.unwrap());
        exchange.send(bytes.as_bytes()).await;
        exchange
    }

    async fn begin_on(mut stream: TcpStream, address: &str, line: &str, headers: &[(&str, &str)]) -> Self {
        stream.set_nodelay(true).unwrap();
        let mut head = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Sends bytes; a server that has refused already may not take them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Reads some bytes; `None` when there are no more.
    pub(crate) async fn some(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut bytes)).await;
        let read = read.expect("bytes come, or an end").unwrap_or(0);
        bytes.truncate(read);
        (read > 0).then_some(bytes)
    }

    /// Reads the answer to its end.
    pub(crate) async fn answer(mut self) -> Answer {
        let mut wire = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut wire)).await;
        // A reset after the answer counts as its end.
        let _ = read.expect("an answer comes");
        let at = wire.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(wire[..at].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: wire[at + 4..].to_vec() }
    }
}

/// One request with a body of a known length.
pub(crate) async fn web(address: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let length = body.len().to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("content-length", length.as_str())]).collect();
    let mut exchange = Exchange::begin(address, line, &headers).await;
    exchange.send(body).await;
    exchange.answer().await
}

/// A POST of JSON.
pub(crate) async fn post(address: &str, path: &str, body: &Value) -> Answer {
    web(
        address,
        &format!("POST {path}"),
        &[("content-type", "application/json")],
        body.to_string().as_bytes(),
    )
    .await
}

/// Signs in by mail; returns the answer of `verify`. The handle may be new.
pub(crate) async fn sign_in(server: &Server, handle: &str) -> Value {
    let email = format!("{handle}@example.org");
    let address = &server.address;
    let earlier = letters(server, &email).await.len();
    let started = loop {
        let started = post(address, "/v1/auth/email/start", &json!({ "email": email })).await;
        if started.status != 429 {
            break started;
        }
        // An address can get its next code only after some seconds.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(started.status, 202, "{started:?}");
    let code = code(server, &email, earlier).await;
    let request = &started.json()["request"];
    let body = json!({ "email": email, "request": request, "code": code, "handle": handle });
    let signed_in = post(address, "/v1/auth/email/verify", &body).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    signed_in.json()
}

/// What was sent to an address, newest first.
pub(crate) async fn letters(server: &Server, to: &str) -> Vec<String> {
    let outbox = web(&server.address, "GET /dev/outbox", &[], b"").await.json();
    let items = outbox["items"].as_array().unwrap().iter();
    items.filter(|item| item["to"] == to).map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

/// The newest code that was sent to an address, after so many letters: a letter comes later than its answer.
pub(crate) async fn code(server: &Server, to: &str, after: usize) -> String {
    for _ in 0..500 {
        let sent = letters(server, to).await;
        if sent.len() > after {
            let digits = sent[0].split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6);
            return digits.expect("a code has six digits").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no code came to {to}");
}
