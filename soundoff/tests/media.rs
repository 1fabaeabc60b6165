//! Media through the public port: uploaded, checked, shown and removed again, whatever strangers send.

mod support;

#[path = "media/audience.rs"]
mod audience;
#[path = "media/pictures.rs"]
mod pictures;
#[path = "media/purged.rs"]
mod purged;
#[path = "media/shares.rs"]
mod shares;

use std::path::Path;
use std::time::{Duration, Instant};

use image::ImageFormat;
use pictures::{SECRET, bomb, holds, noise, picture, polyglot, with_gps};
use serde_json::{Value, json};
use support::client::Client;
use support::web::{Answer, Exchange, web};
use support::{PATIENCE, Server, tokens};

const MIB: usize = 1 << 20;

/// A server, a token, and its user's socket.
async fn one_user(args: &[&str]) -> (Server, String, Client) {
    let server = Server::start(args);
    let tokens = tokens(&server.address, &["alice"]).await;
    let client = Client::hello(&server.address, &tokens["alice"], None, None).await;
    (server, tokens["alice"].as_str().unwrap().to_owned(), client)
}

async fn upload(server: &Server, token: &str, bytes: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    // The content type in the header does not count.
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/html")];
    web(&server.address, "POST /v1/media", &headers, bytes).await
}

/// Uploads a picture, which must be accepted; returns its id.
async fn taken(server: &Server, token: &str, bytes: &[u8]) -> String {
    let answer = upload(server, token, bytes).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["media"]["id"].as_str().unwrap().to_owned()
}

async fn shown(server: &Server, path: &str) -> Answer {
    web(&server.address, &format!("GET {path}"), &[], b"").await
}

/// How many blobs are in a data directory, whole or half written.
fn blobs(data: &Path) -> usize {
    let mut count = 0;
    let mut left = vec![data.join("blobs")];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { count += 1 }
        }
    }
    count
}

