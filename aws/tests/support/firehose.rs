//! A Firehose that fails as it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How one call is answered; calls beyond those foretold are taken whole.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Refuses the records of these places (bit by bit).
    Failing(u32),
    /// Refuses the whole call.
    Unavailable,
}

/// What came and what is foretold.
#[derive(Default)]
pub(crate) struct Fake {
    pub replies: VecDeque<Reply>,
    pub always: Option<Reply>,
    /// Each call's records, still in base64.
    pub calls: Vec<Vec<String>>,
}

pub(crate) type Shared = Arc<Mutex<Fake>>;

/// Serves on a free port; its endpoint.
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
    let records = body["Records"].as_array().unwrap();
    fake.calls.push(records.iter().map(|record| record["Data"].as_str().unwrap().to_owned()).collect());
    let failing = match fake.replies.pop_front().or(fake.always.clone()) {
        None => 0,
        Some(Reply::Failing(failing)) => failing,
        Some(Reply::Unavailable) => return (503, json!({"__type": "ServiceUnavailableException"})),
    };
    let refused = |n: usize| n < 32 && failing >> n & 1 == 1;
    let answers: Vec<_> = (0..records.len())
        .map(|n| {
            if refused(n) {
                json!({"ErrorCode": "ServiceUnavailableException"})
            } else {
                json!({"RecordId": n.to_string()})
            }
        })
        .collect();
    (200, json!({"FailedPutCount": failing.count_ones(), "RequestResponses": answers}))
}
