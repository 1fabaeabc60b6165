//! `up --lan`: phones and emulators are let in, and developers' pages want a pairing secret of them.

mod support;

use std::net::UdpSocket;

use serde_json::{Value, json};
use support::web::{Answer, Exchange, web};
use support::{Server, tokens};

const JSON: (&str, &str) = ("content-type", "application/json");

/// This machine's address in a network; `None`, loudly, where there is none.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel only says which address it would send from.
    let found = socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr());
    let Some(address) = found.ok().filter(|address| !address.ip().is_loopback()) else {
        println!("!! SKIPPED: what phones may do (soundoff/tests/lan.rs); this machine is in no network");
        return None;
    };
    Some(address.ip().to_string())
}

/// What `up` has printed after a word of its greeting.
fn printed<'a>(server: &'a Server, word: &str) -> &'a str {
    let mut lines = server.greeting.iter().map(|line| line.trim());
    let line = lines.find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("{:?}", server.greeting));
    line.split_whitespace().nth(1).unwrap()
}

fn port(server: &Server) -> &str {
    server.address.rsplit_once(':').unwrap().1
}

/// A GET at `path` over loopback, for a host of another name.
async fn asked_as(server: &Server, host: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    Exchange::raw(&server.address, &request).await.answer().await
}

/// What developers may ask for.
const DEVELOPERS: [(&str, &str); 5] = [
    ("POST /dev/tokens", r#"{"handles":["ann"]}"#),
    ("GET /dev/outbox", ""),
    ("GET /ops/data", ""),
    ("POST /ops/letters", r#"{"queue":"post_get_q"}"#),
    ("POST /ops/gate", r#"{"close":{"reason":"","for_s":1}}"#),
];

async fn developer(phone: &str, what: (&str, &str), secret: Option<&str>) -> Answer {
    let origin = format!("http://{phone}");
    let mut headers = vec![JSON, ("origin", &*origin)];
    headers.extend(secret.map(|secret| ("soundoff-pairing", secret)));
    web(phone, what.0, &headers, what.1.as_bytes()).await
}

#[tokio::test]
async fn without_it_only_this_machine_gets_in_and_an_emulator_is_told_what_to_do() {
    let server = Server::start(&[]);
    for host in ["10.0.2.2:8080", "192.168.1.20", "[fd00::1]:8080"] {
        let answer = asked_as(&server, host, "/v1/auth/ways").await;
        assert_eq!((answer.status, &*answer.code()), (421, "forbidden"), "{host}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("up --lan"), "{answer:?}");
    }
    let answer = asked_as(&server, "evil.example", "/v1/auth/ways").await;
    assert_eq!(answer.status, 421);
    assert!(!answer.json()["detail"].as_str().unwrap().contains("--lan"), "it would not help: {answer:?}");
    assert!(!server.greeting.concat().contains("pair"), "{:?}", server.greeting);
    if let Some(own) = own_address() {
        let other = tokio::net::TcpStream::connect(format!("{own}:{}", port(&server))).await;
        assert!(other.is_err(), "it listens on loopback only");
    }
}

#[tokio::test]
async fn an_address_is_a_host_and_a_name_is_none() {
    let server = Server::start(&["--lan"]);
    for host in ["10.0.2.2:8080", "192.168.1.20", "[fd00::1]:8080", "localhost:1", &server.address] {
        assert_eq!(asked_as(&server, host, "/v1/auth/ways").await.status, 200, "{host}");
        assert_eq!(asked_as(&server, host, "/dev/outbox").await.status, 200, "{host}: it is on this machine");
    }
    for host in
        ["evil.example", "evil.example:8080", "192.168.1.20.evil.example", "localhost.evil.example", ""]
    {
        for path in ["/v1/auth/ways", "/dev/outbox", "/"] {
            let answer = asked_as(&server, host, path).await;
            assert_eq!((answer.status, &*answer.code()), (421, "forbidden"), "{host} {path}");
        }
    }
    let proxied = [("x-forwarded-for", "192.0.2.7")];
    let answer = web(&server.address, "GET /dev/outbox", &proxied, b"").await;
    assert_eq!((answer.status, &*answer.code()), (401, "unpaired"), "a proxy on this machine lets others in");
}

#[tokio::test]
async fn a_phone_uses_all_of_it_and_developers_pages_once_it_is_paired() {
    let Some(own) = own_address() else { return };
    let mut server = Server::start(&["--lan", "--log", "trace"]);
    let phone = format!("{own}:{}", port(&server));
    let secret = printed(&server, "pairing").to_owned();
    assert_eq!(printed(&server, "phone"), format!("http://{phone}/#pair={secret}"));
    assert_eq!(printed(&server, "open"), format!("http://{}/", server.address));

    for path in
        ["/", "/app/main.js", "/console", "/console/console.js", "/ops", "/ops/ops.js", "/v1/auth/ways"]
    {
        assert_eq!(web(&phone, &format!("GET {path}"), &[], b"").await.status, 200, "{path}");
    }
    for what in DEVELOPERS {
        for shown in [None, Some("WRONG-WRONG"), Some(&secret[1..])] {
            let refused = developer(&phone, what, shown).await;
            assert_eq!((refused.status, &*refused.code()), (401, "unpaired"), "{what:?} {shown:?}");
            assert_eq!(refused.header("www-authenticate"), "SoundOff-Pairing");
            assert!(refused.json()["detail"].as_str().unwrap().contains("up --lan"), "{refused:?}");
        }
        let typed = format!("{}-{}", &secret[..6], &secret[6..]).to_lowercase();
        for shown in [&secret, &typed] {
            let answer = developer(&phone, what, Some(shown)).await;
            assert_eq!(answer.status, 200, "{what:?} {shown}: {answer:?}");
        }
    }
    let with = developer(&phone, DEVELOPERS[0], Some(&secret)).await.json();
    let hello = support::client::Client::try_hello(&phone, &with["tokens"]["ann"], None, None).await;
    assert_eq!(hello.unwrap_or_else(|next| panic!("{next:?}")).welcome["user"], "ann");

    // What is logged once, so that there is a log.
    web(&phone, "GET /dev/outbox", &[("x-forwarded-for", "192.0.2.7"), ("soundoff-pairing", &secret)], b"")
        .await;
    let begun = std::time::Instant::now();
    while !server.log().contains("X-Forwarded-For") {
        assert!(begun.elapsed() < support::PATIENCE, "no log: {}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    server.restart();
    assert_eq!(printed(&server, "pairing"), secret, "a phone stays paired");
    let log = server.log();
    let is_told = |text: &str| log.to_lowercase().contains(&text.to_lowercase());
    assert!(!is_told(&secret) && !is_told("WRONG-WRONG"), "{log}");
}

#[tokio::test]
async fn pages_of_the_address_may_ask_it_and_pages_of_names_may_not() {
    let Some(own) = own_address() else { return };
    let server = Server::start(&["--lan", "--origins", "https://app.example.org"]);
    let phone = format!("{own}:{}", port(&server));
    let start = async |host: &str, origin: &str| {
        let body = json!({ "email": "a@example.org" }).to_string();
        let answer =
            web(host, "POST /v1/auth/email/start", &[JSON, ("origin", origin)], body.as_bytes()).await;
        (answer.status, answer.header("access-control-allow-origin") == origin)
    };
    let upgraded = async |origin: &str| {
        let headers = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", origin),
        ];
        let answer = Exchange::begin(&phone, "GET /v1/ws", &headers).await.some(64).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().to_owned()
    };
    let page = format!("http://{phone}");
    for origin in [&*page, &format!("http://{own}:5173"), "https://app.example.org", "http://localhost:5173"]
    {
        let (status, is_allowed) = start(&phone, origin).await;
        assert!(matches!(status, 202 | 429) && is_allowed, "{origin}: {status}");
        assert_eq!(upgraded(origin).await, "101", "{origin}");
    }
    for origin in
        ["http://evil.example", "http://198.51.100.7:8080", &format!("http://{own}.evil.example"), "null"]
    {
        assert_eq!(start(&phone, origin).await, (403, false), "{origin}");
        assert_eq!(upgraded(origin).await, "403", "{origin}");
    }
    assert_eq!(
        start(&server.address, &page).await,
        (403, false),
        "another address than the one that is asked"
    );
}

#[tokio::test]
async fn nobody_guesses_for_long_and_this_machine_goes_on() {
    let Some(own) = own_address() else { return };
    let server = Server::start(&["--listen", &format!("{own}:0"), "--lan"]);
    assert_eq!(server.address.rsplit_once(':').unwrap().0, own, "the address that was given");
    let secret = printed(&server, "pairing");
    let outbox = async |secret: &str| {
        let answer = developer(&server.address, ("GET /dev/outbox", ""), Some(secret)).await;
        (answer.status, answer.json()["detail"].as_str().map(str::to_owned))
    };
    assert_eq!(outbox(secret).await.0, 200);
    for n in 0..20 {
        let (status, detail) = outbox(&format!("GUESS{n}")).await;
        assert!(status == 401 && detail.unwrap().contains("is not the pairing secret"), "{n}");
    }
    let (status, detail) = outbox(secret).await;
    assert!(status == 401 && detail.clone().unwrap().contains("too many"), "{detail:?}");

    let everywhere = Server::start(&["--lan"]);
    let phone = format!("{own}:{}", port(&everywhere));
    for _ in 0..25 {
        developer(&phone, ("GET /dev/outbox", ""), Some("GUESS")).await;
    }
    let given: Value = tokens(&everywhere.address, &["ann"]).await;
    assert!(given["ann"].is_string(), "who is on this machine needs no secret");
}
