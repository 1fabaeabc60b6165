//! What browsers get: the app, wherever users sign in, and the ways to sign in that it may offer.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use support::Server;
use support::web::{Answer, web};

/// What a browser asks for.
const BROWSER: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");
/// The most bytes of the app, its client library included, that the first load of `/` transfers.
const BUDGET: usize = 60_000;
/// The file that the app asks for when somebody first goes to a page of its.
const LATER: &str = "/app/groups.js";

async fn get(server: &Server, path: &str) -> Answer {
    web(&server.address, &format!("GET {path}"), &[], b"").await
}

/// Every file of `web/` that browsers get, by the path at which it is.
fn files() -> BTreeMap<String, Vec<u8>> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut files = BTreeMap::new();
    for folder in ["app", "console", "ops"] {
        let index = if folder == "app" { "/".to_owned() } else { format!("/{folder}") };
        for entry in std::fs::read_dir(web.join(folder)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = if name == "index.html" { index.clone() } else { format!("/{folder}/{name}") };
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
    files.insert("/client/soundoff.js".to_owned(), std::fs::read(web.join("client/soundoff.js")).unwrap());
    files
}

#[tokio::test]
async fn every_file_is_served_as_it_is_in_the_repository_in_each_coding_that_a_client_may_want() {
    let server = Server::start(&[]);
    for (path, plain) in files() {
        let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
            None => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some(other) => panic!("{path}: what is a .{other}?"),
        };
        let mut tags = BTreeSet::new();
        for (wanted, coding) in [
            ("identity", ""),
            ("gzip", "gzip"),
            ("br", "br"),
            (BROWSER.1, "br"),
            ("gzip, identity;q=0", "gzip"),
        ] {
            let asks = [("accept-encoding", wanted)];
            let answer = web(&server.address, &format!("GET {path}"), &asks, b"").await;
            assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path} {wanted}");
            assert_eq!(answer.header("content-encoding"), coding, "{path} {wanted}");
            assert_eq!(answer.header("vary"), "accept-encoding", "{path} {wanted}");
            assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{path} {wanted}");
            assert!(answer.unpacked() == plain, "{path} {wanted}: not the file");
            let tag = answer.header("etag").to_owned();
            assert!(tag.starts_with('"'), "a strong tag: {tag}");

            // A HEAD says the same and sends nothing.
            let head = web(&server.address, &format!("HEAD {path}"), &asks, b"").await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{path} {wanted}");
            for name in ["etag", "content-length", "content-type", "content-encoding", "vary", "link"] {
                assert_eq!(head.header(name), answer.header(name), "{path} {wanted}: {name}");
            }

            // A client that has this form does not get it again.
            let known = [asks[0], ("if-none-match", tag.as_str())];
            let again = web(&server.address, &format!("GET {path}"), &known, b"").await;
            assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
            assert_eq!(
                (again.header("vary"), again.header("cache-control")),
                ("accept-encoding", "no-cache")
            );
            tags.insert(tag);
        }
        assert_eq!(tags.len(), 3, "{path}: each form has a tag of its own");
        let refused =
            web(&server.address, &format!("GET {path}"), &[("accept-encoding", "*;q=0")], b"").await;
        assert_eq!((refused.status, refused.code()), (406, "bad_message".to_owned()), "{path}");
        assert_eq!(refused.header("vary"), "accept-encoding");
    }
    assert_eq!(get(&server, "/app/nothing.js").await.status, 404);
}

#[tokio::test]
async fn a_tag_of_another_form_is_not_known() {
    let server = Server::start(&[]);
    let plain = get(&server, "/").await;
    let known = [BROWSER, ("if-none-match", plain.header("etag"))];
    let packed = web(&server.address, "GET /", &known, b"").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "br"));
    let known = [("if-none-match", "\"another\"")];
    assert_eq!(web(&server.address, "GET /", &known, b"").await.status, 200);
    assert_ne!(plain.header("etag"), get(&server, "/app/main.js").await.header("etag"));
}

