//! The internal port while somebody who reaches it, and has no key, does what he can.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use soundoff_common::pipeline::deliver::{DELIVER_PATH, SIGNED_HEADER, Signer};
use soundoff_common::protocol::now_ms;
use soundoff_common::telemetry::ReasonLabel;
use support::{Stand, answer, event_of, http, plain, push_of, soon, stand, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Much less than any deadline of the port, and more than a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The memory of this process, in MiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}

fn body(deliveries: &[Value]) -> Vec<u8> {
    json!({ "deliveries": deliveries }).to_string().into_bytes()
}

/// Connections that say this and no more.
async fn open(stand: &Stand, many: usize, say: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(many);
    for _ in 0..many {
        let mut stream = soon("a connection", TcpStream::connect(stand.internal)).await.unwrap();
        stream.write_all(say).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// A worker with a connection of its own is served at once, and so are one that comes later and a probe of health.
async fn served_at_once(stand: &Stand, kept: &mut TcpStream) {
    let begun = Instant::now();
    kept.write_all(&stand.signed(&body(&[event_of("ann", &json!({}))]))).await.unwrap();
    assert_eq!(answer(kept).await.0, 200, "a kept connection");
    assert_eq!(stand.post(&[event_of("ann", &json!({}))]).await.0, 200, "a new connection");
    assert_eq!(http(stand.internal, "GET /healthz HTTP/1.1", b"").await.0, 200);
    assert!(http(stand.internal, "GET /metrics HTTP/1.1", b"").await.2.contains("soundoff_edge_sockets"));
    assert!(begun.elapsed() < AT_ONCE, "served after {:?}", begun.elapsed());
}

async fn worker(stand: &Stand) -> TcpStream {
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    stream.write_all(&stand.signed(&body(&[]))).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    stream
}

fn closed(stand: &Stand, reason: &'static str) -> u64 {
    stand.metrics.edge_internal_closed.get_or_create(&ReasonLabel { reason }).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_bodies_are_refused_by_their_heads_and_take_no_memory() {
    let stand = stand().await;
    let _ann = stand.welcomed("ann").await;
    let mut kept = worker(&stand).await;
    let heads = [
        "content-length: 4194304\r\n\r\n".to_owned(),
        "transfer-encoding: chunked\r\n\r\n200000\r\n".to_owned(),
        format!("{SIGNED_HEADER}: {} 1 1 {} x x\r\ncontent-length: 4194304\r\n\r\n", stand.boot(), now_ms()),
    ];
    let before = resident();
    let mut sending = tokio::task::JoinSet::new();
    for n in 0..201 {
        let (internal, head) = (stand.internal, heads[n % 3].clone());
        sending.spawn(async move {
            let mut stream = TcpStream::connect(internal).await.unwrap();
            stream.write_all(format!("POST {DELIVER_PATH} HTTP/1.1\r\n{head}").as_bytes()).await.unwrap();
            // Most of a body, and never all of it.
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&BODY)).await;
            let begun = Instant::now();
            let status = answer(&mut stream).await.0;
            (stream, status, begun.elapsed())
        });
    }
    let mut refused = Vec::new();
    let mut most = 0;
    while let Some(ended) = sending.join_next().await {
        most = most.max(resident());
        refused.push(ended.unwrap());
    }
    for (_, status, after) in &refused {
        // A reset may overtake the answer of one who goes on sending.
        assert!(matches!(status, 401 | 0), "{status}");
        assert!(*after < AT_ONCE, "after {after:?}");
    }
    assert!(refused.iter().filter(|(_, status, _)| *status == 401).count() > 190);
    assert!(most < before + 64, "{before} MiB, and then {most} MiB");
    served_at_once(&stand, &mut kept).await;
}

static BODY: [u8; 4_000_000] = [b' '; 4_000_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_make_nobody_wait() {
    let stand = stand().await;
    let _ann = stand.welcomed("ann").await;
    let mut kept = worker(&stand).await;
    let silent = open(&stand, 5_000, b"").await;
    served_at_once(&stand, &mut kept).await;
    until("the oldest went", || closed(&stand, "crowded") >= 5_000 - 512 - 100).await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_sends_puts_nothing_off() {
    let stand = stand().await;
    let _ann = stand.welcomed("ann").await;
    let mut kept = worker(&stand).await;
    let begun = Instant::now();
    let heads = ["GET /metrics HTTP/1.1\r\nx: ", "POST /deliver HTTP/1.1\r\nx: "];
    let mut dripping = tokio::task::JoinSet::new();
    for n in 0..600 {
        let internal = stand.internal;
        dripping.spawn(async move {
            let mut stream = TcpStream::connect(internal).await.unwrap();
            stream.write_all(heads[n % 2].as_bytes()).await.unwrap();
            loop {
                let mut end = [0; 16];
                // Sending slowly is the attack.
                let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut end)).await;
                if matches!(read, Ok(Ok(0) | Err(_))) || stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
    }
    served_at_once(&stand, &mut kept).await;
    soon("all are closed", async { while dripping.join_next().await.is_some() {} }).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "after {:?}", begun.elapsed());
    assert!(closed(&stand, "late") > 100);
    // And what the worker has said counts: its deadline is another one.
    served_at_once(&stand, &mut kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_of_health_are_no_way_to_keep_a_place() {
    let stand = stand().await;
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    let probe = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(&probe.repeat(2)).await.unwrap();
    assert_eq!(answer(&mut stream).await, (200, "ok\n".to_owned()));
    assert_eq!(answer(&mut stream).await.0, 0, "one answer a connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_body_may_be_slow_and_must_be_the_one_that_was_signed() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let good = body(&[event_of("ann", &json!("good"))]);
    let mut other = good.clone();
    let at = good.len() - 10;
    other[at] ^= 1;
    let mut signed = stand.signed(&good);
    signed.truncate(signed.len() - good.len());
    assert_eq!(stand.say(&[&signed[..], &other].concat()).await.0, 401, "another body under a good head");
    assert_eq!(stand.say(&[&signed[..], &good].concat()).await.0, 401, "a head is good once");
    // A body that breaks off, and one that is longer than signed.
    let mut torn = stand.signed(&good);
    torn.pop();
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    stream.write_all(&torn).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 0);
    let longer = [stand.signed(&good), b" ".to_vec()].concat();
    assert_eq!(stand.say(&longer).await.0, 200, "the rest is the beginning of the next");
    assert_eq!(ann.expect("event").await["body"], "good");
    // Slowly: in pieces, over more than the time that a stranger has.
    let request = stand.signed(&body(&[event_of("ann", &json!("x".repeat(600)))]));
    let mut stream = TcpStream::connect(stand.internal).await.unwrap();
    for piece in request.chunks(request.len() / 12) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(answer(&mut stream).await.0, 200);
    ann.expect("event").await;
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_not_taken_again() {
    let stand = stand().await;
    let of = |kind: &str, user: &str| json!({"kind": kind, "to": [user]});
    for (kind, delivery) in [
        ("event", event_of("event", &json!({}))),
        ("reply", json!({"kind": "reply", "to": ["reply"], "frame": {"op": "reply", "id": "1"}})),
        ("push", push_of("push", 1, "p")),
        ("probe", of("probe", "probe")),
        ("revoke", of("revoke", "revoke")),
        ("renew", of("renew", "renew")),
        ("replace", of("replace", "replace")),
    ] {
        let mut old = stand.welcomed(kind).await;
        let mut delivery = delivery;
        if kind == "push" {
            stand.world.tables.append(kind, "p").await;
        }
        if kind == "replace" {
            // The number of its socket; a later one must not be closed by it either.
            let registered = stand.world.sessions.all();
            let of_user = registered.iter().find(|(user, _)| user.as_str() == kind).unwrap();
            delivery["connection"] = json!(of_user.1.connection);
        }
        let request = stand.signed(&body(&[delivery]));
        assert_eq!(stand.say(&request).await.0, 200, "{kind}");
        if kind != "probe" {
            old.see().await;
        }
        let mut new = stand.welcomed(kind).await;
        let delivered = stand.metrics.edge_deliveries.get();
        let mut stream = worker(&stand).await;
        for _ in 0..3 {
            assert_eq!(stand.say(&request).await.0, 401, "{kind} on another connection");
        }
        stream.write_all(&request).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, 401, "{kind} on a connection of a worker");
        assert_eq!(stand.metrics.edge_deliveries.get(), delivered, "{kind}");
        assert!(new.before_pong().await.is_empty(), "{kind}");
    }
    assert_eq!(stand.metrics.edge_repeated_requests.get(), 7 * 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_edge_has_taken_is_not_for_another() {
    let (one, two) = (stand().await, stand().await);
    let (_ann, mut bob) = (one.welcomed("ann").await, two.welcomed("ann").await);
    let request = one.signed(&body(&[event_of("ann", &json!({}))]));
    assert_eq!(two.say(&request).await.0, 409, "another process");
    assert_eq!(one.say(&request).await.0, 200);
    assert!(bob.before_pong().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_sender_may_overtake_each_other() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    let signer = Signer::new(stand.key(), stand.boot());
    let requests: Vec<Vec<u8>> = (0..20)
        .map(|n| {
            let body = body(&[event_of("ann", &json!(n))]);
            plain(&signer.sign("POST", DELIVER_PATH, &body, now_ms()), &body)
        })
        .collect();
    for request in requests.iter().rev() {
        assert_eq!(stand.say(request).await.0, 200);
    }
    for n in (0..20).rev() {
        assert_eq!(ann.expect("event").await["body"], n);
    }
    assert_eq!(stand.say(&requests[7]).await.0, 401);
}
