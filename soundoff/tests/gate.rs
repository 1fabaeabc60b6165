//! Maintenance and readmission: `soundoff gate`.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::client::{Client, Next};
use support::{PATIENCE, Server, http, tokens};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Somebody who comes through our proxy.
#[derive(Clone)]
struct Guest {
    address: String,
    country: &'static str,
    app: &'static str,
    token: String,
}

/// What came of one try.
#[derive(Debug)]
enum Tried {
    Welcome,
    /// 4418, with its reason.
    Later(Value),
}

impl Guest {
    async fn try_once(&self, server: &str) -> Tried {
        let stream = TcpStream::connect(server).await.unwrap();
        let mut request = format!("ws://{server}/v1/ws").into_client_request().unwrap();
        let offered = format!("soundoff.v1, app.{}", self.app);
        for (name, value) in [
            ("x-forwarded-for", &*self.address),
            ("x-country", self.country),
            ("sec-websocket-protocol", &offered),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let hello = json!({ "op": "hello", "token": self.token }).to_string();
        // It may be closed already.
        let _ = socket.send(Message::text(hello)).await;
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer") {
            Some(Ok(Message::Text(text))) if text.contains("welcome") => Tried::Welcome,
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 4418, "{frame}");
                Tried::Later(serde_json::from_str(&frame.reason).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Comes again when it is told, until it is let in. Returns when that was, since `begun`, and after how many tries.
    async fn come(&self, server: &str, begun: Instant) -> (Duration, u32) {
        for tries in 1..10 {
            let at = begun.elapsed();
            match self.try_once(server).await {
                Tried::Welcome => return (at, tries),
                Tried::Later(reason) => {
                    let wait = reason["retry_after_ms"].as_u64().unwrap();
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        panic!("never let in");
    }
}

/// So many guests from addresses of their own; each of a few users.
async fn guests(server: &Server, count: u32) -> Vec<Guest> {
    let names: Vec<_> = (0..count.div_ceil(5)).map(|n| format!("guest{n}")).collect();
    let mut all = Vec::new();
    for part in names.chunks(500) {
        let part: Vec<_> = part.iter().map(String::as_str).collect();
        let tokens = tokens(&server.address, &part).await;
        all.extend(part.iter().map(|name| tokens[*name].as_str().unwrap().to_owned()));
    }
    let guest = |n: u32| Guest {
        address: std::net::Ipv4Addr::from(0x2000_0000 + n * 257).to_string(),
        country: if n.is_multiple_of(4) { "gb" } else { "fr" },
        app: if n % 4 == 1 { "ios-5.2" } else { "web-1" },
        token: all[(n / 5) as usize].clone(),
    };
    (0..count).map(guest).collect()
}

/// All come at once; returns when each was let in, and how many tries it took in all.
async fn all_come(server: &Server, guests: &[Guest], begun: Instant) -> (Vec<Duration>, u32) {
    let mut coming = tokio::task::JoinSet::new();
    for (n, guest) in guests.iter().cloned().enumerate() {
        let address = server.address.clone();
        coming.spawn(async move { (n, guest.come(&address, begun).await) });
        if n.is_multiple_of(50) {
            // All within the first seconds, and not faster than this machine can connect.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (mut at, mut tries) = (vec![Duration::ZERO; guests.len()], 0);
    for (n, (when, tried)) in coming.join_all().await {
        (at[n], tries) = (when, tries + tried);
    }
    (at, tries)
}

fn behind_a_proxy() -> Server {
    Server::start(&["--edges", "2", "--proxies", "1", "--country-header", "X-Country"])
}

/// Waits until the process has heard that the gate is closed.
async fn until_closed(server: &Server) {
    until(server, "it does not close", |status, _| status == 418).await;
}

/// The same for a gate that opens: its edges share what the process knows.
async fn until_opening(server: &Server) {
    let opens = |status, said: &str| status != 418 || said.contains("little by little");
    until(server, "it does not open", opens).await;
}

async fn until(server: &Server, never: &str, is_so: impl Fn(u16, &str) -> bool) {
    let begun = Instant::now();
    loop {
        let (status, said) = http(&server.address, "GET", "/v1/auth/keys", "").await;
        if is_so(status, &said) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{never}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_gate_turns_all_away_and_says_why_and_lets_them_in_again() {
    let mut server = behind_a_proxy();
    let [guest] = &guests(&server, 1).await[..] else { panic!("one guest") };
    let all = tokens(&server.address, &["ann"]).await;
    let mut ann = Client::hello(&server.address, &all["ann"], None, None).await;
    assert_eq!(server.command(&["gate", "status"]).trim(), "open to all");
    server.command(&["gate", "close", "--reason", "new disks", "--for", "10m"]);
    let Err(Next::Closed(4418, reason)) = ann.until(|_| false).await else { panic!("she stays") };
    let reason: Value = serde_json::from_str(&reason).unwrap();
    assert_eq!(reason["reason"], "new disks");
    assert!((590_000..=670_000).contains(&reason["retry_after_ms"].as_u64().unwrap()), "{reason}");
    let Tried::Later(reason) = guest.try_once(&server.address).await else { panic!("let in") };
    assert_eq!(reason["reason"], "new disks");
    let forged = Guest { token: "junk".into(), ..guest.clone() };
    assert!(matches!(forged.try_once(&server.address).await, Tried::Later(_)), "no token is looked at");
    for path in ["/v1/auth/keys", "/v1/media/01K00000000000000000000000"] {
        let (status, problem) = http(&server.address, "GET", path, "").await;
        let problem: Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(
            (status, &problem["code"], &problem["detail"]),
            (418, &json!("closed"), &json!("new disks"))
        );
    }
    for path in ["/", "/ops"] {
        assert_eq!(http(&server.address, "GET", path, "").await.0, 200, "{path} is for all");
    }
    assert_eq!(server.internal("/healthz").await.0, 200);
    assert!(server.command(&["gate", "status"]).contains("closed since"));
    // It stays closed over a restart, from the first moment on.
    server.restart();
    assert!(matches!(guest.try_once(&server.address).await, Tried::Later(_)));
    server.command(&["gate", "open"]);
    let begun = Instant::now();
    while let Tried::Later(_) = guest.try_once(&server.address).await {
        assert!(begun.elapsed() < PATIENCE, "it does not open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.metric("soundoff_gate_refused_total").await >= 1.0);
}

/// Opens the gate to some countries and apps first; each guest must come in while those like them may.
async fn the_first_come_first(
    server: &Server,
    guests: &[Guest],
    first: &str,
    is_first: impl Fn(usize) -> bool,
) {
    server.command(&["gate", "close"]);
    until_closed(server).await;
    server.command(&["gate", "open", "--over", "6s", "--first", first]);
    let begun = Instant::now();
    until_opening(server).await;
    let (at, _) = all_come(server, guests, begun).await;
    for (n, at) in at.into_iter().enumerate() {
        if is_first(n) {
            assert!(at < Duration::from_millis(4_500), "{n} is first, and came in after {at:?}");
        } else {
            assert!(at > Duration::from_millis(2_900), "{n} is no first, and came in after {at:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_are_let_in_within_the_first_half() {
    let server = behind_a_proxy();
    let guests = guests(&server, 120).await;
    the_first_come_first(&server, &guests, "country=GB,app=ios", |n| n % 4 < 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_tells_the_country_of_an_address() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gate/countries.mmdb");
    let server = Server::start(&["--proxies", "1", "--country-file", file]);
    let networks = ["203.0.113.", "2001:db8::", "198.51.100.", "192.0.2."];
    let mut guests = guests(&server, 60).await;
    for (n, guest) in guests.iter_mut().enumerate() {
        // What the header says is not believed here.
        (guest.address, guest.app, guest.country) = (format!("{}{n}", networks[n % 4]), "web-1", "gb");
    }
    the_first_come_first(&server, &guests, "country=GB", |n| n % 4 < 2).await;
}

/// Five thousand clients who all come at the beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_comes_in_at_the_planned_rate_and_nobody_asks_three_times() {
    const COUNT: u32 = 5_000;
    let server = behind_a_proxy();
    let guests = guests(&server, COUNT).await;
    server.command(&["gate", "close"]);
    until_closed(&server).await;
    server.command(&["gate", "open", "--over", "20s"]);
    let begun = Instant::now();
    until_opening(&server).await;
    let (at, tries) = all_come(&server, &guests, begun).await;
    let mut let_in: BTreeMap<u64, u32> = BTreeMap::new();
    // The first seconds, in which all come for the first time, let in at once those whose time has come already.
    let later = at.iter().filter(|at| at.as_secs() >= 4);
    later.for_each(|at| *let_in.entry(at.as_secs() / 2).or_default() += 1);
    println!("{tries} tries, let in in each two seconds: {let_in:?}");
    let planned = f64::from(COUNT) / 20.0 * 2.0;
    assert!(f64::from(tries) <= 2.1 * f64::from(COUNT), "{tries} tries");
    assert!(let_in.values().all(|most| f64::from(*most) <= 1.2 * planned), "{let_in:?}");
    assert!(at.iter().all(|at| at.as_secs() <= 24), "the last came in after {:?}", at.iter().max());
    for guest in guests.iter().step_by(97) {
        assert!(matches!(guest.try_once(&server.address).await, Tried::Welcome), "once in, always in");
    }
}
