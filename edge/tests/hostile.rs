//! Peers that are hostile, or that speak the protocol badly.

mod support;

use std::time::Duration;

use serde_json::json;
use soundoff_edge::EdgeConfig;
use support::client::Seen;
use support::ports::FAULTY;
use support::{World, config, http, soon, stand, stand_with, token, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: a, soundoff.v1\r\n\r\n";

/// A masked frame, as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.windows(end.len()).any(|window| window == end) {
        let n = soon("more bytes", stream.read(&mut buffer)).await.unwrap();
        assert!(
            n > 0,
            "ended before {:?}: {:?}",
            String::from_utf8_lossy(end),
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&buffer[..n]);
    }
    seen
}

#[tokio::test]
async fn frames_behind_the_upgrade_fragments_and_single_bytes_are_all_read() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    let hello = json!({"op": "hello", "token": token("ann")}).to_string().into_bytes();
    let (head, tail) = hello.split_at(20);
    let mut all = UPGRADE.as_bytes().to_vec();
    all.extend(frame(0x01, head));
    all.extend(frame(0x89, b"between"));
    all.extend(frame(0x80, tail));
    all.extend(frame(0x81, br#"{"op":"send","id":"1","type":"note.add","body":{}}"#));
    let mut at_once = TcpStream::connect(stand.address).await.unwrap();
    at_once.write_all(&all).await.unwrap();
    let answer = read_until(&mut at_once, br#""op":"accepted""#).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("sec-websocket-protocol: soundoff.v1"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(answer.contains("between") && answer.contains(r#""op":"welcome""#), "{answer}");
    let mut slowly = TcpStream::connect(stand.address).await.unwrap();
    slowly.set_nodelay(true).unwrap();
    for byte in &all {
        slowly.write_all(std::slice::from_ref(byte)).await.unwrap();
    }
    read_until(&mut slowly, br#""op":"accepted""#).await;
}

#[tokio::test]
async fn bytes_that_are_no_websocket_close_4501() {
    let stand = stand().await;
    let bad = [
        vec![0x81, 0x01, b'x'],
        frame(0xc1, b"{}"),
        frame(0x83, b"{}"),
        frame(0x80, b"{}"),
        frame(0x81, &[0xff]),
        frame(0x09, b"torn ping"),
        frame(0x88, &[3]),
        vec![0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for bytes in bad {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        stream.write_all(UPGRADE.as_bytes()).await.unwrap();
        read_until(&mut stream, b"\r\n\r\n").await;
        stream.write_all(&bytes).await.unwrap();
        // If the edge hung up while bytes are still coming, the connection would be reset, and the close might never be
        // read.
        stream.write_all(&vec![0; 500_000]).await.unwrap();
        let mut rest = Vec::new();
        soon("the end", stream.read_to_end(&mut rest)).await.expect("an orderly end");
        assert_eq!(rest[0], 0x88, "{bytes:?}");
        assert_eq!(rest[2..4], 4501u16.to_be_bytes(), "{bytes:?}");
    }
    until("all are gone", || stand.metrics.edge_sockets.get() == 0).await;
}

#[tokio::test]
async fn an_endless_handshake_and_a_huge_header_are_cut_off() {
    let quick = EdgeConfig { hello_timeout: Duration::from_millis(100), ..config() };
    let stand = stand_with(quick, World::default()).await;
    for begun in ["", "GET /v1/ws HTTP/1.1\r\nhost: x\r\nx-y: "] {
        let mut slow = TcpStream::connect(stand.address).await.unwrap();
        slow.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = soon("the end", slow.read_to_end(&mut rest)).await;
    }
    let bomb = format!("GET /v1/ws HTTP/1.1\r\nx: {}", "y".repeat(200 * 1024));
    let many = format!("GET /v1/ws HTTP/1.1{}", "\r\nx: y".repeat(500));
    for head in [bomb, many] {
        let status = http(stand.address, &head, b"").await.0;
        assert!(status == 431 || status == 400 || status == 0, "{status}");
    }
    assert_eq!(http(stand.address, "GET /v1/ws HTTP/1.1", b"").await.0, 426);
    assert_eq!(http(stand.address, "GET /other HTTP/1.1", b"").await.2, "page GET /other");
}

#[tokio::test]
async fn a_flood_of_pings_gets_few_pongs() {
    let slow = EdgeConfig { messages_per_second: 1, burst: 5, ..config() };
    let stand = stand_with(slow, World::default()).await;
    stand.world.tables.add_user("ann");
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    stream
        .write_all(&frame(0x81, json!({"op": "hello", "token": token("ann")}).to_string().as_bytes()))
        .await
        .unwrap();
    read_until(&mut stream, br#""op":"welcome""#).await;
    let mut flood: Vec<u8> = (0..2000).flat_map(|_| frame(0x89, b"!ping!")).collect();
    flood.extend(frame(0x81, br#"{"op":"bye"}"#));
    stream.write_all(&flood).await.unwrap();
    let mut rest = Vec::new();
    soon("the end", stream.read_to_end(&mut rest)).await.unwrap();
    let pongs = rest.windows(6).filter(|window| window == b"!ping!").count();
    assert!((1..50).contains(&pongs), "{pongs} pongs");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_not_read_either() {
    let tight = EdgeConfig { out_bytes: 8 * 1024, out_frames: 64, burst: 1_000_000, ..config() };
    let stand = stand_with(tight, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    let junk = json!({"op": "send", "id": "x".repeat(64), "type": "no.such", "body": {}}).to_string();
    let mut lines = Vec::new();
    for _ in 0..200_000 {
        lines.extend(frame(0x81, junk.as_bytes()));
    }
    // Not all of it can be written, because the edge stops reading; what it has read is answered as soon as she reads.
    let writing = ann.socket.get_mut().write_all(&lines);
    assert!(tokio::time::timeout(Duration::from_millis(500), writing).await.is_err(), "the edge read it all");
    assert_eq!(stand.metrics.edge_sockets.get(), 1, "and did not close her socket");
    ann.refused("unknown_type").await;
}

#[tokio::test]
async fn a_panic_at_one_socket_ends_no_other() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    let mut healthy = stand.welcomed("ann").await;
    for _ in 0..8 {
        let mut faulty = stand.connect().await;
        faulty.hello(&token(FAULTY)).await;
        assert_eq!(faulty.see().await, Seen::Cut);
    }
    healthy.send(&json!({"op": "ping"})).await;
    assert_eq!(healthy.frame().await["op"], "pong");
    until("the faulty ones are forgotten", || stand.metrics.edge_sockets.get() == 1).await;
}