async fn blobs_become(server: &Server, expected: usize) {
    let begun = Instant::now();
    while blobs(server.data()) != expected {
        assert!(begun.elapsed() < PATIENCE, "{} blobs, not {expected}", blobs(server.data()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photograph_is_shown_once_it_has_passed_and_without_its_place() {
    let (server, token, mut alice) = one_user(&[]).await;
    server.command(&["workers", "pause"]);
    let photograph = with_gps();
    assert!(holds(&photograph, SECRET));
    let answer = upload(&server, &token, &photograph).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let media = answer.json()["media"].take();
    assert_eq!((&media["content_type"], &media["bytes"]), (&json!("image/jpeg"), &json!(photograph.len())));
    let (id, url) = (media["id"].as_str().unwrap(), media["url"].as_str().unwrap());
    assert_eq!(shown(&server, url).await.code(), "not_found", "not before it has passed");
    server.command(&["workers", "resume"]);
    let ready = alice.push("media.ready").await["body"]["media"].take();
    assert_eq!((&ready["width"], &ready["height"]), (&json!(480), &json!(640)), "turned upright");

    for (size, width) in [("", 480), ("?size=full", 480), ("?size=feed", 480), ("?size=thumb", 240)] {
        let got = shown(&server, &format!("{url}{size}")).await;
        assert_eq!((got.status, got.header("content-type")), (200, "image/jpeg"), "{size}");
        assert!(!holds(&got.body, b"SECRETGPS") && !holds(&got.body, b"Exif"), "{size}");
        assert_eq!(image::load_from_memory(&got.body).unwrap().width(), width, "{size}");
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("cache-control"), "private, no-cache", "no post shows it yet: {got:?}");
        assert!(got.header("content-disposition").starts_with("inline; filename=\""), "{got:?}");
        assert!(got.header("content-security-policy").contains("sandbox"), "{got:?}");
    }
    assert_eq!(shown(&server, &format!("{url}?size=huge")).await.status, 400);
    assert_eq!(blobs(server.data()), 3, "what was uploaded is gone");

    let post = alice.call("post.create", json!({ "text": "look", "media": [id] })).await["post"].take();
    assert_eq!(post["media"][0], ready);
    // What is new is put into timelines a moment after its reply.
    let begun = Instant::now();
    let shown = loop {
        let page = alice.call("timeline.fetch", json!({})).await;
        if let Some(shown) = page["items"].get(0) {
            break shown.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "no timeline has it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(shown["post"]["media"][0], ready, "a timeline shows it, too");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_and_caches_get_what_http_promises_them() {
    let (server, token, mut alice) = one_user(&[]).await;
    let id = taken(&server, &token, &picture(300, 200, ImageFormat::Png)).await;
    alice.push("media.ready").await;
    let line = format!("GET /v1/media/{id}");
    let whole = web(&server.address, &line, &[], b"").await;
    let (total, tag) = (whole.body.len(), whole.header("etag").to_owned());
    assert!(tag.starts_with('"') && whole.header("accept-ranges") == "bytes");
    for (range, from, to) in [("bytes=0-9", 0, 10), ("bytes=10-", 10, total), ("bytes=-7", total - 7, total)]
    {
        let part = web(&server.address, &line, &[("range", range)], b"").await;
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[from..to]), "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{total}", to - 1));
    }
    let beyond = web(&server.address, &line, &[("range", "bytes=99999999-")], b"").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{total}").as_str()));
    let stale = web(&server.address, &line, &[("range", "bytes=0-9"), ("if-range", "\"other\"")], b"").await;
    assert_eq!((stale.status, stale.body.len()), (200, total));
    let known = web(&server.address, &line, &[("if-none-match", &tag)], b"").await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, tag.as_str()));
    let head = web(&server.address, &format!("HEAD /v1/media/{id}"), &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), total.to_string());
    for (line, status) in [
        (format!("DELETE /v1/media/{id}"), 405),
        ("GET /v1/media".to_owned(), 405),
        ("GET /v1/media/../../etc/passwd".to_owned(), 404),
        (format!("GET /v1/media/{}", id.to_lowercase()), 404),
        ("GET /v1/mediaeval".to_owned(), 404),
    ] {
        assert_eq!(web(&server.address, &line, &[], b"").await.status, status, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_picture_is_refused_at_the_door_and_leaves_nothing() {
    let (server, token, _alice) = one_user(&[]).await;
    let png = picture(8, 8, ImageFormat::Png);
    let big = [&png[..], &vec![0; 17 * MIB]].concat();
    let cases: [(&str, &[u8], u16, &str); 9] = [
        ("a page", b"<!doctype html><script>alert(1)</script>", 415, "JPEG, PNG, GIF and WebP"),
        ("SVG", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", 415, "JPEG, PNG, GIF and WebP"),
        ("a PDF", b"%PDF-1.7 and then some more bytes", 415, "PDF"),
        ("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0", 415, "JPEG, PNG, GIF and WebP"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "HEIC"),
        ("a script behind a picture's name", b"GIF90a/*alert(1)*/", 415, "JPEG, PNG, GIF and WebP"),
        ("nothing", b"", 415, "empty"),
        ("two bytes", b"\xff\xd8", 415, "JPEG, PNG, GIF and WebP"),
        ("17 MiB", &big, 413, "media.begin"),
    ];
    for (what, bytes, status, says) in cases {
        let answer = upload(&server, &token, bytes).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{what}: {detail}");
    }
    for (what, authorization) in [("no token", ""), ("a bad one", "Bearer x"), ("another kind", "Basic YTpi")]
    {
        let answer = web(&server.address, "POST /v1/media", &[("authorization", authorization)], &png).await;
        assert_eq!((answer.status, answer.code()), (401, "unauthorized".to_owned()), "{what}");
    }
    // A client that sends much before it is refused can read why.
    let answer = web(&server.address, "POST /v1/media", &[("authorization", "Bearer x")], &big).await;
    assert_eq!((answer.status, answer.code()), (401, "unauthorized".to_owned()));
    // A chunked body announces no length: the limit holds all the same.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("transfer-encoding", "chunked")];
    let mut exchange = Exchange::begin(&server.address, "POST /v1/media", &headers).await;
    exchange.send(format!("{:x}\r\n", png.len()).as_bytes()).await;
    exchange.send(&png).await;
    for _ in 0..17 {
        exchange.send(format!("\r\n{MIB:x}\r\n").as_bytes()).await;
        exchange.send(&vec![0; MIB]).await;
    }
    exchange.send(b"\r\n0\r\n\r\n").await;
    assert_eq!(exchange.answer().await.status, 413);
    blobs_become(&server, 0).await;
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_torn_files_and_polyglots_harm_nobody() {
    let (server, token, mut alice) = one_user(&[]).await;
    let jpeg = picture(800, 600, ImageFormat::Jpeg);
    let torn = &jpeg[..jpeg.len() / 2];
    let png = picture(800, 600, ImageFormat::Png);
    let torn_png = &png[..png.len() - 20];
    let before = server.resident();
    for (what, bytes, says) in [
        ("a bomb", &bomb()[..], "pixels"),
        ("half a JPEG", torn, "whole"),
        ("a PNG without its end", torn_png, "whole"),
    ] {
        let id = taken(&server, &token, bytes).await;
        let failed = alice.push("media.failed").await["body"].take();
        assert_eq!(failed["id"], id.as_str(), "{what}");
        assert!(failed["reason"].as_str().unwrap().contains(says), "{what}: {failed}");
        assert_eq!(shown(&server, &format!("/v1/media/{id}")).await.status, 404, "{what}");
        let body = json!({ "text": "x", "media": [id] });
        assert_eq!(alice.refused("post.create", body).await, "not_found", "{what}");
    }
    blobs_become(&server, 0).await;
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 64 * MIB as u64, "the server has grown by {} MiB", grown >> 20);

    let id = taken(&server, &token, &polyglot()).await;
    alice.push("media.ready").await;
    let got = shown(&server, &format!("/v1/media/{id}")).await;
    assert!(
        !holds(&got.body, b"SECRETGPS") && !holds(&got.body, b"<script") && !holds(&got.body, b"PK\x03\x04")
    );
    server.settled();
}

/// Sends what `media.begin` has announced.
async fn put(server: &Server, url: &str, bytes: &[u8]) -> Answer {
    web(&server.address, &format!("PUT {url}"), &[], bytes).await
}

async fn begin(client: &mut Client, bytes: usize) -> (String, String) {
    let begun = client.call("media.begin", json!({ "bytes": bytes })).await;
    assert_eq!(begun["upload"]["method"], "PUT");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&begun["media"]), text(&begun["upload"]["url"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_go_by_a_url_of_their_own_in_bounded_memory() {
    let (server, token, mut alice) = one_user(&[]).await;
    let large = noise(4200, 4150);
    assert!(large.len() > 50 * MIB - MIB && large.len() < 64 * MIB, "{}", large.len());
    let refused = upload(&server, &token, &large).await;
    assert_eq!((refused.status, refused.code()), (413, "too_large".to_owned()));

    server.command(&["workers", "pause"]);
    let before = server.resident();
    let (id, url) = {
        server.command(&["workers", "resume"]);
        begin(&mut alice, large.len()).await
    };
    server.command(&["workers", "pause"]);
    let answer = put(&server, &url, &large).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 24 * MIB as u64, "taking 50 MB in took {} MiB", grown >> 20);
    server.command(&["workers", "resume"]);
    let ready = alice.push("media.ready").await["body"]["media"].take();
    assert_eq!((&ready["id"], &ready["width"]), (&json!(id), &json!(4096)), "scaled to what is shown");
    let most = server.resident_peak();
    assert!(most < 900 * MIB as u64, "looking into it took {} MiB", most >> 20);
    let got = shown(&server, &format!("/v1/media/{id}")).await;
    assert_eq!(got.body.len() as u64, ready["bytes"].as_u64().unwrap());
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_url_is_valid_for_one_upload_of_its_length() {
    let (server, _token, mut alice) = one_user(&[]).await;
    let png = picture(40, 30, ImageFormat::Png);
    let (id, url) = begin(&mut alice, png.len()).await;
    for (what, altered, status) in [
        ("another length", url.replace("bytes=", "bytes=1"), 403),
        ("a later end", url.replace("expires=", "expires=9"), 403),
        ("another signature", url.replace("signature=", "signature=0"), 403),
        ("another id", url.replace(&id, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), 403),
        ("no query", url.split('?').next().unwrap().to_owned(), 403),
        ("no id", "/v1/media/uploads/x?bytes=1".to_owned(), 404),
    ] {
        let answer = put(&server, &altered, &png).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    let short = put(&server, &url, &png[..png.len() - 1]).await;
    assert_eq!((short.status, short.code()), (400, "bad_message".to_owned()));
    let page = vec![b'<'; png.len()];
    assert_eq!(put(&server, &url, &page).await.status, 415);
    // An upload that breaks off leaves the URL valid.
    let length = png.len().to_string();
    let mut broken =
        Exchange::begin(&server.address, &format!("PUT {url}"), &[("content-length", &length)]).await;
    broken.send(&png[..10]).await;
    drop(broken);
    blobs_become(&server, 0).await;
    let good = put(&server, &url, &png).await;
    assert_eq!((good.status, &good.json()["media"]["id"]), (200, &json!(id)));
    alice.push("media.ready").await;
    let again = put(&server, &url, &png).await;
    assert_eq!((again.status, again.code()), (409, "conflict".to_owned()));
    // Until it has been checked, an upload whose answer was lost may be repeated.
    let (_, url) = begin(&mut alice, png.len()).await;
    server.command(&["workers", "pause"]);
    let answers = [put(&server, &url, &png).await, put(&server, &url, &png).await];
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.json() == answers[0].json()),
        "{answers:?}"
    );
    server.command(&["workers", "resume"]);
    alice.push("media.ready").await;
    for (bytes, code) in
        [(json!(0), "too_large"), (json!(65 * MIB), "too_large"), (json!("x"), "bad_message")]
    {
        assert_eq!(alice.refused("media.begin", json!({ "bytes": bytes })).await, code);
    }
    // The same message sent again names the same upload.
    alice.submit_as("once", "media.begin", json!({ "bytes": 10 })).await;
    let first = alice.outcome("once").await.unwrap()["body"].take();
    alice.submit_as("once", "media.begin", json!({ "bytes": 10 })).await;
    assert_eq!(alice.outcome("once").await.unwrap()["body"], first);
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_stall_are_ended_and_nobody_takes_all_the_room() {
    let (server, token, _alice) = one_user(&[]).await;
    let bearer = format!("Bearer {token}");
    let png = picture(40, 30, ImageFormat::Png);
    let headers = [("authorization", bearer.as_str()), ("content-length", "100000")];
    let mut stalled = Vec::new();
    for n in 1..=4 {
        let mut exchange = Exchange::begin(&server.address, "POST /v1/media", &headers).await;
        exchange.send(&png[..20]).await;
        stalled.push(exchange);
        // Its draft exists: the upload counts.
        blobs_become(&server, n).await;
    }
    let fifth = upload(&server, &token, &png).await;
    assert_eq!((fifth.status, fifth.code()), (429, "overloaded".to_owned()));
    assert_eq!(fifth.header("retry-after"), "2");
    let others = tokens(&server.address, &["bob"]).await;
    let bob = others["bob"].as_str().unwrap();
    assert_eq!(upload(&server, bob, &png).await.status, 201, "others are not held up");
    for exchange in stalled {
        let answer = exchange.answer().await;
        assert_eq!(answer.status, 408, "{answer:?}");
    }
    assert_eq!(upload(&server, &token, &png).await.status, 201, "the room is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_post_shows_is_collected_and_what_a_post_shows_stays_until_it_goes() {
    let (server, token, mut alice) = one_user(&["--media-kept-s", "3"]).await;
    let png = picture(40, 30, ImageFormat::Png);
    let kept = taken(&server, &token, &png).await;
    alice.push("media.ready").await;
    let post = alice.call("post.create", json!({ "text": "look", "media": [kept] })).await;
    let draft = taken(&server, &token, &png).await;
    alice.push("media.ready").await;
    assert_eq!(shown(&server, &format!("/v1/media/{draft}")).await.status, 200);
    let (_, unused) = begin(&mut alice, png.len()).await;
    server.reaches("soundoff_media_collected_total", 2.0).await;
    blobs_become(&server, 3).await;
    assert_eq!(shown(&server, &format!("/v1/media/{draft}")).await.status, 404);
    assert_eq!(put(&server, &unused, &png).await.status, 404, "an upload that was never made");
    assert_eq!(shown(&server, &format!("/v1/media/{kept}")).await.status, 200, "a post shows it");

    alice.call("post.delete", json!({ "post": post["post"]["id"] })).await;
    assert_eq!(shown(&server, &format!("/v1/media/{kept}")).await.status, 404, "gone with its post, at once");
    server.reaches("soundoff_media_collected_total", 3.0).await;
    blobs_become(&server, 0).await;
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_fills_the_disk_with_what_no_post_shows() {
    let (server, token, mut alice) = one_user(&["--media-kept-s", "20"]).await;
    let png = picture(40, 30, ImageFormat::Png);
    let draft = taken(&server, &token, &png).await;
    alice.push("media.ready").await;
    for _ in 1..100 {
        begin(&mut alice, png.len()).await;
    }
    assert_eq!(alice.refused("media.begin", json!({ "bytes": 10 })).await, "conflict");
    let full = upload(&server, &token, &png).await;
    assert_eq!((full.status, full.code()), (409, "conflict".to_owned()));
    alice.call("post.create", json!({ "text": "one less", "media": [draft] })).await;
    taken(&server, &token, &png).await;
    assert_eq!(upload(&server, &token, &png).await.status, 409);
    // Uploads that were refused or collected count no longer.
    alice.push("media.ready").await;
    server.reaches("soundoff_media_collected_total", 100.0).await;
    assert_eq!(upload(&server, &token, b"no picture at all").await.status, 415);
    for _ in 0..100 {
        begin(&mut alice, png.len()).await;
    }
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_does_not_read_holds_little() {
    let (server, token, mut alice) = one_user(&[]).await;
    let id = taken(&server, &token, &noise(1600, 1200)).await;
    let ready = alice.push("media.ready").await;
    assert!(ready["body"]["media"]["bytes"].as_u64().unwrap() > 5 * MIB as u64);
    let before = server.resident();
    let mut deaf = Vec::new();
    for _ in 0..200 {
        deaf.push(Exchange::begin(&server.address, &format!("GET /v1/media/{id}"), &[]).await);
    }
    // Clients that read are served meanwhile.
    let got = shown(&server, &format!("/v1/media/{id}")).await;
    assert_eq!(got.status, 200);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 100 * MIB as u64, "200 deaf readers hold {} MiB", grown >> 20);
}
