//! The internal port: who may deliver, to which process, and what the answer contains.

mod support;

use std::sync::atomic::Ordering;

use serde_json::json;
use soundoff_common::pipeline::deliver::{DELIVER_PATH, InternalKey, SIGNED_HEADER, Signer};
use soundoff_common::ports::queues::QueueError;
use soundoff_common::protocol::{CLOCKS_APART_MS, now_ms};
use support::{answer, event_of, handle, http, note, plain, push_of, stand, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn only_holders_of_the_key_deliver() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let body = json!({"deliveries": [event_of("ann", &json!({}))]}).to_string().into_bytes();
    let signer = Signer::new(stand.key(), stand.boot());
    let other = Signer::new(InternalKey::new(&[8; 32]).unwrap(), stand.boot());
    let now = now_ms();
    let good = signer.sign("POST", DELIVER_PATH, &body, now);
    let old = signer.sign("POST", DELIVER_PATH, &body, now - CLOCKS_APART_MS - 5000);
    let refused = [
        ("unsigned", format!("POST {DELIVER_PATH} HTTP/1.1\r\ncontent-length: 8\r\n\r\nnot json").into()),
        ("another key", plain(&other.sign("POST", DELIVER_PATH, &body, now), &body)),
        ("stale", plain(&old, &body)),
        ("another time", plain(&good.replace(&now.to_string(), &(now + 1).to_string()), &body)),
        ("another path's", plain(&signer.sign("POST", "/metrics", &body, now), &body)),
        ("another method's", plain(&signer.sign("GET", DELIVER_PATH, &body, now), &body)),
        ("another body's", plain(&signer.sign("POST", DELIVER_PATH, &vec![b' '; body.len()], now), &body)),
        ("a longer body's", plain(&signer.sign("POST", DELIVER_PATH, &vec![b' '; 999], now), &body)),
        ("a shorter body's", plain(&signer.sign("POST", DELIVER_PATH, b"{}", now), &body)),
        ("junk", plain("zzz é", &body)),
    ];
    let count = refused.len() as u64;
    for (what, request) in refused {
        assert_eq!(stand.say(&request).await.0, 401, "{what}");
    }
    assert_eq!(stand.metrics.edge_unsigned_requests.get(), count);
    assert!(ann.before_pong().await.is_empty(), "nothing was delivered");
    assert_eq!(stand.say(&plain(&good, &body)).await.0, 200);
    ann.expect("event").await;
}

#[tokio::test]
async fn a_kept_connection_takes_posts_in_any_pieces_and_another_request_after_them() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let signer = Signer::new(stand.key(), stand.boot());
    let event = |n: u64| {
        let body =
            json!({"deliveries": [event_of("ann", &json!(n)), event_of("bob", &json!(n))]}).to_string();
        plain(&signer.sign("POST", DELIVER_PATH, body.as_bytes(), now_ms()), body.as_bytes())
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
    for n in 0..=2 {
        assert_eq!(ann.expect("event").await["body"], n);
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_first_post_that_is_refused() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let event = || stand.signed(json!({"deliveries": [event_of("ann", &json!(1))]}).to_string().as_bytes());
    let sign = |key: &[u8], boot: &str| {
        Signer::new(InternalKey::new(key).unwrap(), boot.into()).sign("POST", DELIVER_PATH, b"{}", now_ms())
    };
    for (what, bytes, status) in [
        ("another key", plain(&sign(&[8; 32], &stand.boot()), b"{}"), 401),
        ("another process", plain(&sign(&support::SECRET, "older"), b"{}"), 409),
        ("junk", stand.signed(b"junk"), 400),
        ("too large", stand.signed(&vec![b' '; 5 << 20]), 413),
    ] {
        let mut stream = TcpStream::connect(stand.internal).await.unwrap();
        stream.write_all(&event()).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, 200, "{what}");
        let _ = stream.write_all(&[bytes, event()].concat()).await;
        assert_eq!(answer(&mut stream).await.0, status, "{what}");
        assert_eq!(answer(&mut stream).await.0, 0, "{what}: nothing comes after it");
        ann.expect("event").await;
    }
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test]
async fn a_post_that_is_no_delivery_is_refused() {
    let stand = stand().await;
    let _ann = stand.welcomed("ann").await;
    let signed = Signer::new(stand.key(), stand.boot()).sign("POST", DELIVER_PATH, b"{}", now_ms());
    for odd in ["transfer-encoding: chunked", "expect: 100-continue\r\ncontent-length: 2"] {
        let head = format!("POST {DELIVER_PATH} HTTP/1.1\r\n{SIGNED_HEADER}: {signed}\r\n{odd}\r\n\r\n");
        assert_eq!(stand.say(head.as_bytes()).await.0, 401, "{odd}: before its body");
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
