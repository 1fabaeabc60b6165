//! The internal port: who may deliver, to which process, and what the answer contains.

mod support;

use std::sync::atomic::Ordering;

use serde_json::json;
use soundoff_common::pipeline::deliver::{
    DELIVER_PATH, InternalKey, SIGNATURE_HEADER, TIME_HEADER,
};
use soundoff_common::ports::queues::QueueError;
use soundoff_common::protocol::{CLOCKS_APART_MS, now_ms};
use support::{SECRET, event_of, handle, http, note, push_of, soon, stand, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn only_holders_of_the_key_deliver() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let boot = stand.boot();
    let body = json!({"boot": boot, "deliveries": [event_of("ann", &json!({}))]}).to_string().into_bytes();
    let key = InternalKey::new(&SECRET).unwrap();
    let other = InternalKey::new(&[8; 32]).unwrap();
    let now = now_ms();
    let (time, good) = key.sign("POST", DELIVER_PATH, &body, now);
    let (old_time, old) = key.sign("POST", DELIVER_PATH, &body, now - CLOCKS_APART_MS - 5000);
    let post = |time: &str, signature: &str| {
        format!("POST {DELIVER_PATH} HTTP/1.1\r\n{TIME_HEADER}: {time}\r\n{SIGNATURE_HEADER}: {signature}")
    };
    let refused = [
        ("unsigned", format!("POST {DELIVER_PATH} HTTP/1.1")),
        ("half signed", format!("POST {DELIVER_PATH} HTTP/1.1\r\n{TIME_HEADER}: {time}")),
        ("another key", post(&time, &other.sign("POST", DELIVER_PATH, &body, now).1)),
        ("stale", post(&old_time, &old)),
        ("another time", post(&(now + 1).to_string(), &good)),
        ("another path's", post(&time, &key.sign("POST", "/metrics", &body, now).1)),
        ("another method's", post(&time, &key.sign("GET", DELIVER_PATH, &body, now).1)),
        ("another body's", post(&time, &key.sign("POST", DELIVER_PATH, b"{}", now).1)),
        ("junk", post("zzz", "é")),
    ];
    let count = refused.len() as u64;
    for (what, head) in refused {
        assert_eq!(http(stand.internal, &head, &body).await.0, 401, "{what}");
    }
    assert_eq!(
        http(stand.internal, &format!("POST {DELIVER_PATH} HTTP/1.1"), b"not json").await.0,
        401,
        "unparsed"
    );
    assert_eq!(stand.metrics.edge_unsigned_requests.get(), count + 1);
    assert!(ann.before_pong().await.is_empty(), "nothing was delivered");
    assert_eq!(http(stand.internal, &post(&time, &good), &body).await.0, 200);
    ann.expect("event").await;
}