#[tokio::test]
async fn pages_have_all_their_files_fetched_at_once_and_run_nothing_inline() {
    let server = Server::start(&[]);
    for (page, folders) in [
        ("/", &["/app/", "/client/"][..]),
        ("/console", &["/app/pairing.js", "/console/"]),
        ("/ops", &["/app/pairing.js", "/ops/"]),
    ] {
        let answer = get(&server, page).await;
        let is_ours = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        let first = files().into_keys().filter(|path| path != LATER);
        let links: Vec<_> = first.filter(is_ours).filter_map(|path| preload(&path)).collect();
        assert_eq!(answer.header("link"), links.join(","), "in order of their paths");
        let body = String::from_utf8(answer.body).unwrap();
        assert!(!body.contains("<style") && !body.contains("style=") && !body.contains(" on"), "{page}");
        assert!(body.split("<script").skip(1).all(|tag| tag.contains("src=")), "{page}");
    }
}

/// What the `Link` header says of a file, if a page waits for it.
fn preload(path: &str) -> Option<String> {
    // Relative, as a proxy may have put all of it below a path.
    let path = &path[1..];
    match path.rsplit_once('.')?.1 {
        "js" => Some(format!("<{path}>;rel=modulepreload")),
        "css" => Some(format!("<{path}>;rel=preload;as=style")),
        _ => None,
    }
}

#[tokio::test]
async fn the_app_is_small() {
    let server = Server::start(&[]);
    let mut bytes = 0;
    let is_app = |path: &String| !path.starts_with("/console") && !path.starts_with("/ops");
    assert!(files().contains_key(LATER), "{LATER} is not there");
    for path in files().into_keys().filter(is_app).filter(|path| path != LATER) {
        bytes += web(&server.address, &format!("GET {path}"), &[BROWSER], b"").await.body.len();
    }
    println!("{bytes} bytes on first load");
    assert!(bytes < BUDGET, "{bytes} bytes");
}

#[tokio::test]
async fn the_app_and_the_console_are_served_under_a_policy_that_trusts_nothing_but_this_server() {
    let server = Server::start(&[]);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app/main.js", "text/javascript; charset=utf-8"),
        ("/client/soundoff.js", "text/javascript; charset=utf-8"),
        ("/console", "text/html; charset=utf-8"),
    ] {
        let answer = get(&server, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("connect-src 'self';"), "uploads stay here: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let known = [("if-none-match", answer.header("etag"))];
        let again = web(&server.address, &format!("GET {path}"), &known, b"").await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let posted = web(&server.address, &format!("POST {path}"), &[], b"").await;
        assert_eq!((posted.status, posted.header("allow")), (405, "GET"), "{path}");
    }
    assert_eq!(get(&server, "/app/").await.status, 404);
    assert_eq!(get(&server, "/index.html").await.status, 404);
}

#[tokio::test]
async fn ways_to_sign_in_are_those_that_are_set_up() {
    let ways = async |flags: &[&str]| {
        let server = Server::start(flags);
        let answer = get(&server, "/v1/auth/ways").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let here = json!({ "domain": "localhost" });
    assert_eq!(ways(&[]).await, json!({ "email": {}, "phone": {}, "passkey": here, "outbox": true }));

    let carried = [
        "--smtp-url",
        "smtp://127.0.0.1:9",
        "--texts-url",
        "http://127.0.0.1:9/texts",
        "--text-countries",
        "+44,DE",
    ];
    let native = ["--apple-client-ids", "org.example.app"];
    let domain = ["--passkey-domain", "Example.org"];
    let found = ways(&[&carried[..], &native[..], &domain[..]].concat()).await;
    let own = json!({ "domain": "example.org" });
    assert_eq!(found, json!({ "email": {}, "phone": {}, "apple": {}, "passkey": own, "outbox": false }));

    let found = ways(&[
        "--apple-client-ids",
        "org.example.app,org.example.web",
        "--apple-web-client-id",
        "org.example.web",
        "--twitter-client-id",
        "x",
        "--twitter-client-secret",
        "hidden",
        "--twitter-redirect-uris",
        "https://example.org/,org.example://back",
    ])
    .await;
    let apple = json!({ "client_id": "org.example.web", "authorize_url": "https://appleid.apple.com/auth/authorize" });
    let twitter = json!({
        "client_id": "x",
        "authorize_url": "https://x.com/i/oauth2/authorize?scope=tweet.read%20users.read",
        "redirect_uris": ["https://example.org/", "org.example://back"],
    });
    assert_eq!(
        found,
        json!({ "email": {}, "phone": {}, "apple": apple, "twitter": twitter, "passkey": here, "outbox": true })
    );
}
