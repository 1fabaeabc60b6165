//! A fake Firehose that fails on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How one call is answered; calls without a planned answer are taken whole.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Refuses the records at these places (one bit for each).
    Failing(u32),
    /// Refuses the records that contain this.
    Refusing(&'static str),
    /// Refuses the whole call.
    Unavailable,
    /// Refuses the whole call with a final error.
    NotFound,
}

/// The calls so far, and the planned answers.
#[derive(Default)]
pub(crate) struct Fake {
    pub replies: VecDeque<Reply>,
    pub always: Option<Reply>,
    /// Each call's records.
    pub calls: Vec<Vec<String>>,
}

pub(crate) type Shared = Arc<Mutex<Fake>>;

/// Serves on a free port; returns the endpoint.
pub(crate) async fn serve(fake: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(socket, fake.clone()));
        }
    });
    endpoint
}

async fn talk(socket: TcpStream, fake: Shared) {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut length, mut put) = (0, false);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_lowercase();
            if line.is_empty() {
                break;
            }
            put |= line.ends_with(".putrecordbatch");
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        let (status, answer) = if put { take(&fake, &body) } else { (200, described()) };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        socket.write_all((head + &answer).as_bytes()).await.unwrap();
    }
}

fn described() -> Value {
    json!({"DeliveryStreamDescription": {
        "DeliveryStreamName": "fake", "DeliveryStreamARN": "arn", "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut", "VersionId": "1", "Destinations": [], "HasMoreDestinations": false,
    }})
}

fn take(fake: &Shared, body: &Value) -> (u16, Value) {
    let mut fake = fake.lock().unwrap();
    let records: Vec<_> = body["Records"].as_array().unwrap().iter().map(text).collect();
    fake.calls.push(records.clone());
    let reply = fake.replies.pop_front().or(fake.always.clone());
    match reply {
        Some(Reply::Unavailable) => return (503, json!({"__type": "ServiceUnavailableException"})),
        Some(Reply::NotFound) => return (400, json!({"__type": "ResourceNotFoundException"})),
        _ => (),
    }
    let refused = |n: usize| match reply {
        Some(Reply::Failing(failing)) => n < 32 && failing >> n & 1 == 1,
        Some(Reply::Refusing(what)) => records[n].contains(what),
        _ => false,
    };
    let answers: Vec<_> = (0..records.len())
        .map(|n| {
            if refused(n) {
                json!({"ErrorCode": "ServiceUnavailableException"})
            } else {
                json!({"RecordId": n.to_string()})
            }
        })
        .collect();
    let failed = (0..records.len()).filter(|n| refused(*n)).count();
    (200, json!({"FailedPutCount": failed, "RequestResponses": answers}))
}

fn text(record: &Value) -> String {
    String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap()
}