#[tokio::test]
async fn a_kept_connection_takes_posts_in_any_pieces_and_other_requests_after_them() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let key = InternalKey::new(&SECRET).unwrap();
    let post = |body: &[u8], key: &InternalKey| {
        let (time, signature) = key.sign("POST", DELIVER_PATH, body, now_ms());
        let fields = format!(
            "{TIME_HEADER}: {time}\r\n{SIGNATURE_HEADER}: {signature}\r\ncontent-length: {}",
            body.len()
        );
        [format!("POST {DELIVER_PATH} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes(), body].concat()
    };
    let event = |n: u64| {
        let body = json!({"boot": stand.boot(), "deliveries": [event_of("ann", &json!(n)), event_of("bob", &json!(n))]});
        post(body.to_string().as_bytes(), &key)
    };
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in event(0) {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(answer(&mut stream).await, (200, r#"{"missing":[[1,"bob"]]}"#.to_owned()));
    stream.write_all(&[event(1), event(2)].concat()).await.unwrap();
    for _ in 1..=2 {
        assert_eq!(answer(&mut stream).await.0, 200);
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await, (200, "ok\n".to_owned()));
    stream.write_all(&event(3)).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200, "and back to deliveries");
    for n in 0..=3 {
        assert_eq!(ann.expect("event").await["body"], n);
    }
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    let other = InternalKey::new(&[8; 32]).unwrap();
    for (what, bytes, status) in [
        ("a good one", event(4), 200),
        ("another key", post(b"{}", &other), 401),
        ("junk", post(b"junk", &key), 400),
        ("another process", post(br#"{"boot":"older","deliveries":[]}"#, &key), 409),
        ("a good one again", event(5), 200),
    ] {
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, status, "{what}");
    }
    assert_eq!(stand.metrics.edge_unsigned_requests.get(), 1, "counted once");
    for n in 4..=5 {
        assert_eq!(ann.expect("event").await["body"], n, "delivered once");
    }
}

/// The next answer on a kept connection: status and body.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("an answer", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, rest) = head.split_once("content-length: ").expect("a length");
    let mut body = vec![0; rest.split("\r\n").next().unwrap().parse().unwrap()];
    soon("a body", stream.read_exact(&mut body)).await.unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_post_that_is_no_delivery_is_refused() {
    let stand = stand().await;
    let key = InternalKey::new(&SECRET).unwrap();
    for (body, status) in [(b"junk".to_vec(), 400), (vec![b' '; 5 << 20], 413)] {
        let (time, signature) = key.sign("POST", DELIVER_PATH, &body, now_ms());
        let head = format!(
            "POST {DELIVER_PATH} HTTP/1.1\r\n{TIME_HEADER}: {time}\r\n{SIGNATURE_HEADER}: {signature}"
        );
        assert_eq!(http(stand.internal, &head, &body).await.0, status);
    }
    assert_eq!(http(stand.internal, "GET /deliver HTTP/1.1", b"").await.0, 405);
    assert_eq!(http(stand.internal, "GET /nothing HTTP/1.1", b"").await.0, 404);
    assert_eq!(
        http(stand.address, "POST /deliver HTTP/1.1", b"").await.2,
        "page POST /deliver",
        "not the public port"
    );
}

#[tokio::test]
async fn another_process_at_the_same_address_refuses() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let (status, _) =
        stand.post(&json!({"boot": "older", "deliveries": [event_of("ann", &json!({}))]})).await;
    assert_eq!(status, 409);
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test]
async fn the_answer_names_the_users_that_were_missing() {
    let stand = stand().await;
    let mut one = stand.welcomed("ann").await;
    let mut two = stand.welcomed("ann").await;
    one.send(&note("1")).await;
    one.expect("accepted").await;
    let connection = stand.world.queues.sent()[0].origin.clone().unwrap().connection;
    let frame = json!({"op": "reply", "id": "1", "ok": true, "body": {}});
    let reply = |user: &str, connection: u64| json!({"kind": "reply", "to": [user], "connection": connection, "frame": frame});
    let everybody = json!({"kind": "event", "to": ["ann", "bob", "eve"],
        "frame": {"op": "event", "type": "typing", "body": {}}});
    let deliveries = [
        reply("ann", connection),
        reply("ann", 999),
        reply("bob", connection),
        everybody,
        push_of("bob", 1, "x"),
    ];
    let missing = stand.deliver(&deliveries).await;
    let expected = [(1, "ann"), (2, "bob"), (3, "bob"), (3, "eve"), (4, "bob")];
    assert_eq!(missing, expected.map(|(at, user)| (at, handle(user))));
    assert_eq!(one.expect("reply").await, frame);
    one.expect("event").await;
    assert!(one.before_pong().await.is_empty());
    two.expect("event").await;
    assert!(two.before_pong().await.is_empty(), "the reply went to the socket that asked");
}

#[tokio::test]
async fn deliveries_of_one_request_arrive_in_order() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let many: Vec<_> = (0..200).map(|n| event_of("ann", &json!(n))).collect();
    assert!(stand.deliver(&many).await.is_empty());
    for n in 0..200 {
        assert_eq!(ann.expect("event").await["body"], n);
    }
}

#[tokio::test]
async fn readiness_follows_what_the_edge_depends_on() {
    let stand = stand().await;
    let status = async |path: &str| http(stand.internal, &format!("GET {path} HTTP/1.1"), b"").await;
    assert_eq!(status("/healthz").await.0, 200);
    assert_eq!(status("/readyz").await.0, 200);
    assert!(status("/metrics").await.2.contains("soundoff_edge_sockets 0"));
    stand.world.sessions.failing.store(true, Ordering::SeqCst);
    let mut ann = stand.welcomed("ann").await;
    assert_eq!(status("/readyz").await.0, 503, "the cache fails, and the socket was welcomed all the same");
    assert_eq!(status("/healthz").await.0, 200);
    stand.world.sessions.failing.store(false, Ordering::SeqCst);
    assert_eq!(status("/readyz").await.0, 200, "without traffic, too");
    stand.world.queues.judge(|_| Err(QueueError::Full));
    ann.send(&note("1")).await;
    ann.refused("overloaded").await;
    assert_eq!(status("/readyz").await.0, 200, "a full queue is not the fault of this edge");
    until("counted", || stand.metrics.edge_sockets.get() == 1).await;
    assert!(status("/metrics").await.2.contains("soundoff_edge_sockets 1"));
}
