//! Peers that are hostile, or that speak the protocol badly.

mod support;

use std::net::SocketAddr;
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

/// A connection that has asked for a websocket and has read nothing.
async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    stream
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
    let mut all = UPGRADE.as_bytes().to_vec();
    all.extend(frame(0x81, &hello));
    let (head, tail) = br#"{"op":"send","id":"1","type":"note.add","body":{}}"#.split_at(20);
    all.extend(frame(0x01, head));
    all.extend(frame(0x89, b"between"));
    all.extend(frame(0x80, tail));
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
        let mut stream = upgraded(stand.address).await;
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
    let mut stream = upgraded(stand.address).await;
    stream
        .write_all(&frame(0x81, json!({"op": "hello", "token": token("ann")}).to_string().as_bytes()))
        .await
        .unwrap();
    read_until(&mut stream, br#""op":"welcome""#).await;
    let mut flood: Vec<u8> = (0..60).flat_map(|_| frame(0x89, b"!ping!")).collect();
    flood.extend(frame(0x81, br#"{"op":"bye"}"#));
    stream.write_all(&flood).await.unwrap();
    let mut rest = Vec::new();
    soon("the end", stream.read_to_end(&mut rest)).await.unwrap();
    let pongs = rest.windows(6).filter(|window| window == b"!ping!").count();
    assert!((1..=8).contains(&pongs), "{pongs} pongs");
}

/// Frames that nothing answers: they cost as much to read.
#[tokio::test]
async fn too_many_frames_of_any_kind_are_not_read_for_a_while() {
    let slow = EdgeConfig { messages_per_second: 10, burst: 10, ..config() };
    for (what, one) in [
        ("pongs", frame(0x8a, b"")),
        ("acks", frame(0x81, br#"{"op":"ack","cursor":0}"#)),
        ("pings", frame(0x89, b"")),
        ("fragments", [frame(0x01, br#"{"op":"ack","#), frame(0x80, br#""cursor":0}"#)].concat()),
    ] {
        let stand = stand_with(slow.clone(), World::default()).await;
        stand.world.tables.add_user("ann");
        let mut stream = upgraded(stand.address).await;
        let hello = json!({"op": "hello", "token": token("ann")}).to_string();
        stream.write_all(&frame(0x81, hello.as_bytes())).await.unwrap();
        read_until(&mut stream, br#""op":"welcome""#).await;
        let (before, begun) = (stand.metrics.edge_frames_in.get(), std::time::Instant::now());
        let flood: Vec<u8> = std::iter::repeat_n(one, 20_000).flatten().collect();
        let written = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&flood)).await;
        until("it reads as many as may be", || stand.metrics.edge_frames_in.get() >= before + 130).await;
        let read = stand.metrics.edge_frames_in.get() - before;
        let allowed = 32.0 + 80.0 + 80.0 * begun.elapsed().as_secs_f64();
        assert!(read as f64 <= allowed + 2.0, "{what}: {read} were read, {allowed} may be; {written:?}");
    }
}

/// A deadline that the client's own frames put off would be none.
#[tokio::test]
async fn nothing_puts_off_the_deadline_of_hello() {
    let quick = EdgeConfig { hello_timeout: Duration::from_millis(400), ..config() };
    let stand = stand_with(quick, World::default()).await;
    for (what, one) in [
        ("pings", frame(0x89, b"")),
        ("pongs", frame(0x8a, b"")),
        ("bad frames", frame(0x81, b"junk")),
        ("nothing", Vec::new()),
    ] {
        let mut stream = upgraded(stand.address).await;
        let begun = std::time::Instant::now();
        let mut seen = Vec::new();
        while !seen.windows(2).any(|two| two == 4007_u16.to_be_bytes()) {
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: it may stay");
            let mut buffer = [0; 1024];
            match tokio::time::timeout(Duration::from_millis(100), stream.read(&mut buffer)).await {
                Ok(read) => seen.extend_from_slice(&buffer[..read.unwrap()]),
                Err(_nothing_came) => stream.write_all(&one).await.unwrap(),
            }
        }
        assert!(begun.elapsed() >= Duration::from_millis(390), "{what}: too early");
    }
}

#[tokio::test]
async fn before_hello_there_are_no_fragments_and_no_large_frames() {
    let stand = stand().await;
    for (what, bytes) in [
        ("a fragment", frame(0x01, b"{")),
        ("a large frame", frame(0x81, &vec![b' '; 7 * 1024])),
        ("the head of one", frame(0x81, &vec![b' '; 7 * 1024])[..8].to_vec()),
    ] {
        let mut stream = upgraded(stand.address).await;
        stream.write_all(&bytes).await.unwrap();
        read_until(&mut stream, &4501_u16.to_be_bytes()).await;
        println!("{what} closes");
    }
}

/// Sockets that never say who they are cannot fill an edge.
#[tokio::test]
async fn silent_sockets_lock_nobody_out() {
    let stand = stand_with(EdgeConfig { max_sockets: 60, ..config() }, World::default()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = upgraded(stand.address).await;
        read_until(&mut stream, b"\r\n\r\n").await;
        silent.push(stream);
    }
    until("the oldest are gone", || stand.metrics.edge_sockets.get() <= 16).await;
    for n in 0..40 {
        stand.welcomed(&format!("user{n}")).await;
    }
    let mut last = silent.pop().unwrap();
    stand.world.tables.add_user("late");
    let hello = json!({"op": "hello", "token": token("late")}).to_string();
    last.write_all(&frame(0x81, hello.as_bytes())).await.unwrap();
    read_until(&mut last, br#""op":"welcome""#).await;
    let mut first = silent.swap_remove(0);
    read_until(&mut first, &4418_u16.to_be_bytes()).await;
}

/// The request for a websocket as a proxy brings it, from somebody at `address`.
fn brought(address: &str) -> String {
    UPGRADE.replacen("host: x\r\n", &format!("host: x\r\nx-forwarded-for: {address}\r\n"), 1)
}

/// Behind one proxy, as balancers are.
fn behind_a_proxy() -> EdgeConfig {
    EdgeConfig { proxies: 1, ..config() }
}

/// The silent sockets of one address cannot take the places of others who are about to say `hello`.
#[tokio::test]
async fn one_address_cannot_turn_others_away_before_their_hello() {
    let stand = stand_with(EdgeConfig { max_sockets: 600, ..behind_a_proxy() }, World::default()).await;
    let open = async |address: &str| {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        stream.write_all(brought(address).as_bytes()).await.unwrap();
        read_until(&mut stream, b"\r\n\r\n").await;
        stream
    };
    let mut polite = open("192.0.2.1").await;
    let mut greedy = Vec::new();
    for n in 0..300 {
        // The addresses of one household.
        greedy.push(open(&format!("2001:db8::{n:x}")).await);
    }
    until("many of them are gone", || stand.metrics.edge_sockets.get() <= 80).await;
    stand.world.tables.add_user("ann");
    let hello = json!({"op": "hello", "token": token("ann")}).to_string();
    polite.write_all(&frame(0x81, hello.as_bytes())).await.unwrap();
    read_until(&mut polite, br#""op":"welcome""#).await;
}

#[tokio::test]
async fn an_address_asks_for_websockets_only_so_often_whatever_its_token() {
    let slow = EdgeConfig { upgrades_per_address: 1, ..behind_a_proxy() };
    let stand = stand_with(slow, World::default()).await;
    let ask = async |address: &str, more: &str| {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        let request = brought(address).replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1);
        stream.write_all(request.as_bytes()).await.unwrap();
        String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await).unwrap()
    };
    let answers = futures_util::future::join_all((0..30).map(|_| ask("192.0.2.1", ""))).await;
    let passed = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 101")).count();
    assert!((10..=12).contains(&passed), "{passed} at once");
    let bad = ask("192.0.2.1", "authorization: Bearer junk\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 429") && bad.contains("retry-after: "), "before its token: {bad}");
    // A head that does not come at once is read by HTTP, and judged in the same way.
    let mut torn = TcpStream::connect(stand.address).await.unwrap();
    torn.set_nodelay(true).unwrap();
    let request = brought("192.0.2.1");
    for part in [&request[..20], &request[20..]] {
        torn.write_all(part.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(read_until(&mut torn, b"\r\n\r\n").await.starts_with(b"HTTP/1.1 429"));
    assert!(ask("192.0.2.2", "").await.starts_with("HTTP/1.1 101"), "another address");
    let forged = ask("192.0.2.3, 192.0.2.1", "").await;
    assert!(forged.starts_with("HTTP/1.1 429"), "what a client wrote itself is not believed: {forged}");
    assert!(stand.metrics.edge_upgrades_refused.get() >= 20);
}

#[tokio::test]
async fn a_user_says_hello_only_so_often_and_others_are_not_kept_from_it() {
    let stand =
        stand_with(EdgeConfig { messages_per_second: 20, burst: 50, ..config() }, World::default()).await;
    let mut refused = None;
    for n in 0..20 {
        stand.world.tables.add_user("ann");
        let mut socket = stand.connect().await;
        socket.hello(&token("ann")).await;
        match socket.see().await {
            Seen::Closed(4418, reason) => {
                refused = Some((n, reason));
                break;
            }
            Seen::Frame(frame) => assert_eq!(frame["op"], "welcome"),
            other => panic!("{other:?}"),
        }
        socket.send(&json!({"op": "bye"})).await;
        socket.closed().await;
    }
    let (welcomed, reason) = refused.expect("it was refused at last");
    assert!((10..=14).contains(&welcomed), "{welcomed} at once");
    assert!(reason.contains("retry_after_ms"), "{reason}");
    stand.welcomed("bob").await;
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
