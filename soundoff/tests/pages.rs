//! What browsers get: the app wherever users sign in, and which ways to do so it may offer.

mod support;

use serde_json::json;
use support::Server;
use support::web::{Answer, web};

async fn get(server: &Server, path: &str) -> Answer {
    web(&server.address, &format!("GET {path}"), &[], b"").await
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
    assert_eq!(ways(&[]).await, json!({ "email": {}, "phone": {}, "outbox": true }));

    let carried = ["--smtp-url", "smtp://127.0.0.1:9", "--texts-url", "http://127.0.0.1:9/texts"];
    let native = ["--apple-client-ids", "org.example.app"];
    let found = ways(&[carried, [native[0], native[1], "--codes-per-minute", "9"]].concat()).await;
    assert_eq!(found, json!({ "email": {}, "phone": {}, "apple": {}, "outbox": false }));

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
        json!({ "email": {}, "phone": {}, "apple": apple, "twitter": twitter, "outbox": true })
    );
}
