//! Caches in front are told what to forget, by the operator's hook.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image::ImageFormat;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::pictures::picture;
use super::support::client::Client;
use super::support::{PATIENCE, Server, private_dir, refused, tokens};
use super::{shown, taken};

/// Messages to caches that were received, each time that one was.
const QUEUED: &str = "soundoff_consumer_received_total{queue=\"media_purge_q\"}";

/// One POST to the hook.
#[derive(Debug, Clone)]
struct Post {
    head: String,
    body: Value,
}

/// The operator's hook: it fails a number of times, and then does what it is told.
struct Hook {
    url: String,
    heard: Arc<Mutex<Vec<Post>>>,
}

impl Hook {
    async fn start(mut failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/purge", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<Post>>>::default();
        let keep = heard.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (mut wire, mut piece) = (Vec::new(), [0; 4096]);
                let post = loop {
                    let read = socket.read(&mut piece).await.unwrap();
                    assert!(read > 0, "a request has an end");
                    wire.extend(&piece[..read]);
                    let text = String::from_utf8_lossy(&wire).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    if let Ok(body) = serde_json::from_str(body) {
                        break Post { head: head.to_lowercase(), body };
                    }
                };
                let status = if failures > 0 { "503 Service Unavailable" } else { "204 No Content" };
                failures = failures.saturating_sub(1);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                keep.lock().unwrap().push(post);
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, heard }
    }

    /// Waits until it was told something so many times.
    async fn hears(&self, times: usize) -> Vec<Post> {
        let begun = Instant::now();
        loop {
            let heard = self.heard.lock().unwrap().clone();
            if heard.len() >= times {
                return heard;
            }
            assert!(begun.elapsed() < PATIENCE, "it was told {heard:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A server with this hook, which collects what was deleted some seconds later.
async fn server(hook: &Hook) -> (Server, String, Client) {
    let environment = vec![("SOUNDOFF_MEDIA_PURGE_TOKEN", "let-me-in".into())];
    let flags = ["--media-purge-url", &hook.url, "--media-max-age-s", "77", "--media-kept-s", "10"];
    let server = Server::start_with(environment, &flags);
    let tokens = tokens(&server.address, &["alice"]).await;
    let client = Client::hello(&server.address, &tokens["alice"], None, None).await;
    (server, tokens["alice"].as_str().unwrap().to_owned(), client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_forget_a_picture_when_the_last_post_that_shows_it_is_gone() {
    let hook = Hook::start(1).await;
    let (server, token, mut alice) = server(&hook).await;
    let id = taken(&server, &token, &picture(40, 30, ImageFormat::Png)).await;
    alice.push("media.ready").await;
    let mut posts = Vec::new();
    for _ in 0..2 {
        let post = alice.call("post.create", json!({ "text": "look", "media": [id] })).await;
        posts.push(post["post"]["id"].clone());
    }
    let path = format!("/v1/media/{id}");
    assert_eq!(shown(&server, &path).await.header("cache-control"), "public, max-age=77");
    alice.call("post.delete", json!({ "post": posts[0] })).await;
    server.settled();
    assert!(hook.heard.lock().unwrap().is_empty(), "another post shows it");
    alice.call("post.delete", json!({ "post": posts[1] })).await;
    // It was refused once, and is told again.
    let heard = hook.hears(2).await;
    let urls = json!({ "urls": [path, format!("{path}?size=feed"), format!("{path}?size=thumb")] });
    for post in &heard {
        assert_eq!(post.body, urls);
        assert!(
            post.head.starts_with("post /purge ") && post.head.contains("authorization: bearer let-me-in")
        );
    }
    // Once more when it is collected: an answer that was on its way to a cache has arrived by then.
    server.reaches("soundoff_media_collected_total", 1.0).await;
    assert_eq!(hook.hears(3).await[2].body, urls);
    assert_eq!(server.metric(QUEUED).await, 3.0, "two messages, of which one was tried twice");
    assert!(!server.log().contains("let-me-in"));
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_hook_nobody_is_told() {
    let (server, token, mut alice) = super::one_user(&["--media-kept-s", "10"]).await;
    let id = taken(&server, &token, &picture(40, 30, ImageFormat::Png)).await;
    alice.push("media.ready").await;
    let post = alice.call("post.create", json!({ "text": "look", "media": [id] })).await;
    alice.call("post.delete", json!({ "post": post["post"]["id"] })).await;
    server.reaches("soundoff_media_collected_total", 1.0).await;
    server.settled();
    assert_eq!(server.metric(QUEUED).await, 0.0);
}

#[test]
fn a_hook_is_named_by_a_url_that_a_token_may_be_sent_to() {
    let dir = private_dir();
    let said = refused(&["--media-purge-url=http://example.org/purge"], dir.path());
    assert!(said.contains("https") && said.contains("--media-purge-url"), "{said}");
    let said = refused(&["--media-purge-token=x"], dir.path());
    assert!(said.contains("--media-purge-url"), "{said}");
    let said = refused(&["--media-max-age-s=0"], dir.path());
    assert!(said.contains("from 1 to 86400"), "{said}");
}
