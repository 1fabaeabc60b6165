//! What holds for every request to a public port: of pages of other origins, proxies, tools.

mod support;

use serde_json::json;
use support::web::{Answer, Exchange, post, web};
use support::{Server, tokens};

/// The header of a websocket's request, for `host` and with more fields.
const UPGRADE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The status of a request for a websocket.
async fn upgraded(server: &Server, line: &str, more: &[(&str, &str)]) -> String {
    let headers = [&UPGRADE[..], more].concat();
    let mut exchange = Exchange::begin(&server.address, line, &headers).await;
    let answer = exchange.some(512).await.expect("an answer");
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().to_owned()
}

async fn asked(server: &Server, line: &str, headers: &[(&str, &str)]) -> Answer {
    web(&server.address, line, headers, b"").await
}

const PREFLIGHT: (&str, &str) = ("access-control-request-method", "POST");
const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn an_app_of_a_listed_origin_works_and_any_other_is_told_why_not() {
    let listed = "https://app.example.org,https://*.example.net,capacitor://localhost";
    let server = Server::start(&["--origins", listed]);
    let own = format!("http://{}", server.address);
    let mine = [
        "https://app.example.org",
        "https://eu.example.net",
        "capacitor://localhost",
        "http://localhost:5173",
    ];
    let paths = [
        "/v1/auth/ways",
        "/v1/auth/nothing",
        "/.well-known/jwks.json",
        "/v1/media/01K00000000000000000000000",
    ];
    for origin in mine.into_iter().chain([&*own]) {
        for path in paths {
            let answer = asked(&server, &format!("GET {path}"), &[("origin", origin)]).await;
            assert_eq!(answer.header(ALLOWED), origin, "{path}");
            assert!(answer.varies_by("origin"), "{path}: {answer:?}");
            assert!(answer.header("access-control-expose-headers").contains("retry-after"));
        }
        let asks =
            [("origin", origin), PREFLIGHT, ("access-control-request-headers", "authorization,content-type")];
        let answer = asked(&server, "OPTIONS /v1/auth/email/start", &asks).await;
        assert_eq!((answer.status, answer.header(ALLOWED)), (204, origin), "{answer:?}");
        for (header, word) in [
            ("headers", "authorization"),
            ("headers", "content-type"),
            ("headers", "soundoff-app"),
            ("methods", "PUT"),
        ] {
            let said = answer.header(&format!("access-control-allow-{header}"));
            assert!(said.contains(word), "{header}: {said}");
        }
        assert_eq!(upgraded(&server, "GET /v1/ws", &[("origin", origin)]).await, "101", "{origin}");
    }
    let strangers =
        ["https://evil.example", "http://app.example.org", "https://example.net", "null", "http://10.0.0.1"];
    for origin in strangers {
        let answer = asked(&server, "OPTIONS /v1/auth/email/start", &[("origin", origin), PREFLIGHT]).await;
        assert_eq!((answer.status, answer.header(ALLOWED)), (403, ""), "{origin}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("--origins"), "{answer:?}");
        // A form needs no preflight.
        for path in ["/v1/auth/email/start", "/v1/media", "/dev/tokens"] {
            let answer = asked(
                &server,
                &format!("POST {path}"),
                &[("origin", origin), ("content-type", "text/plain")],
            )
            .await;
            assert_eq!((answer.status, &*answer.code()), (403, "forbidden"), "{path} for {origin}");
        }
        let shown = asked(&server, "GET /v1/auth/ways", &[("origin", origin)]).await;
        assert_eq!((shown.status, shown.header(ALLOWED)), (200, ""), "it is shown, and no page may read it");
        assert_eq!(upgraded(&server, "GET /v1/ws", &[("origin", origin)]).await, "403", "{origin}");
    }
    assert_eq!(upgraded(&server, "GET /v1/ws", &[]).await, "101", "who is no browser has no origin");
}

#[tokio::test]
async fn only_the_api_is_for_other_origins() {
    let server = Server::start(&[]);
    for path in ["/", "/dev/outbox", "/ops/data", "/client/soundoff.js"] {
        let answer = asked(&server, &format!("GET {path}"), &[("origin", "http://localhost:5173")]).await;
        assert_eq!(answer.header(ALLOWED), "", "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_everywhere() {
    let server = Server::start(&[]);
    let (public, internal) = (&*server.address, server.internal_address());
    for (address, path) in [
        (public, "/"),
        (public, "/app/main.js"),
        (public, "/v1/auth/ways"),
        (public, "/.well-known/jwks.json"),
        (public, "/dev/outbox"),
        (public, "/ops"),
        (public, "/v1/nothing"),
        (public, "/v1/ws"),
        (internal, "/healthz"),
        (internal, "/readyz"),
        (internal, "/metrics"),
    ] {
        let get = web(address, &format!("GET {path}"), &[], b"").await;
        let head = web(address, &format!("HEAD {path}"), &[], b"").await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(!get.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_others_add_to_a_request_is_no_fault() {
    let server = Server::start(&[]);
    for path in ["/v1/auth/ways/", "/v1/auth/ways?fbclid=x", "/v1/auth/ways/?utm_source=a&b", "/?fbclid=x"] {
        assert_eq!(asked(&server, &format!("GET {path}"), &[]).await.status, 200, "{path}");
    }
    for (path, page) in [("/ops/", "../ops"), ("/console/", "../console")] {
        let answer = asked(&server, &format!("GET {path}"), &[]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, page),
            "its links are written for the name"
        );
    }
    let basic = ("authorization", "Basic dTpw");
    assert_eq!(upgraded(&server, "GET /v1/ws/?v=1", &[basic]).await, "101", "a proxy's own password");
    assert_eq!(upgraded(&server, "GET /v1/ws", &[("authorization", "Bearer junk")]).await, "401");
    let answer = asked(&server, "POST /v1/auth/email/verify", &[basic]).await;
    assert_eq!(answer.status, 400, "it is read, and the body is missing: {answer:?}");
    let started = post(&server.address, "/v1/auth/email/start/", &json!({ "email": "a@example.org" })).await;
    assert_eq!(started.status, 202);
    for (name, value, says) in [
        ("content-encoding", "gzip", "Content-Encoding"),
        ("content-type", "application/json; charset=utf-16", "UTF-8"),
    ] {
        let answer = asked(&server, "POST /v1/auth/email/start", &[(name, value)]).await;
        assert_eq!((answer.status, &*answer.code()), (415, "bad_message"), "{value}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{answer:?}");
    }
}

#[tokio::test]
async fn browsers_are_told_what_to_take_an_answer_for() {
    let server = Server::start(&[]);
    let ann = tokens(&server.address, &["ann"]).await["ann"].as_str().unwrap().to_owned();
    let token = format!("Bearer {ann}");
    for line in [
        "GET /",
        "GET /v1/auth/ways",
        "GET /v1/auth/identities",
        "POST /v1/auth/refresh",
        "GET /nothing",
        "GET /ops",
    ] {
        let plain = asked(&server, line, &[("authorization", &token)]).await;
        assert_eq!(plain.header("x-content-type-options"), "nosniff", "{line}");
        assert_eq!(plain.header("strict-transport-security"), "", "{line}: there is no TLS");
        let by_tls = asked(&server, line, &[("x-forwarded-proto", "https")]).await;
        assert!(by_tls.header("strict-transport-security").starts_with("max-age="), "{line}");
    }
}

#[tokio::test]
async fn http_1_0_gets_no_websocket() {
    let server = Server::start(&[]);
    let head = UPGRADE.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let mut exchange =
        Exchange::raw(&server.address, &format!("GET /v1/ws HTTP/1.0\r\nhost: x\r\n{head}\r\n")).await;
    let answer = String::from_utf8(exchange.some(512).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 426"), "{answer}");
}

#[tokio::test]
async fn metrics_are_in_the_format_that_is_asked_for() {
    let server = Server::start(&[]);
    let internal = server.internal_address();
    let ask = async |accept: &str| web(internal, "GET /metrics", &[("accept", accept)], b"").await;
    let open = ask("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with(b"# EOF\n"));
    for accept in ["*/*", "text/plain;version=0.0.4", "text/html"] {
        let classic = ask(accept).await;
        assert_eq!(classic.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(classic.body).unwrap();
        assert!(!text.contains("# EOF") && text.contains("# TYPE soundoff_edge_welcomes_total counter\n"));
        assert!(text.contains("# TYPE soundoff_build_info gauge\n"));
    }
}

#[tokio::test]
async fn what_is_large_is_compressed_as_the_client_likes() {
    let redirects: Vec<_> = (0..30).map(|n| format!("https://app{n}.example.org/signed-in-with-x")).collect();
    let server =
        Server::start(&["--twitter-client-id", "x", "--twitter-redirect-uris", &redirects.join(",")]);
    let (public, internal) = (&*server.address, server.internal_address());
    for (address, path, accept) in [
        (public, "/v1/auth/ways", "*/*"),
        (public, "/ops/data", "*/*"),
        (internal, "/metrics", "*/*"),
        (internal, "/metrics", "application/openmetrics-text"),
    ] {
        let ask = async |line: &str, wanted: &str| {
            let headers = [("accept-encoding", wanted), ("accept", accept)];
            let answer = web(address, &format!("{line} {path}"), &headers, b"").await;
            assert!(
                answer.status == 200 && answer.varies_by("accept-encoding"),
                "{path} {wanted}: {answer:?}"
            );
            answer
        };
        for (wanted, coding) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip", "gzip"),
            ("*", "br"),
            ("br;q=0, *;q=0.5", "gzip"),
            ("gzip;q=0.5, identity;q=0", "gzip"),
            ("identity", ""),
            ("gzip;q=0", ""),
            ("deflate", ""),
            ("*;q=0", ""),
        ] {
            let answer = ask("GET", wanted).await;
            assert_eq!(answer.header("content-encoding"), coding, "{path} {wanted}");
            assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{path} {wanted}");
            let plain = answer.unpacked();
            let is_whole =
                serde_json::from_slice::<serde_json::Value>(&plain).is_ok() || plain.starts_with(b"# HELP ");
            assert!(is_whole && plain.len() >= 1024, "{path} {wanted}");
            assert!(
                coding.is_empty() || answer.body.len() * 2 < plain.len(),
                "{path} {wanted}: {}",
                answer.body.len()
            );
            let head = ask("HEAD", wanted).await;
            assert_eq!((head.body.len(), head.header("content-encoding")), (0, coding), "{path} {wanted}");
        }
    }
}

#[tokio::test]
async fn what_is_small_or_holds_tokens_or_codes_is_not_compressed() {
    let server = Server::start(&[]);
    let browser = ("accept-encoding", "gzip, br");
    let handles: Vec<_> = (0..10).map(|n| format!("user{n}")).collect();
    let wanted = json!({ "handles": handles }).to_string();
    let tokens = web(&server.address, "POST /dev/tokens", &[browser], wanted.as_bytes()).await;
    assert!(tokens.body.len() > 2000 && tokens.status == 200, "{tokens:?}");
    for n in 0..10 {
        let email = json!({ "email": format!("user{n}@example.org") });
        assert_eq!(post(&server.address, "/v1/auth/email/start", &email).await.status, 202);
        support::web::code(&server, &format!("user{n}@example.org"), 0).await;
    }
    let outbox = asked(&server, "GET /dev/outbox", &[browser]).await;
    assert!(outbox.body.len() > 1024, "{outbox:?}");
    let small = asked(&server, "GET /v1/auth/ways", &[browser]).await;
    let key = asked(&server, "GET /.well-known/jwks.json", &[browser]).await;
    assert!(
        small.varies_by("accept-encoding") && key.varies_by("accept-encoding"),
        "more would be compressed"
    );
    for answer in [tokens, outbox, small, key] {
        assert_eq!(answer.header("content-encoding"), "", "{answer:?}");
        answer.json();
    }
}
